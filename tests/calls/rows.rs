//! `batch::rows` against the scalar twin: every tier, both precisions, all the shapes at which a
//! kernel changes its course, any alignment and stride.

#![forbid(unsafe_code)]

use crate::support::element::bits;
use crate::support::oracle::{self, Pair};
use crate::support::{Element, Guarded, Random, serial, tiers};
use drlim::batch::{RowsOut, rows};
use drlim::loss::{Objective, Outcome};
use drlim::{Cx, Mat, MatMut, Par};

const MARGIN: f64 = 1.25;

/// Row lengths around those at which loops and kernels change.
const COLS: [usize; 24] =
    [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 127, 128, 129, 257];

/// Runs a check for both precisions.
macro_rules! in_both_precisions {
    ($(#[$meta:meta])* fn $name:ident<$T:ident>() $body:block) => {
        #[test]
        $(#[$meta])*
        fn $name() {
            fn check<$T: Element>() $body
            check::<f32>();
            check::<f64>();
        }
    };
}

/// Where the four matrices of a call lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Elements behind a multiple of 64 bytes: `a`, `b`, `grad_a`, `grad_b`.
    offsets: [usize; 4],
    /// Elements between the rows.
    gaps: [usize; 4],
}

impl Layout {
    const DENSE: Layout = Layout { offsets: [0; 4], gaps: [0; 4] };
}

/// A batch of pairs, and what a call makes of it.
struct Batch<T> {
    a: Guarded<T>,
    b: Guarded<T>,
    grad_a: Guarded<T>,
    grad_b: Guarded<T>,
    similar: Vec<bool>,
}

impl<T: Element> Batch<T> {
    /// Pairs at distances from 0.1 up to twice the margin, a third of them similar.
    fn new(shape: [usize; 2], layout: Layout, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let [n, cols] = shape;
        let [sa, sb, sga, sgb] = layout.gaps.map(|gap| cols + gap);
        let [oa, ob, oga, ogb] = layout.offsets;
        let a = Guarded::new(oa, shape, sa, |_, _| random.between::<T>(-1.0, 1.0));
        // Each coordinate differs by up to `reach`, by reach / sqrt(3) in the mean square.
        let reach: Vec<f64> = (0..n)
            .map(|_| random.between::<f64>(0.1, 2.0 * MARGIN) * (3.0 / cols.max(1) as f64).sqrt())
            .collect();
        let b = Guarded::new(ob, shape, sb, |i, k| {
            a.row(i)[k] + random.between::<T>(-reach[i], reach[i])
        });
        let similar = (0..n).map(|_| random.flag(1.0 / 3.0)).collect();
        let (grad_a, grad_b) = (Guarded::output(oga, shape, sga), Guarded::output(ogb, shape, sgb));
        Batch { a, b, grad_a, grad_b, similar }
    }

    fn run(&mut self, cx: &Cx, objective: &Objective<T>) -> Outcome {
        let out = RowsOut::grads(self.grad_a.mat_mut(), self.grad_b.mat_mut());
        rows(cx, objective, self.a.mat(), self.b.mat(), &self.similar, out).unwrap()
    }

    fn value_alone(&self, cx: &Cx, objective: &Objective<T>) -> Outcome {
        rows(cx, objective, self.a.mat(), self.b.mat(), &self.similar, RowsOut::none()).unwrap()
    }

    fn check_guards(&self) {
        for (name, matrix) in
            [("a", &self.a), ("b", &self.b), ("grad_a", &self.grad_a), ("grad_b", &self.grad_b)]
        {
            matrix.check(name);
        }
    }

    /// The scalar twin's pairs, and how far from each a kernel may be.
    fn pairs(&self) -> Vec<(Pair, Pair)> {
        let twin = oracle::Contrastive::of::<T>(MARGIN);
        let cols = self.a.mat().cols();
        let pair = |(i, &similar): (usize, &bool)| {
            let (a, b) = (self.a.row(i), self.b.row(i));
            let (a, b) = (crate::support::element::wide(a), crate::support::element::wide(b));
            let pair = twin.pair(&a, &b, similar);
            (pair, twin.tolerance(&pair, cols, similar, T::EPSILON.to_f64()))
        };
        self.similar.iter().enumerate().map(pair).collect()
    }

    /// Compares an outcome with the scalar twin, its value being `share` of the sum.
    fn check_outcome(&self, outcome: Outcome, share: f64) {
        let pairs = self.pairs();
        let sum: f64 = pairs.iter().map(|(pair, _)| pair.value).sum();
        let errors: f64 = pairs.iter().map(|(_, tolerance)| tolerance.value).sum();
        // Up to 64 values are added in a lane, and the lanes of a vector as a tree.
        let allowed = share * (errors + 72.0 * T::EPSILON.to_f64() * sum);
        let error = (outcome.value - share * sum).abs();
        assert!(error <= allowed, "value {}: off by {error:e}, not {allowed:e}", outcome.value);

        assert_eq!(outcome.pairs, self.similar.len() as u64);
        assert_eq!(outcome.similar, self.similar.iter().filter(|&&similar| similar).count() as u64);
        let certain = |(pair, tolerance): &&(Pair, Pair)| pair.value > tolerance.value;
        let possible = |(pair, tolerance): &&(Pair, Pair)| pair.value + tolerance.value > 0.0;
        let least = pairs.iter().filter(certain).count() as u64;
        let most = pairs.iter().filter(possible).count() as u64;
        assert!((least..=most).contains(&outcome.active), "{outcome:?}, active {least}..={most}");
    }

    /// Compares the gradients with the scalar twin's times `factor`.
    fn check_gradients(&self, factor: f64) {
        for (i, (pair, tolerance)) in self.pairs().into_iter().enumerate() {
            let rows = [&self.a, &self.b, &self.grad_a, &self.grad_b].map(|m| m.row(i));
            for k in 0..rows[0].len() {
                let [a, b, grad_a, grad_b] = rows.map(|row| row[k].to_f64());
                let expected = factor * pair.slope * (a - b);
                // Difference, factor and product round once each.
                let allowed = factor.abs() * tolerance.slope * (a - b).abs()
                    + 2.0 * T::EPSILON.to_f64() * expected.abs();
                let error = (grad_a - expected).abs();
                assert!(
                    error <= allowed,
                    "grad_a[{i}][{k}] is {grad_a}, expected {expected}: off by {error:e}, \
                     not {allowed:e}"
                );
                assert!(grad_b == -grad_a, "grad_b[{i}][{k}] is {grad_b}, not -({grad_a})");
            }
        }
    }
}

in_both_precisions! {
    fn values_and_gradients_are_those_of_the_formula<T>() {
        let loss = T::contrastive(MARGIN);
        let mut seed = 0;
        for cols in COLS {
            for n in [0, 1, 2, 15, 16, 17, 33, 257, 300, 1100] {
                seed += 1;
                let mut layout = Layout::DENSE;
                if n % 2 == 1 {
                    layout.offsets = std::array::from_fn(|m| (seed + 5 * m) % 16);
                    layout.gaps = std::array::from_fn(|m| (seed / 3 + m) % 4);
                }
                let scale = [1.0, -0.75, 3.0][seed % 3];
                let mut batch = Batch::<T>::new([n, cols], layout, seed as u64);
                for isa in tiers() {
                    println!("{} on {isa}: {n} x {cols}, {layout:?}", T::NAME);
                    let cx = serial(isa);
                    for (objective, share) in [
                        (Objective::sum(&*loss), 1.0),
                        (Objective::mean(&*loss), 1.0 / n.max(1) as f64),
                    ] {
                        let objective = objective.scaled(T::from_f64(scale));
                        let outcome = batch.run(&cx, &objective);
                        batch.check_outcome(outcome, share);
                        batch.check_gradients(scale * share);
                        batch.check_guards();
                        assert_eq!(batch.value_alone(&cx, &objective), outcome);
                    }
                }
            }
        }
    }
}

in_both_precisions! {
    fn an_empty_batch_has_value_zero<T>() {
        let loss = T::contrastive(MARGIN);
        for objective in [Objective::sum(&*loss), Objective::mean(&*loss)] {
            for isa in tiers() {
                let outcome = Batch::<T>::new([0, 5], Layout::DENSE, 1).run(&serial(isa), &objective);
                assert_eq!(outcome, Outcome::default());
            }
        }
    }
}

in_both_precisions! {
    fn rows_without_elements_are_coincident<T>() {
        let loss = T::contrastive(MARGIN);
        let similar = [true, false, true];
        let nothing = Mat::new(&[], 3, 0).unwrap();
        for isa in tiers() {
            let objective = Objective::sum(&*loss);
            let outcome =
                rows(&serial(isa), &objective, nothing, nothing, &similar, RowsOut::none()).unwrap();
            assert_eq!((outcome.value, outcome.active), (MARGIN * MARGIN / 2.0, 1));
        }
    }
}

in_both_precisions! {
    fn results_do_not_depend_on_alignment<T>() {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss);
        for cols in [1, 2, 3, 4, 5, 15, 16, 17, 33, 100] {
            for gap in [0, 1, 5] {
                for isa in tiers() {
                    let run = |offsets| {
                        let layout = Layout { offsets, gaps: [gap; 4] };
                        let mut batch = Batch::<T>::new([37, cols], layout, 9);
                        let value = batch.run(&serial(isa), &objective).value;
                        batch.check_guards();
                        (value.to_bits(), batch.grad_a.bits(), batch.grad_b.bits())
                    };
                    let aligned = run([0; 4]);
                    for offset in 0..16 {
                        let offsets = [offset, offset * 3 % 16, offset * 5 % 16, offset * 7 % 16];
                        let moved = run(offsets);
                        assert!(moved == aligned, "{isa}: {cols} columns, gap {gap}, {offsets:?}");
                    }
                }
            }
        }
    }
}

/// More than the last cache of most processors holds, so that gradients are written past it.
fn large_shapes<T>() -> Vec<[usize; 2]> {
    match size_of::<T>() {
        4 => vec![[40_000, 100], [165_000, 17], [165_001, 16]],
        _ => vec![[21_000, 100], [82_001, 16]],
    }
}

in_both_precisions! {
    fn gradients_past_the_caches_are_those_of_the_formula<T>() {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss);
        for shape in large_shapes::<T>() {
            for offsets in [[0, 1, 3, 1], [3, 2, 16, 5]] {
                let mut batch = Batch::<T>::new(shape, Layout { offsets, gaps: [0; 4] }, 10);
                for isa in tiers() {
                    println!("{} on {isa}: {shape:?}, {offsets:?}", T::NAME);
                    batch.grad_a.mat_mut().fill(T::NAN);
                    batch.grad_b.mat_mut().fill(T::NAN);
                    let outcome = batch.run(&Cx { isa, par: Par::Rayon }, &objective);
                    batch.check_outcome(outcome, 1.0);
                    batch.check_gradients(1.0);
                    batch.check_guards();
                }
            }
        }
    }
}

in_both_precisions! {
    fn gradients_past_the_caches_are_those_of_strided_rows_to_the_bit<T>() {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss);
        for shape in large_shapes::<T>() {
            let offsets = [1, 0, 2, 7];
            let mut dense = Batch::<T>::new(shape, Layout { offsets, gaps: [0; 4] }, 11);
            // A gap between the rows keeps plain writes.
            let mut strided = Batch::<T>::new(shape, Layout { offsets, gaps: [1; 4] }, 11);
            for isa in tiers() {
                let outcome = dense.run(&serial(isa), &objective);
                assert_eq!(strided.run(&serial(isa), &objective), outcome, "{isa}");
                assert!(strided.grad_a.bits() == dense.grad_a.bits(), "grad_a on {isa}");
                assert!(strided.grad_b.bits() == dense.grad_b.bits(), "grad_b on {isa}");
            }
        }
    }
}

in_both_precisions! {
    fn results_do_not_depend_on_threads_or_runs<T>() {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::mean(&*loss);
        let pools = [1, 2, 3, 7].map(|threads| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
        });
        // Several tasks each, the last of them large enough to be written past the caches.
        for shape in [[60_000, 2], [40_000, 3], [5_000, 33], [42_000, 100]] {
            let layout = Layout { offsets: [0, 1, 2, 3], gaps: [0; 4] };
            let mut batch = Batch::<T>::new(shape, layout, 12);
            for isa in tiers() {
                let value = batch.run(&serial(isa), &objective).value;
                let serial_grads = (batch.grad_a.bits(), batch.grad_b.bits());
                for pool in &pools {
                    for run in 0..2 {
                        batch.grad_a.mat_mut().fill(T::NAN);
                        batch.grad_b.mat_mut().fill(T::NAN);
                        let cx = Cx { isa, par: Par::Rayon };
                        let outcome = pool.install(|| batch.run(&cx, &objective));
                        let threads = pool.current_num_threads();
                        let which = format!("{isa}: {shape:?}, {threads} threads, run {run}");
                        assert_eq!(outcome.value.to_bits(), value.to_bits(), "{which}");
                        let grads = (batch.grad_a.bits(), batch.grad_b.bits());
                        assert!(grads == serial_grads, "gradients on {which}");
                    }
                }
            }
        }
    }
}

in_both_precisions! {
    fn equal_rows_have_finite_results<T>() {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss);
        for cols in COLS.into_iter().filter(|&cols| cols > 0) {
            for isa in tiers() {
                let mut batch = Batch::<T>::new([20, cols], Layout::DENSE, 13);
                batch.b = Guarded::new(0, [20, cols], cols, |i, k| batch.a.row(i)[k]);
                let outcome = batch.run(&serial(isa), &objective);
                let dissimilar = batch.similar.iter().filter(|&&similar| !similar).count();
                let expected = dissimilar as f64 * MARGIN * MARGIN / 2.0;
                assert_eq!((outcome.value, outcome.active), (expected, dissimilar as u64));
                for grad in [&batch.grad_a, &batch.grad_b] {
                    assert!(grad.wide().iter().all(|&g| g == 0.0), "{cols} columns on {isa}");
                }
            }
        }
    }
}

in_both_precisions! {
    fn squares_below_the_normal_numbers_count_as_zero_for_the_push_alone<T>() {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss);
        // Differences whose squares are 0, subnormal, the smallest normal number and above it.
        let root = T::MIN_POSITIVE.sqrt();
        let two = T::from_f64(2.0);
        let differences = [T::tiny(), T::MIN_POSITIVE, root / two, root, root * two];
        let pairs: Vec<(T, bool)> =
            differences.into_iter().flat_map(|x| [(x, true), (x, false)]).collect();
        for cols in COLS.into_iter().filter(|&cols| cols > 0) {
            for isa in tiers() {
                let shape = [pairs.len(), cols];
                let mut batch = Batch::<T>::new(shape, Layout::DENSE, 14);
                batch.a = Guarded::new(0, shape, cols, |i, k| if k == cols / 2 { pairs[i].0 } else { T::ZERO });
                batch.b = Guarded::new(0, shape, cols, |_, _| T::ZERO);
                batch.similar = pairs.iter().map(|&(_, similar)| similar).collect();
                let outcome = batch.run(&serial(isa), &objective);
                let expected = differences.len() as f64 * MARGIN * MARGIN / 2.0;
                assert_eq!(outcome.value, expected, "{cols} columns on {isa}");
                for (i, &(difference, similar)) in pairs.iter().enumerate() {
                    let d2 = difference * difference;
                    let got = batch.grad_a.row(i)[cols / 2];
                    let expected = if similar {
                        difference
                    } else if d2 < T::MIN_POSITIVE {
                        T::ZERO
                    } else {
                        // The margin is so much larger than d that the gap is the margin.
                        -(T::from_f64(MARGIN) / d2.sqrt()) * difference
                    };
                    assert_eq!(got, expected, "{difference:e}, {similar}, {cols} columns, {isa}");
                }
                for grad in [&batch.grad_a, &batch.grad_b] {
                    assert!(grad.wide().iter().all(|g| g.is_finite()), "{cols} columns on {isa}");
                }
            }
        }
    }
}

in_both_precisions! {
    fn nan_reaches_its_own_row_and_the_value_and_no_more<T>() {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss);
        let n = 40;
        for cols in COLS.into_iter().filter(|&cols| cols > 0) {
            for isa in tiers() {
                let mut batch = Batch::<T>::new([n, cols], Layout::DENSE, 15);
                let clean = batch.run(&serial(isa), &objective);
                let clean_pairs = batch.pairs();
                let clean_grads = [&batch.grad_a, &batch.grad_b].map(|grad| grad.bits());
                for (poisoned, k) in [(0, 0), (17, cols / 2), (n - 1, cols - 1)] {
                    for (which, similar) in [(0, true), (1, false)] {
                        let mut batch = Batch::<T>::new([n, cols], Layout::DENSE, 15);
                        let target = if which == 0 { &mut batch.a } else { &mut batch.b };
                        target.mat_mut().row_mut(poisoned)[k] = T::NAN;
                        batch.similar[poisoned] = similar;
                        let outcome = batch.run(&serial(isa), &objective);
                        assert!(outcome.value.is_nan());
                        // A NaN counts as active, whether or not the pair did before.
                        let newly = u64::from(clean_pairs[poisoned].0.value == 0.0);
                        assert_eq!(outcome.active, clean.active + newly);
                        for (grad, clean) in [&batch.grad_a, &batch.grad_b].iter().zip(&clean_grads) {
                            for i in 0..n {
                                let row = grad.row(i);
                                if i != poisoned {
                                    assert_eq!(bits(row), clean[i * cols..][..cols], "row {i}");
                                    continue;
                                }
                                // A similar pair's slope is 1 whatever the distance.
                                let all = if similar { &row[k..k + 1] } else { row };
                                assert!(all.iter().all(|g| g.is_nan()), "{cols} columns on {isa}");
                            }
                        }
                    }
                }
            }
        }
    }
}

in_both_precisions! {
    fn infinities_follow_the_formula<T>() {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss);
        let twin = oracle::Contrastive::of::<T>(MARGIN);
        let inf = T::INFINITY;
        for cols in COLS.into_iter().filter(|&cols| cols > 0) {
            for (a, b) in [(inf, T::ONE), (T::ONE, -inf), (inf, -inf), (inf, inf)] {
                for (similar, isa) in tiers().into_iter().flat_map(|isa| [(true, isa), (false, isa)]) {
                    let mut batch = Batch::<T>::new([1, cols], Layout::DENSE, 16);
                    batch.a.mat_mut().row_mut(0)[cols / 2] = a;
                    batch.b.mat_mut().row_mut(0)[cols / 2] = b;
                    batch.similar = vec![similar];
                    let outcome = batch.run(&serial(isa), &objective);
                    let (wide_a, wide_b) = (batch.a.wide(), batch.b.wide());
                    let pair = twin.pair(&wide_a, &wide_b, similar);
                    let which = format!("{a} and {b}, similar {similar}, {cols} columns on {isa}");
                    let same = |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan());
                    assert!(same(outcome.value, pair.value), "{which}: {outcome:?}, {pair:?}");
                    for k in 0..cols {
                        let expected = pair.slope * (wide_a[k] - wide_b[k]);
                        let got = batch.grad_a.row(0)[k].to_f64();
                        let close = (got - expected).abs() <= 2.0 * T::EPSILON.to_f64() * expected.abs();
                        assert!(same(got, expected) || close, "{which}, {k}: {got}, {expected}");
                    }
                }
            }
        }
    }
}

/// What is refused when one argument of a good call with 3 x 2 matrices is replaced.
struct Refusal {
    b: [usize; 2],
    similar: usize,
    grad_a: [usize; 2],
    grad_b: [usize; 2],
    message: &'static str,
}

const GOOD: Refusal =
    Refusal { b: [3, 2], similar: 3, grad_a: [3, 2], grad_b: [3, 2], message: "" };

in_both_precisions! {
    fn what_does_not_fit_is_refused_and_nothing_is_written<T>() {
        let loss = T::contrastive(MARGIN);
        for refusal in [
            Refusal { b: [3, 1], message: "rows: b has shape 3x1, expected 3x2 (as a)", ..GOOD },
            Refusal { b: [2, 2], message: "rows: b has shape 2x2, expected 3x2 (as a)", ..GOOD },
            Refusal { b: [2, 3], message: "rows: b has shape 2x3, expected 3x2 (as a)", ..GOOD },
            Refusal {
                similar: 2,
                message: "rows: similar has 2 elements, expected 3 (the rows of a)",
                ..GOOD
            },
            Refusal {
                similar: 4,
                message: "rows: similar has 4 elements, expected 3 (the rows of a)",
                ..GOOD
            },
            Refusal { grad_a: [2, 2], message: "rows: grad_a has shape 2x2, expected 3x2 (as a)", ..GOOD },
            Refusal { grad_a: [3, 3], message: "rows: grad_a has shape 3x3, expected 3x2 (as a)", ..GOOD },
            Refusal { grad_b: [4, 2], message: "rows: grad_b has shape 4x2, expected 3x2 (as a)", ..GOOD },
            Refusal { grad_b: [3, 1], message: "rows: grad_b has shape 3x1, expected 3x2 (as a)", ..GOOD },
        ] {
            let data = [T::ONE; 12];
            let mat = |[n, cols]: [usize; 2]| Mat::new(&data[..n * cols], n, cols).unwrap();
            let flags = [true; 4];
            let (mut grad_a, mut grad_b) = ([T::ONE; 12], [T::ONE; 12]);
            let [ga, gb] = [refusal.grad_a, refusal.grad_b];
            let out = RowsOut::grads(
                MatMut::new(&mut grad_a[..ga[0] * ga[1]], ga[0], ga[1]).unwrap(),
                MatMut::new(&mut grad_b[..gb[0] * gb[1]], gb[0], gb[1]).unwrap(),
            );
            let similar = &flags[..refusal.similar];
            let objective = Objective::sum(&*loss);
            let refused = rows(&Cx::default(), &objective, mat([3, 2]), mat(refusal.b), similar, out);
            assert_eq!(refused.unwrap_err().to_string(), refusal.message);
            assert_eq!((grad_a, grad_b), ([T::ONE; 12], [T::ONE; 12]));
        }
    }
}

#[test]
fn margins_outside_their_domain_are_refused() {
    use drlim::loss::Contrastive;
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let message = format!("margin is {wrong}, expected finite and positive");
        assert_eq!(Contrastive::new(wrong).unwrap_err().to_string(), message);
        assert_eq!(Contrastive::new(wrong as f32).unwrap_err().to_string(), message);
    }
    assert_eq!(Contrastive::new(f32::tiny()).unwrap().margin(), f32::tiny());
}

/// Rows so wide that one of them is a task, none of them, and no memory at all.
#[test]
fn no_rows_of_any_width_are_no_pairs() {
    for cols in [0, 1, 16385, 1 << 20, usize::MAX] {
        let none = Mat::<f32>::new(&[], 0, cols).unwrap();
        let loss = drlim::loss::Contrastive::new(1.0).unwrap();
        let objective = drlim::loss::Objective::mean(&loss);
        let cx = Cx::default();
        let outcome =
            drlim::batch::rows(&cx, &objective, none, none, &[], drlim::batch::RowsOut::none())
                .unwrap();
        assert_eq!((outcome.value, outcome.pairs), (0.0, 0), "{cols} columns");
    }
}
