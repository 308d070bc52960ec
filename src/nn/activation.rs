//! Activations: a function of each element by itself.

#![forbid(unsafe_code)]

use super::layer::{Backward, Forward, Layer, Shape};
use crate::cx::Cx;
use crate::kernel::elementwise::{self, Activation};
use crate::par::{Chunks, for_blocks};
use crate::real::Real;

/// Elements of a block of work.
const BLOCK: usize = 16 << 10;

fn forward<T: Real, A: Activation>(cx: &Cx, f: A, x: &[T], y: &mut [T]) {
    for_blocks(cx.par, x.len().div_ceil(BLOCK), Chunks(y, BLOCK), |block, y: Chunks<T>| {
        let x = &x[block * BLOCK..][..y.0.len()];
        T::dispatch(cx.isa, elementwise::Forward { f, x, y: y.0 });
    });
}

fn backward<T: Real, A: Activation>(cx: &Cx, f: A, y: &[T], dy: &[T], dx: &mut [T]) {
    for_blocks(cx.par, y.len().div_ceil(BLOCK), Chunks(dx, BLOCK), |block, dx: Chunks<T>| {
        let part = block * BLOCK..block * BLOCK + dx.0.len();
        let (y, dy) = (&y[part.clone()], &dy[part]);
        T::dispatch(cx.isa, elementwise::Backward { f, y, dy, dx: dx.0 });
    });
}

macro_rules! activation {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name(());

        impl $name {
            /// The layer; it has no parameters.
            pub fn new() -> Self {
                $name(())
            }
        }

        impl<T: Real> Layer<T> for $name {
            fn kind(&self) -> String {
                stringify!($name).to_owned()
            }
            fn connect(&mut self, input: Shape) -> Result<Shape, String> {
                Ok(input)
            }
            fn forward(&self, cx: &Cx, pass: Forward<T>) {
                forward(cx, elementwise::$name, pass.x, pass.y);
            }
            fn backward(&self, cx: &Cx, pass: Backward<T>) {
                if let Some(dx) = pass.dx {
                    backward(cx, elementwise::$name, pass.y, pass.dy, dx);
                }
            }
        }
    };
}

activation!(
    /// y = tanh(x), dx = (1 - y²) dy; `f32` within 2 ULP.
    Tanh
);
activation!(
    /// y = max(x, 0), dx = dy where y > 0, else 0: at 0 the subgradient 0 is taken. A NaN stays one.
    Relu
);
