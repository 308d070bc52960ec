//! Everything that a call by rows writes, between canaries.

use drlim::batch::RowsOut;

use crate::support::{Element, Guarded};

/// What a call by rows writes, between canaries.
pub struct Outputs<T> {
    pub grads: [Guarded<T>; 2],
    pub distances: Guarded<T>,
    pub values: Guarded<T>,
    pub slopes: Guarded<T>,
}

impl<T: Element> Outputs<T> {
    pub fn new([n, cols]: [usize; 2], offset: usize, gap: usize) -> Self {
        let grad = |offset| Guarded::output(offset, [n, cols], cols + gap);
        let per_pair = |offset| Guarded::output(offset, [1, n], n);
        Outputs {
            grads: [grad(offset), grad(2 * offset)],
            distances: per_pair(offset),
            values: per_pair(offset + 1),
            slopes: per_pair(offset + 2),
        }
    }

    pub fn all(&mut self) -> RowsOut<'_, T> {
        let [grad_a, grad_b] = self.grads.each_mut().map(Guarded::mat_mut);
        RowsOut::grads(grad_a, grad_b)
            .distances(self.distances.slice_mut())
            .values(self.values.slice_mut())
            .slopes(self.slopes.slice_mut())
    }

    pub fn check_guards(&self) {
        let [grad_a, grad_b] = &self.grads;
        let Outputs { distances, values, slopes, .. } = self;
        for (name, output) in ["grad_a", "grad_b", "distances", "values", "slopes"]
            .iter()
            .zip([grad_a, grad_b, distances, values, slopes])
        {
            output.check(name);
        }
    }

    pub fn bits(&self) -> [Vec<u64>; 5] {
        let [grad_a, grad_b] = &self.grads;
        [grad_a, grad_b, &self.distances, &self.values, &self.slopes].map(Guarded::bits)
    }
}
