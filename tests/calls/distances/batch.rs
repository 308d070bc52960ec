//! Pairs of rows between canaries, what both calls make of them, and the comparison with the twin.

use drlim::Cx;
use drlim::batch::{Distance, row_distances, row_distances_backward};

use crate::distances::twin::Twin;
use crate::support::element::wide;
use crate::support::{Element, Guarded, Random};

/// Where the matrices of a call lie.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Elements behind a multiple of 64 bytes: `a`, `b`, `grad_a`, `grad_b`, `upstream`, `out`.
    pub offsets: [usize; 6],
    /// Elements between the rows of `a`, `b`, `grad_a`, `grad_b`.
    pub gaps: [usize; 4],
}

impl Layout {
    pub const DENSE: Layout = Layout { offsets: [0; 6], gaps: [0; 4] };
}

/// Pairs of rows, and what both calls make of them.
pub struct Batch<T> {
    pub a: Guarded<T>,
    pub b: Guarded<T>,
    pub upstream: Guarded<T>,
    pub out: Guarded<T>,
    pub grads: [Guarded<T>; 2],
}

impl<T: Element> Batch<T> {
    /// Rows of many lengths; in turn unrelated, close, nearly parallel and nearly opposite.
    pub fn new(shape: [usize; 2], layout: Layout, seed: u64) -> Self {
        let [n, cols] = shape;
        let mut random = Random::new(seed);
        let length: Vec<f64> = (0..n).map(|_| random.between::<f64>(-6.0, 6.0).exp2()).collect();
        let a = Guarded::<T>::new(layout.offsets[0], shape, cols + layout.gaps[0], |i, _| {
            random.between(-length[i], length[i])
        });
        let b = Guarded::new(layout.offsets[1], shape, cols + layout.gaps[1], |i, k| {
            let (x, noise) = (a.row(i)[k].to_f64(), random.between::<f64>(-length[i], length[i]));
            T::from_f64(match i % 4 {
                0 => noise,
                1 => x + 0.01 * noise,
                2 => 3.0 * x + 0.003 * noise,
                _ => -0.7 * x + 0.003 * noise,
            })
        });
        let vector = |offset| Guarded::output(offset, [1, n], n);
        let upstream = Guarded::new(layout.offsets[4], [1, n], n, |_, _| random.between(-2.0, 2.0));
        let grads =
            [2, 3].map(|m| Guarded::output(layout.offsets[m], shape, cols + layout.gaps[m]));
        Batch { a, b, upstream, out: vector(layout.offsets[5]), grads }
    }

    /// Rows given one after another.
    pub fn of(cols: usize, a: &[T], b: &[T], upstream: &[T]) -> Self {
        let mut batch = Batch::new([upstream.len(), cols], Layout::DENSE, 0);
        batch.a.slice_mut().copy_from_slice(a);
        batch.b.slice_mut().copy_from_slice(b);
        batch.upstream.slice_mut().copy_from_slice(upstream);
        batch
    }

    pub fn run(&mut self, cx: &Cx, distance: Distance) {
        self.out.mat_mut().fill(T::NAN);
        self.grads.iter_mut().for_each(|grad| grad.mat_mut().fill(T::NAN));
        let (a, b) = (self.a.mat(), self.b.mat());
        row_distances(cx, distance, a, b, self.out.slice_mut()).unwrap();
        let [grad_a, grad_b] = self.grads.each_mut().map(Guarded::mat_mut);
        let upstream = self.upstream.row(0);
        row_distances_backward(cx, distance, a, b, upstream, grad_a, grad_b).unwrap();
        let [grad_a, grad_b] = &self.grads;
        for (name, guarded) in [
            ("a", &self.a),
            ("b", &self.b),
            ("upstream", &self.upstream),
            ("out", &self.out),
            ("grad_a", grad_a),
            ("grad_b", grad_b),
        ] {
            guarded.check(name);
        }
    }

    /// The bits of everything that was written.
    pub fn bits(&self) -> [Vec<u64>; 3] {
        [&self.out, &self.grads[0], &self.grads[1]].map(Guarded::bits)
    }

    /// What the twin says, and the tolerances: value and both gradients, already times `upstream`.
    pub fn expected(&self, distance: Distance) -> Vec<Expected> {
        let twin = Twin::of::<T>(distance);
        let row = |(i, upstream): (usize, &T)| {
            let (a, b) = (wide(self.a.row(i)), wide(self.b.row(i)));
            let times_upstream = |gradient: Vec<f64>| -> Vec<f64> {
                gradient.into_iter().map(|g| upstream.to_f64() * g).collect()
            };
            let grads =
                [times_upstream(twin.gradient(&a, &b)), times_upstream(twin.gradient(&b, &a))];
            let tolerances =
                [(&a, &b), (&b, &a)].map(|(a, b)| times_upstream(twin.gradient_tolerance(a, b)));
            let (value, tolerance) = (twin.value(&a, &b), twin.value_tolerance(&a, &b));
            Expected { value, tolerance, grads, tolerances }
        };
        self.upstream.row(0).iter().enumerate().map(row).collect()
    }

    pub fn check(&self, expected: &[Expected], which: &str) {
        for (i, expected) in expected.iter().enumerate() {
            let close = |name: &str, got: T, expected: f64, allowed: f64| {
                let error = (got.to_f64() - expected).abs();
                // Written such that a NaN fails.
                assert!(
                    error <= allowed.abs(),
                    "{name} {i} on {which} is {got}, expected {expected}: off by {error:e}, \
                     not {allowed:e}"
                );
            };
            close("distance", self.out.row(0)[i], expected.value, expected.tolerance);
            for side in 0..2 {
                let name = ["an element of grad_a", "an element of grad_b"][side];
                let (grads, tolerances) = (&expected.grads[side], &expected.tolerances[side]);
                for (k, &got) in self.grads[side].row(i).iter().enumerate() {
                    close(name, got, grads[k], tolerances[k]);
                }
            }
        }
    }
}

/// A row of what the twin says.
pub struct Expected {
    pub value: f64,
    pub tolerance: f64,
    pub grads: [Vec<f64>; 2],
    pub tolerances: [Vec<f64>; 2],
}

/// Whether all are NaN.
pub fn all_nan<T: Element>(of: &[T]) -> bool {
    of.iter().all(|x| x.is_nan())
}
