//! A case of distances by themselves: by rows with their gradients, of all rows of two matrices, and which
//! pairs of a list are hard.

use arbitrary::Arbitrary;
use drlim::batch::{Distance, distance_matrix, hard_pairs, row_distances, row_distances_backward};
use drlim::loss::Pairing;
use drlim::{Cx, Isa, Par, Real};

use crate::oracle::{Approx, Squared};
use crate::points::Points;
use crate::support::Element;
use crate::twin::Twin;
use crate::{
    CANARY, MOST_ELEMENTS, Placed, Plain, Special, batch_rows, check_elements, check_same_elements,
    flag, same_bits,
};

/// One call on two matrices, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct DistancesCase {
    /// See `batch_rows`.
    rows: u32,
    cols: u8,
    /// Of two matrices.
    points: Points,
    call: Call,
    /// Elements in front of matrices and outputs, and between their rows.
    offsets: [u8; 5],
    gaps: [u8; 5],
}

#[derive(Arbitrary, Debug)]
enum Call {
    /// Upstream, repeated.
    Rows {
        distance: u8,
        upstream: [Plain; 5],
        special: Option<(u16, Special)>,
    },
    /// Of 256, how many rows the first matrix has; or one matrix with itself.
    Matrix {
        first: Option<u8>,
    },
    Hard {
        similar: u16,
        ignored: Option<u16>,
        specials: Vec<(u16, Special)>,
    },
}

impl DistancesCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub(crate) fn check_type<T: Element>(&self) {
        match &self.call {
            Call::Rows { distance, upstream, special } => {
                let all = [
                    Distance::Euclidean,
                    Distance::SquaredEuclidean,
                    Distance::Dot,
                    Distance::Cosine,
                ];
                self.rows::<T>(all[usize::from(*distance) % 4], upstream, *special);
            }
            Call::Matrix { first } => self.matrix::<T>(*first),
            Call::Hard { similar, ignored, specials } => {
                self.hard::<T>(*similar, *ignored, specials);
            }
        }
    }

    fn place<T: Real>(&self, at: usize, shape: [usize; 2], around: f64) -> Placed<T> {
        Placed::new(shape, self.offsets[at], self.gaps[at], around)
    }

    fn rows<T: Element>(
        &self,
        distance: Distance,
        upstream: &[Plain; 5],
        special: Option<(u16, Special)>,
    ) {
        let cols = usize::from(self.cols);
        let most = (MOST_ELEMENTS >> (self.rows as u8).count_ones()) / cols.max(1);
        let n = (self.rows >> 8) as usize % (most + 1);
        let [mut a, mut b] = [0, 1].map(|at| self.place::<T>(at, [n, cols], f64::NAN));
        self.points.fill(&mut a, 0);
        self.points.fill(&mut b, 1009);
        let upstream = upstream.map(|plain| T::from_f64(plain.value()));
        let mut upstream: Vec<T> = upstream.into_iter().cycle().take(n).collect();
        if let Some((at, special)) = special.filter(|_| n > 0) {
            let at = usize::from(at) % n;
            upstream[at] = special.apply(upstream[at]);
        }
        let (a, b) = (a.mat(), b.mat());
        let mut out = self.place::<T>(2, [1, n], CANARY);
        let mut grads = [3, 4].map(|at| self.place::<T>(at, [n, cols], CANARY));
        let twin = Twin::of::<T>(distance);
        for isa in Isa::available() {
            let mut call = |par| {
                let cx = Cx { isa, par };
                row_distances(&cx, distance, a, b, out.only_row()).unwrap();
                let [grad_a, grad_b] = grads.each_mut().map(Placed::mat_mut);
                row_distances_backward(&cx, distance, a, b, &upstream, grad_a, grad_b).unwrap();
                let [grad_a, grad_b] = grads.each_mut().map(Placed::take);
                [out.take(), grad_a, grad_b]
            };
            let got = call(Par::Serial);
            for (one, other) in got.iter().zip(&call(Par::Rayon)) {
                check_same_elements(one, other, isa, "an output");
            }
            for i in 0..n {
                let part = i * cols..(i + 1) * cols;
                let got = (got[0][i], [&got[1][part.clone()], &got[2][part]]);
                check_row(&twin, [a.row(i), b.row(i)], upstream[i], got, isa);
            }
        }
    }

    fn matrix<T: Real>(&self, first: Option<u8>) {
        let cols = usize::from(self.cols);
        let both = batch_rows(self.rows, cols);
        let n = first.map_or(both, |first| both * usize::from(first) / 256);
        let [mut a, mut b] =
            [(0, n), (1, both - n)].map(|(at, rows)| self.place::<T>(at, [rows, cols], f64::NAN));
        self.points.fill(&mut a, 0);
        self.points.fill(&mut b, n);
        let (a, b) = (a.mat(), if first.is_some() { b.mat() } else { a.mat() });
        let m = b.rows();
        let distance = |at: usize| Squared::by_products(a.row(at / m), b.row(at % m));
        let expected: Vec<Approx> = (0..n * m).map(|at| distance(at).distance::<T>()).collect();
        let mut out = self.place::<T>(2, [n, m], CANARY);
        for isa in Isa::available() {
            let mut call = |par| {
                distance_matrix(&Cx { isa, par }, a, b, out.mat_mut()).unwrap();
                out.take()
            };
            let got = call(Par::Serial);
            check_same_elements(&got, &call(Par::Rayon), isa, "distances");
            check_elements(&expected, &got, isa, "distances");
            for (at, d) in got.iter().enumerate() {
                let (i, j) = (at / m, at % m);
                let symmetric = first.is_some() || same_bits((d, &got[j * m + i]));
                assert!(symmetric, "{isa}: {i} and {j} are {d} apart one way");
                let equal = a.row(i) == b.row(j) && a.row(i).iter().all(|x| x.is_finite());
                assert!(!equal || *d == T::ZERO, "{isa}: equal rows {i} and {j} are {d} apart");
            }
        }
    }

    fn hard<T: Real>(&self, similar: u16, ignored: Option<u16>, specials: &[(u16, Special)]) {
        let n = (self.rows >> 8) as usize % 400;
        let mut row = self.place::<T>(0, [1, n], f64::NAN);
        self.points.fill(&mut row, 0);
        for &(at, special) in specials.iter().filter(|_| n > 0) {
            let x = &mut row.only_row()[usize::from(at) % n];
            *x = special.apply(*x);
        }
        let distances = row.only_row();
        let similar: Vec<bool> = (0..n).map(|p| flag(similar, p)).collect();
        let ignored: Vec<bool> =
            (0..n).map(|p| ignored.is_some_and(|bits| flag(bits, p))).collect();
        let pairing = Pairing::new(&similar).ignoring(&ignored);
        let counts = |p: &usize| !ignored[*p];
        let hard = |p: &usize| {
            let d = distances[*p];
            let others = (0..n).filter(counts).filter(|&q| similar[q] != similar[*p]);
            let mut others = others.map(|q| distances[q]);
            d.is_nan() || others.any(|other| if similar[*p] { d > other } else { d < other })
        };
        let expected = (0..n).filter(counts).filter(hard).map(|p| p as u32);
        assert!(hard_pairs(distances, pairing).unwrap().into_iter().eq(expected));
    }
}

/// One row of each, its distance and its gradients.
fn check_row<T: Element>(
    twin: &Twin,
    [a, b]: [&[T]; 2],
    upstream: T,
    (got, grads): (T, [&[T]; 2]),
    isa: Isa,
) {
    let [x, y] = [a, b].map(|row| row.iter().map(|x| x.to_f64()).collect::<Vec<_>>());
    // Squares, and quotients of what they are of, that neither overflow nor underflow.
    let plain = |x: &f64| *x == 0.0 || (1e-15..1e15).contains(&x.abs());
    let euclidean = matches!(twin.distance, Distance::Euclidean | Distance::SquaredEuclidean);
    let differences = x.iter().zip(&y).map(|(x, y)| x - y);
    let is_plain =
        x.iter().chain(&y).all(plain) && (!euclidean || differences.into_iter().all(|t| plain(&t)));
    let nan = x.iter().chain(&y).any(|x| x.is_nan());
    assert!(got.is_nan() || !nan, "{isa}: {:?} of NaN is {got}", twin.distance);
    if upstream.is_nan() {
        assert!(grads.iter().all(|grad| grad.iter().all(|g| g.is_nan())), "{isa}: upstream");
    }
    // The twin of the cosine takes the square of the columns.
    if !is_plain || !plain(&upstream.to_f64()) || x.len() > 64 {
        return;
    }
    let check = |x: f64, error: f64, got: T, what: &str, at: usize| {
        let error = 2.0 * error + T::MIN_POSITIVE.to_f64();
        Approx { x, error }.check::<T>(got.to_f64(), isa, what, at);
    };
    let what = match twin.distance {
        Distance::Euclidean => "Euclidean",
        Distance::SquaredEuclidean => "SquaredEuclidean",
        Distance::Dot => "Dot",
        _ => "Cosine",
    };
    check(twin.value(&x, &y), twin.value_tolerance(&x, &y), got, what, 0);
    for ([x, y], grad) in [[&x, &y], [&y, &x]].into_iter().zip(grads) {
        let upstream = upstream.to_f64();
        let wanted = twin.gradient(x, y).into_iter().zip(twin.gradient_tolerance(x, y));
        for (k, ((slope, error), &got)) in wanted.zip(grad).enumerate() {
            let error = error + T::EPSILON.to_f64() * slope.abs();
            check(slope * upstream, error * upstream.abs(), got, what, k);
        }
    }
}
