//! The products of `matrixmultiply`, on as many threads as `MATMUL_NUM_THREADS` says.

use crate::contest::Entrant;
use crate::dense::{Gradients, Outputs};
use crate::product::{Factor, sizes};
use crate::with_products;

const LIBRARY: &str = "matrixmultiply";

fn product(to: &mut [f32], keep: f32, factor: f32, a: Factor, b: Factor) {
    let [m, k, n] = sizes(to, a, b);
    let [[a_row, a_col], [b_row, b_col]] = [a, b].map(|f| f.strides.map(|stride| stride as isize));
    let (a, b, to) = (a.elements.as_ptr(), b.elements.as_ptr(), to.as_mut_ptr());
    // SAFETY: the lengths of all three are those of their shapes, and strides are of whole matrices.
    unsafe {
        let n_cols = n as isize;
        matrixmultiply::sgemm(
            m, k, n, factor, a, a_row, a_col, b, b_row, b_col, keep, to, n_cols, 1,
        );
    }
}

pub fn outputs<'w>(work: &'w Outputs) -> Box<dyn Entrant + 'w> {
    with_products::outputs(LIBRARY, product, work)
}

pub fn gradients<'w>(work: &'w Gradients) -> Box<dyn Entrant + 'w> {
    with_products::gradients(LIBRARY, product, work)
}
