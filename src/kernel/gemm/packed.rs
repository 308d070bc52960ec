//! Products that are deep and wide at once: `matrixmultiply`, which blocks and packs both operands for
//! every level of cache.
//!
//! It picks its own instructions from what the processor has, so it serves the AVX-512 tier only:
//! there it always picks the same ones, and results stay those of the tier. Its own thread pool is
//! off; the caller shares the work out. Its packing buffers are the one thing that a training step
//! allocates.

#![allow(unsafe_code, reason = "the interface of matrixmultiply is raw pointers")]

use crate::simd::isa::Isa;
use crate::simd::real::{ByType, Real};
use crate::simd::tier::Tier;

/// Numbers of weights and of samples from which on packing both operands of a weight gradient pays.
/// Measured on two Zen 4 cores, against the crate's own tile with its operands as they lie:
///
/// | weights | samples | matrixmultiply | own tile |
/// |---|---|---|---|
/// | 512 x 784 | 256 | 2.2 ms | 1.9 ms |
/// | 1024 x 1024 | 2048 | 54 ms | 52 ms |
/// | 2048 x 2048 | 256 | 26 ms | 22 ms |
/// | 2048 x 2048 | 1024 | 105 ms | 141 ms |
const LARGE: [usize; 2] = [2 << 20, 512];

/// Whether packing pays for a gradient of `elements` weights, summed over `samples` samples.
pub(crate) fn is_large(isa: Isa, elements: usize, samples: usize) -> bool {
    isa.tier() == Tier::Avx512 && elements >= LARGE[0] && samples >= LARGE[1]
}

/// An operand: element (i, j) is `data[i * strides[0] + j * strides[1]]`.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a, T> {
    pub data: &'a [T],
    pub strides: [usize; 2],
}

/// c += a b, with a (m, k), b (k, n), and c (m, n) without gaps.
pub(crate) struct LargeProduct<'a, T> {
    /// m, k, n
    pub sizes: [usize; 3],
    pub a: Strided<'a, T>,
    pub b: Strided<'a, T>,
    pub c: &'a mut [T],
}

impl<T: Real> LargeProduct<'_, T> {
    /// # Panics
    /// Where an operand is too small for its sizes.
    pub(crate) fn run(self) {
        let [m, k, n] = self.sizes;
        if m == 0 || k == 0 || n == 0 {
            return;
        }
        let last = |[s, t]: [usize; 2], rows: usize, cols: usize| (rows - 1) * s + (cols - 1) * t;
        assert!(last(self.a.strides, m, k) < self.a.data.len(), "first operand");
        assert!(last(self.b.strides, k, n) < self.b.data.len(), "second operand");
        assert_eq!(self.c.len(), m * n, "output");
        T::by_type::<Multiply>(self);
    }
}

/// Calls `sgemm` or `dgemm`, after [`LargeProduct::run`] has asserted the sizes.
enum Multiply {}

macro_rules! multiply {
    ($name:ident, $t:ident, $gemm:ident) => {
        fn $name(LargeProduct { sizes: [m, k, n], a, b, c }: LargeProduct<'_, $t>) {
            let ([sa, ta], [sb, tb]) = (a.strides, b.strides);
            // SAFETY: the caller has asserted that the last elements of both operands and of the
            // output, which no operand overlaps, lie within their slices.
            unsafe {
                matrixmultiply::$gemm(
                    m,
                    k,
                    n,
                    1.0,
                    a.data.as_ptr(),
                    sa as isize,
                    ta as isize,
                    b.data.as_ptr(),
                    sb as isize,
                    tb as isize,
                    1.0,
                    c.as_mut_ptr(),
                    n as isize,
                    1,
                );
            }
        }
    };
}

impl ByType for Multiply {
    type Arguments<'a, T: Real> = LargeProduct<'a, T>;

    multiply!(f32, f32, sgemm);
    multiply!(f64, f64, dgemm);
}
