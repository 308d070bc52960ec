//! The kit is held to catching what it is for: losses with a fault, one that claims a reach or a pull that
//! it has not, batches of a wrong shape.

use std::sync::atomic::{AtomicU64, Ordering};

use drlim::Isa;
use drlim::loss::{
    BlockLoss, BlockTripletLoss, Contrastive, CosineContrastive, DoubleMargin, Exponential,
    LinearHinge, PairLoss, SquaredHinge, SquaredTriplet, TripletLoss, TripletMargin,
};
use drlim::properties::{
    Embeddings, PairBatch, PairCheck, Properties, TripletBatch, TripletCheck, pair_batches,
    triplet_batches,
};
use drlim::simd::Simd;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestError};

use super::{COLS, PAIRS, seeded};
use crate::support::formulas::{PairFormula, TripletFormula};

/// Whether some of 50 draws have the property broken, rather than none.
pub fn is_caught<S: Strategy>(draws: S, property: impl Fn(&S::Value) -> TestCaseResult) -> bool {
    match seeded(1).run(&draws, |batch| property(&batch)) {
        Ok(()) => false,
        Err(TestError::Fail(..)) => true,
        Err(TestError::Abort(reason)) => panic!("nothing was checked: {reason}"),
    }
}

/// The contrastive loss with margin 1 and a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Dissimilar pairs pull.
    Sign,
    /// The slope of l = d²/4.
    Half,
    /// All pairs have the slope of similar ones.
    IgnoresSimilar,
    /// Slopes are off by a millionth.
    Millionth,
    /// Values are 1/2 too low.
    Negative,
    /// A distance of 0 is avoided by a constant, which has a scale.
    Constant,
}

impl PairLoss<f64> for Fault {
    #[inline(always)]
    fn eval<S: Simd<f64>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let d2 = if *self == Fault::Constant { d2 + s.splat(1e-3) } else { d2 };
        let d = s.sqrt(d2);
        let gap = s.hinge(s.splat(1.0) - d);
        let low = s.splat(if *self == Fault::Negative { 0.5 } else { 0.0 });
        let value = s.splat(0.5) * s.select(similar, d2, gap * gap) - low;
        let (one, push) = (s.splat(1.0), s.over_distance(gap, d, d2));
        let slope = match self {
            Fault::Sign => s.select(similar, one, push),
            Fault::IgnoresSimilar => one,
            Fault::Half => s.select(similar, s.splat(0.5), -push),
            Fault::Millionth => s.splat(1.0 + 1e-6) * s.select(similar, one, -push),
            _ => s.select(similar, one, -push),
        };
        (value, slope)
    }
}

/// A loss that does not keep to one pair, around a loss that does.
struct Unfaithful<L> {
    loss: L,
    how: How,
    calls: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// Values and slopes change from call to call.
    Drifts,
    /// They depend on how many there are beside.
    Crowd,
    /// They depend on the place.
    Place,
}

impl<L> Unfaithful<L> {
    fn new(loss: L, how: How) -> Self {
        Unfaithful { loss, how, calls: AtomicU64::new(0) }
    }

    /// Spoils what was right.
    fn spoil(&self, columns: &mut [&mut [f64]]) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        for column in columns {
            let len = column.len();
            for (i, x) in column.iter_mut().enumerate() {
                let by = match self.how {
                    How::Drifts => call as f64,
                    How::Crowd => len as f64,
                    How::Place => i as f64,
                };
                *x *= 1.0 + 1e-4 * by;
            }
        }
    }
}

impl<L: BlockLoss<f64>> BlockLoss<f64> for Unfaithful<L> {
    fn eval_block(&self, isa: Isa, d2: &mut [f64], similar: &[bool], values: &mut [f64]) {
        self.loss.eval_block(isa, d2, similar, values);
        self.spoil(&mut [d2, values]);
    }
}

impl<L: BlockTripletLoss<f64>> BlockTripletLoss<f64> for Unfaithful<L> {
    fn eval_block(&self, isa: Isa, [ap, an, pn]: [&mut [f64]; 3], values: &mut [f64]) {
        self.loss.eval_block(isa, [&mut *ap, &mut *an, &mut *pn], values);
        self.spoil(&mut [ap, an, pn, values]);
    }

    fn swaps_block(&self) -> bool {
        self.loss.swaps_block()
    }
}

type PairProperty = fn(&PairCheck<f64>, &PairBatch<f64>) -> TestCaseResult;

/// Whether a fault breaks a property. How much rounding is allowed, the right loss says.
fn catches_pairs(loss: &dyn BlockLoss<f64>, property: PairProperty) -> bool {
    let check = PairCheck::with_exact(loss, &Fault::None);
    is_caught(pair_batches(&[1.0], PAIRS, COLS), |batch| property(&check, batch))
}

#[test]
fn a_right_loss_has_every_property_and_each_fault_breaks_one() {
    let gradient: PairProperty = |check, batch| check.gradient(batch);
    let descent: PairProperty = |check, batch| check.descent(batch);
    let not_negative: PairProperty = |check, batch| check.not_negative(batch);
    let all: PairProperty = |check, batch| check.all(batch);
    for (fault, property) in [
        (Fault::Sign, gradient),
        (Fault::Half, gradient),
        (Fault::IgnoresSimilar, gradient),
        (Fault::Millionth, gradient),
        (Fault::Sign, descent),
        (Fault::IgnoresSimilar, descent),
        (Fault::Sign, all),
        (Fault::Negative, not_negative),
    ] {
        assert!(catches_pairs(&fault, property), "{fault:?} passes");
        assert!(!catches_pairs(&Fault::None, property));
    }
    assert!(!catches_pairs(&Fault::None, all));
}

#[test]
fn a_loss_with_a_scale_of_its_own_is_caught_and_so_is_a_wrong_degree() {
    struct Scaled(f64, Fault);
    impl PairLoss<f64> for Scaled {
        #[inline(always)]
        fn eval<S: Simd<f64>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
            let square = s.splat(self.0 * self.0);
            let (value, slope) = self.1.eval(s, d2 / square, similar);
            (square * value, slope)
        }
    }
    let scales = |fault: Fault, degree: i32| {
        let twice = Scaled(2.0, Fault::None);
        // The constant stays where it is when everything else is doubled.
        let crooked = Scaled(2.0, Fault::Constant);
        let scaled: &dyn BlockLoss<f64> = if fault == Fault::None { &twice } else { &crooked };
        is_caught(pair_batches(&[1.0], PAIRS, COLS), |batch| {
            let check = PairCheck::new(&Fault::None);
            check.scaling(batch, 2.0, &PairCheck::new(scaled), degree)
        })
    };
    assert!(!scales(Fault::None, 2));
    assert!(scales(Fault::None, 1) && scales(Fault::None, 3), "a wrong degree passes");
    assert!(scales(Fault::Constant, 2), "a constant with a scale passes");
}

#[test]
fn a_loss_that_does_not_keep_to_one_pair_is_caught() {
    let properties: [(&str, How, PairProperty); 7] = [
        ("swap", How::Drifts, |check, batch| check.swap(batch)),
        ("translation", How::Drifts, |check, batch| check.translation(batch)),
        ("rotation", How::Drifts, |check, batch| check.rotation(batch)),
        ("list", How::Drifts, |check, batch| check.list(batch)),
        ("permutation", How::Place, |check, batch| check.permutation(batch)),
        ("additivity", How::Crowd, |check, batch| check.additivity(batch)),
        ("additivity", How::Place, |check, batch| check.additivity(batch)),
    ];
    for (name, how, property) in properties {
        let loss = Unfaithful::new(Contrastive::new(1.0).unwrap(), how);
        assert!(catches_pairs(&loss, property), "{how:?} passes {name}");
        assert!(!catches_pairs(&loss.loss, property), "a right loss does not pass {name}");
    }
}

#[test]
fn a_loss_that_is_another_one_in_f32_is_caught() {
    let is_caught = |margin: f32| {
        let (loss, exact) = (Contrastive::new(margin).unwrap(), Contrastive::new(1.0).unwrap());
        let check = PairCheck::with_exact(&loss, &exact);
        is_caught(pair_batches(&[1.0], PAIRS, COLS), |batch| check.gradient(batch))
    };
    assert!(is_caught(1.001) && !is_caught(1.0));
}

/// FaceNet's loss with the slopes of half of it.
struct HalfTriplet;

impl TripletLoss<f64> for HalfTriplet {
    #[inline(always)]
    fn eval<S: Simd<f64>>(&self, s: S, [ap, an, _]: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let value = s.hinge(ap - an + s.splat(1.0));
        let slope = s.step(value);
        (value, [slope, -slope, s.splat(0.0)])
    }
}

#[test]
fn faults_of_triplets_are_caught() {
    type Property = fn(&TripletCheck<f64>, &TripletBatch<f64>) -> TestCaseResult;
    let catches =
        |loss: &dyn BlockTripletLoss<f64>, formula: TripletFormula, property: Property| {
            let draws = triplet_batches(move |p| formula.kink(p), PAIRS, COLS);
            let exact = formula.loss::<f64>();
            is_caught(draws, |batch| property(&TripletCheck::with_exact(loss, &*exact), batch))
        };
    let (squared, margin) = (SquaredTriplet::new(1.0).unwrap(), TripletMargin::new(1.0).unwrap());
    let [of_margin, of_swapping, of_squared] = TripletFormula::all(1.0);
    let gradient: Property = |check, batch| check.gradient(batch);
    assert!(catches(&HalfTriplet, of_squared, gradient));
    assert!(!catches(&squared, of_squared, gradient));
    let swap: Property = |check, batch| check.swap(batch);
    assert!(catches(&margin, of_margin, swap), "only a loss that swaps is symmetric");
    assert!(!catches(&margin.swapping(), of_swapping, swap));
    let properties: [(How, Property); 4] = [
        (How::Drifts, |check, batch| check.translation(batch)),
        (How::Drifts, |check, batch| check.rotation(batch)),
        (How::Place, |check, batch| check.permutation(batch)),
        (How::Crowd, |check, batch| check.additivity(batch)),
    ];
    for (how, property) in properties {
        let loss = Unfaithful::new(margin, how);
        assert!(catches(&loss, of_margin, property), "{how:?} passes");
        assert!(!catches(&margin, of_margin, property));
    }
}

#[test]
fn batches_of_one_s_own_are_checked_for_their_shapes() {
    let of = |rows: usize| Embeddings::new(vec![0.0_f64; 2 * rows], rows, 2).unwrap();
    assert!(Embeddings::new(vec![0.0_f32; 5], 3, 2).is_err());
    assert!(PairBatch::new([of(3), of(3)], vec![true; 3], 1).is_ok());
    assert!(PairBatch::new([of(3), of(3)], vec![true; 2], 1).is_err());
    assert!(PairBatch::new([of(3), of(2)], vec![true; 3], 1).is_err());
    assert!(TripletBatch::new([of(3), of(3), of(2)], 1).is_err());
    let empty = PairBatch::new([of(0), of(0)], vec![], 1).unwrap();
    assert!(empty.is_empty() && PairCheck::new(&Fault::None).all(&empty).is_ok());
}

/// A margin of squared distances, said to be one of distances.
struct ReachesTooFar;

impl PairLoss<f64> for ReachesTooFar {
    #[inline(always)]
    fn eval<S: Simd<f64>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let gap = s.hinge(s.splat(4.0) - d2);
        let value = s.splat(0.5) * s.select(similar, d2, gap);
        (value, s.select(similar, s.splat(1.0), -s.step(gap)))
    }

    fn reach(&self) -> Option<f64> {
        Some(1.0)
    }
}

#[test]
fn a_loss_that_pushes_beyond_its_reach_is_caught() {
    let error = PairCheck::new(&ReachesTooFar).reach().unwrap_err();
    assert!(error.to_string().contains("a reach of 1, but value"), "{error}");
    for loss in [
        // A reach is no square: smaller than the margin of squares above 1, larger below.
        Box::new(SquaredHinge::new(4.0).unwrap()) as Box<dyn BlockLoss<f64>>,
        Box::new(SquaredHinge::new(0.25).unwrap()),
        Box::new(CosineContrastive::new(0.5).unwrap()),
        Box::new(LinearHinge::new(0.5, 2.0).unwrap()),
        Box::new(DoubleMargin::new(0.5, 2.0).unwrap()),
        Box::new(Exponential::new(1.0).unwrap()),
    ] {
        PairCheck::new(&*loss).reach().unwrap();
    }
}

/// The contrastive loss with margin 1, with a claim about its pull.
struct ClaimsToPull {
    by: f64,
    value: f64,
}

impl PairLoss<f64> for ClaimsToPull {
    #[inline(always)]
    fn eval<S: Simd<f64>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let (value, slope) = Fault::None.eval(s, d2, similar);
        (value * s.splat(self.value), slope)
    }

    fn similar_slope(&self) -> Option<f64> {
        Some(self.by)
    }
}

/// Similar pairs cost nothing up to a distance of 2.
struct PullsFromAfar;

impl PairLoss<f64> for PullsFromAfar {
    #[inline(always)]
    fn eval<S: Simd<f64>>(&self, s: S, d2: S::F, _: S::M) -> (S::F, S::F) {
        let far = s.step(d2 - s.splat(4.0));
        (s.splat(0.5) * far * d2, far)
    }

    fn similar_slope(&self) -> Option<f64> {
        Some(1.0)
    }
}

#[test]
fn a_loss_that_does_not_pull_as_it_says_is_caught() {
    let pull = |by: f64, value: f64| PairCheck::new(&ClaimsToPull { by, value }).similar_slope();
    pull(1.0, 1.0).unwrap();
    let error = pull(2.0, 1.0).unwrap_err();
    assert!(error.to_string().contains("a similar slope of 2, but value 0 and slope 1"), "{error}");
    for (by, value) in [(1.0, 0.5), (1.0, 1.0 + 1e-9), (1.0 + 1e-9, 1.0), (f64::NAN, 1.0)] {
        assert!(pull(by, value).is_err(), "slope 1 and value {value}, said to be {by}");
    }
    assert!(
        PairCheck::new(&PullsFromAfar).similar_slope().is_err(),
        "no pull where rows are close"
    );
    for formula in PairFormula::all(0.7, 1.3) {
        let (loss, exact) = (formula.loss::<f32>(), formula.rounded::<f32>().loss::<f64>());
        PairCheck::with_exact(&*loss, &*exact).similar_slope().unwrap();
        PairCheck::new(&*exact).similar_slope().unwrap();
    }
    // As a part of all that is checked.
    let all: PairProperty = |check, batch| check.all(batch);
    assert!(catches_pairs(&ClaimsToPull { by: 2.0, value: 1.0 }, all));
    assert!(!catches_pairs(&ClaimsToPull { by: 1.0, value: 1.0 }, all));
}
