//! A factor of a product of matrices, as libraries of products take it.

/// A matrix with the distances in memory between its rows and its columns.
#[derive(Clone, Copy)]
pub struct Factor<'a> {
    pub elements: &'a [f32],
    pub shape: [usize; 2],
    pub strides: [usize; 2],
}

impl<'a> Factor<'a> {
    pub fn new(elements: &'a [f32], shape: [usize; 2]) -> Self {
        Factor { elements, shape, strides: [shape[1], 1] }
    }

    pub fn transposed(self) -> Self {
        let ([rows, cols], [row, col]) = (self.shape, self.strides);
        Factor { shape: [cols, rows], strides: [col, row], ..self }
    }
}

/// `to = keep * to + factor * a b`; `to` is not read where nothing of it is kept.
pub type Product = fn(to: &mut [f32], keep: f32, factor: f32, a: Factor, b: Factor);

/// Rows, inner length and columns of a product.
///
/// # Panics
/// Where lengths are not those of the shapes, or these do not fit: with this, pointers to all three
/// may be handed out.
pub fn sizes(to: &[f32], a: Factor, b: Factor) -> [usize; 3] {
    let ([m, k], [depth, n]) = (a.shape, b.shape);
    assert!(k == depth && a.elements.len() == m * k && b.elements.len() == k * n);
    assert_eq!(to.len(), m * n);
    [m, k, n]
}
