//! Activations: a function of each element by itself.

#![forbid(unsafe_code)]

use crate::kernel::layers::activation::{Activate, Activation, Slope};
use crate::nn::layer::{Backward, Forward, Layer, Shape};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks};
use crate::simd::real::{Real, compiled};

/// Elements of a block of work.
const BLOCK: usize = 16 << 10;

/// Fuses the activation that follows into a layer, unless it has one; returns whether it did.
pub(crate) fn fuse(own: &mut Option<Activation>, next: Activation) -> bool {
    let free = own.is_none();
    own.get_or_insert(next);
    free
}

/// y = f(y)
pub(crate) fn activate<T: Real>(cx: &Cx, f: Activation, y: &mut [T]) {
    for_blocks(cx.par, y.len().div_ceil(BLOCK), Chunks(y, BLOCK), |_, y| {
        T::dispatch(cx.isa, Activate::all(f, y));
    });
}

/// dy = f'(x) dy, where y = f(x)
pub(crate) fn slope<T: Real>(cx: &Cx, f: Activation, y: &[T], dy: &mut [T]) {
    for_blocks(cx.par, y.len().div_ceil(BLOCK), Chunks(dy, BLOCK), |block, dy| {
        let y = &y[block * BLOCK..][..dy.len()];
        T::dispatch(cx.isa, Slope { f, y, dy });
    });
}

macro_rules! activation {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// dx is off by at most 2 eps of its terms, given y.
        ///
        /// Right after a layer with weights, or a pooling, it is computed within that layer's passes.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name(());

        impl $name {
            /// The layer; it has no parameters.
            pub fn new() -> Self {
                $name(())
            }
        }

        impl<T: Real> Layer<T> for $name {
            fn describe(&self) -> String {
                stringify!($name).to_owned()
            }
            fn connect(&mut self, input: Shape) -> Result<Shape, String> {
                Ok(input)
            }
            #[inline(never)]
            fn forward(&self, cx: &Cx, pass: Forward<T>) {
                pass.y.copy_from_slice(pass.x);
                activate(cx, Activation::$name, pass.y);
            }
            #[inline(never)]
            fn backward(&self, cx: &Cx, pass: Backward<T>) {
                if let Some(dx) = pass.dx {
                    dx.copy_from_slice(pass.dy);
                    slope(cx, Activation::$name, pass.y, dx);
                }
            }
            fn activation(&self) -> Option<Activation> {
                Some(Activation::$name)
            }
        }

        compiled!(<$name as Layer<T>>::forward, <$name as Layer<T>>::backward);
    };
}

activation!(
    /// y = tanh(x), dx = dy - (y dy) y; `f32` within 2 ULP, `f64` within 1e-15 of y. For an infinite dy, dx
    /// is NaN.
    Tanh
);
activation!(
    /// y = 1.7159 tanh(2x/3), dx = (1.14393 - 0.38852 y²) dy: f(1) = 1, and the slope does not vanish
    /// there (LeCun, Bottou, Orr, Müller 1998). Within 5 ULP.
    ScaledTanh
);
activation!(
    /// y = 1 / (1 + exp(-x)), dx = y (1 - y) dy. Within 4 ULP where y is normal.
    Sigmoid
);
activation!(
    /// y = max(x, 0), dx = dy where y > 0, else 0: at 0 the subgradient 0 is taken. A NaN stays NaN, and its
    /// gradient passes.
    Relu
);
