//! Samples scaled to unit length: embeddings on the sphere.

#![forbid(unsafe_code)]

use crate::kernel::layers::normalize;
use crate::nn::MOST_ELEMENTS;
use crate::nn::layer::{Backward, Forward, Layer, Shape};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks};
use crate::simd::real::{Real, compiled};

/// Elements of a block of work, where that is at least a sample.
const BLOCK: usize = 16 << 10;

/// y = x/|x|, dx = (dy - y (y·dy))/|x|, over all elements of a sample.
///
/// Between samples of unit length d²/2 is 1 - cos: as a network's last layer it turns losses of
/// distances into losses of angles.
///
/// Where |x| is zero or below the smallest normal number, x has no direction: y and dx are 0. A
/// NaN still gives NaN, and an infinite element NaN for itself and 0 for the others. Squares may leave
/// the range of the element type: x is scaled then, so that samples of 1e-30 and 1e30 are as good as others.
///
/// # Accuracy
///
/// y is within (D/32 + 4) eps of itself for samples of D elements, dx within (D/8 + 8) eps of
/// (|dy_k| + |y_k| sum of |y_j dy_j|)/|x|.
///
/// ```
/// use drlim::nn::{L2Normalize, Network, Shape, Workspace};
/// use drlim::{Cx, Mat};
///
/// let net = Network::builder(Shape::flat(2)).layer("unit", L2Normalize::new()).build(1)?;
/// let mut workspace = Workspace::inference(&net, 2)?;
/// let x = Mat::new(&[3.0_f64, -4.0, /**/ 0.0, 0.0], 2, 2)?;
/// let y = net.forward(&Cx::default(), x, &mut workspace)?;
/// assert!((y.row(0)[0] - 0.6).abs() < 1e-15 && (y.row(0)[1] + 0.8).abs() < 1e-15);
/// assert_eq!(y.row(1), [0.0, 0.0]);
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct L2Normalize {
    /// Elements of a sample.
    len: usize,
}

impl L2Normalize {
    /// The layer; it has no parameters.
    pub fn new() -> Self {
        L2Normalize::default()
    }

    /// Elements of as many samples as make a block: a function of the shape alone.
    fn block(&self) -> usize {
        (BLOCK / self.len).max(1) * self.len
    }
}

impl<T: Real> Layer<T> for L2Normalize {
    fn describe(&self) -> String {
        "L2Normalize".to_owned()
    }

    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        if input.checked_len().is_none_or(|len| len > MOST_ELEMENTS) {
            return Err("its size overflows".to_owned());
        }
        self.len = input.len();
        Ok(input)
    }

    #[inline(never)]
    fn forward(&self, cx: &Cx, pass: Forward<T>) {
        let (len, size, x) = (self.len, self.block(), pass.x);
        let y = Chunks(pass.y, size);
        for_blocks(cx.par, x.len().div_ceil(size), y, |block, y| {
            let x = &x[block * size..][..y.len()];
            T::dispatch(cx.isa, normalize::Forward { len, x, y });
        });
    }

    #[inline(never)]
    fn backward(&self, cx: &Cx, pass: Backward<T>) {
        let Backward { x, y, dy, dx: Some(dx), .. } = pass else { return };
        let (len, size) = (self.len, self.block());
        let dx = Chunks(dx, size);
        for_blocks(cx.par, x.len().div_ceil(size), dx, |block, dx| {
            let part = block * size..block * size + dx.len();
            let (x, y, dy) = (&x[part.clone()], &y[part.clone()], &dy[part]);
            T::dispatch(cx.isa, normalize::Backward { len, x, y, dy, dx });
        });
    }
}

compiled!(<L2Normalize as Layer<T>>::forward, <L2Normalize as Layer<T>>::backward);
