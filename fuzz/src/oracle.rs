//! What calls on pairs should give, in scalar f64, and how far from it a kernel may be.

use drlim::loss::{KindSums, Outcome, Reduction, Sums};
use drlim::{Isa, Real};

use crate::support::formulas::{PairFormula, TripletFormula};

/// A number that a kernel has only up to an error. Where the error is infinite anything will do: so
/// near the largest number that one order of operations overflows and another does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Approx {
    pub x: f64,
    pub error: f64,
}

impl Approx {
    pub fn exact(x: f64) -> Self {
        Approx { x, error: 0.0 }
    }

    /// Rounded to T, where all that underflows has an error of the smallest normal number; 0 alone
    /// has none.
    fn rounded<T: Real>(self) -> Self {
        let half_of_largest = 2.0 / T::MIN_POSITIVE.to_f64();
        let size = self.x.abs() + self.error;
        let clearly_infinite = self.x.abs() - self.error > 4.0 * half_of_largest;
        if self.error.is_nan() || size >= half_of_largest && size.is_finite() && !clearly_infinite {
            return Approx { error: f64::INFINITY, ..self };
        }
        if size == 0.0 || !self.x.is_finite() {
            return self;
        }
        let x = T::from_f64(self.x).to_f64();
        let error = self.error + 2.0 * T::EPSILON.to_f64() * size + T::MIN_POSITIVE.to_f64();
        if x.is_finite() { Approx { x, error } } else { Approx::exact(x) }
    }

    /// The product, rounded.
    fn times<T: Real>(self, factor: f64) -> Self {
        if self.error == f64::INFINITY {
            return self;
        }
        Approx { x: self.x * factor, error: self.error * factor.abs() }.rounded::<T>()
    }

    /// Farther from 0 than its error: not 0 for sure.
    fn surely_nonzero(self) -> bool {
        self.x.is_nan() || self.x.abs() > 2.0 * self.error
    }

    fn possibly_nonzero(self) -> bool {
        self.x != 0.0 || self.error != 0.0
    }

    /// # Panics
    /// Where `got` is further off than its error, or NaN where it should not be or the reverse.
    pub fn check<T: Real>(self, got: f64, isa: Isa, what: &str, at: usize) {
        let Approx { x, error } = self;
        let same = got == x || got.is_nan() && x.is_nan();
        let near = x.is_finite() && (got - x).abs() <= error;
        assert!(
            same || near || error == f64::INFINITY,
            "{isa} {}: {what}[{at}] is {got:e}, expected {x:e} within {error:e}",
            T::NAME
        );
    }
}

/// A sum of rounded terms, in any order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    sum: Approx,
    /// Of all finite terms.
    size: f64,
    terms: usize,
}

impl Total {
    pub fn add(&mut self, term: Approx) {
        self.add_sized(term, term.x.abs());
    }

    /// Adds a term that is the difference of larger ones.
    pub fn add_sized(&mut self, term: Approx, size: f64) {
        self.sum.x += term.x;
        self.sum.error += term.error;
        self.size += if term.x.is_finite() { size } else { 0.0 };
        self.terms += 1;
    }

    /// With the rounding of at most so many additions in T, and of all in f64.
    pub fn rounded<T: Real>(self, additions: usize) -> Approx {
        let additions = self.terms.min(additions) as f64 * T::EPSILON.to_f64();
        let relative = additions + self.terms as f64 * f64::EPSILON;
        // Sums of some terms may overflow where that of all does not.
        let doubt = 2.0 * self.size >= 2.0 / T::MIN_POSITIVE.to_f64();
        let error = if doubt { f64::INFINITY } else { self.sum.error + relative * self.size };
        Approx { error, ..self.sum }
    }
}

/// A squared distance, from differences and a d² rounded to T, as kernels have it: what overflows there
/// overflows here.
#[derive(Clone, Debug)]
pub struct Squared {
    /// a - b.
    pub differences: Vec<f64>,
    pub d2: f64,
    /// What d² lies between.
    pub nearby: [f64; 2],
    /// So near the largest number that it may overflow.
    pub doubtful: bool,
}

impl Squared {
    /// As calls measure it that form the differences.
    pub fn new<T: Real>(a: &[T], b: &[T]) -> Self {
        let mut squared = Squared::within::<T>(a, b, 0.0);
        // Each square may lose what lies below the smallest number of all.
        let lost = squared.differences.iter().filter(|t| **t != 0.0).count() as f64;
        let lost = lost * T::EPSILON.to_f64() * T::MIN_POSITIVE.to_f64();
        if !squared.d2.is_nan() {
            let [least, most] = squared.nearby;
            squared.nearby = [(least - lost).max(0.0), most + lost];
        }
        squared
    }

    /// As calls on whole batches promise it, which form products where these are exact enough: d to
    /// within 1e-4 of itself, in f64 2e-13. Where d² underflows it is not promised anything but to be
    /// about as small.
    pub fn by_products<T: Real>(a: &[T], b: &[T]) -> Self {
        let promised = if size_of::<T>() == 4 { 1e-4 } else { 2e-13 };
        let squared = Squared::within::<T>(a, b, 2.01 * promised);
        match squared.d2 < T::MIN_POSITIVE.to_f64() {
            true => Squared { nearby: [0.0, 4.0 * squared.d2], ..squared },
            false => squared,
        }
    }

    fn within<T: Real>(a: &[T], b: &[T], relative: f64) -> Self {
        let round = |x: f64| T::from_f64(x).to_f64();
        let differences = a.iter().zip(b).map(|(a, b)| round(a.to_f64() - b.to_f64()));
        let differences: Vec<f64> = differences.collect();
        let d2: f64 = differences.iter().map(|t| t * t).sum();
        let relative = relative + (a.len() + 16) as f64 * T::EPSILON.to_f64();
        let doubtful = Approx { x: d2, error: relative * d2 }.rounded::<T>().error == f64::INFINITY;
        let d2 = round(d2);
        let nearby = [d2 * (1.0 - relative), d2 * (1.0 + relative)].map(|d2| d2.max(0.0));
        Squared { differences, d2, nearby: if d2.is_nan() { [d2; 2] } else { nearby }, doubtful }
    }

    /// A function of d². What the error of d² makes of it, the function says itself.
    fn approx<T: Real>(&self, function: &dyn Fn(f64) -> f64, underflow: f64) -> Approx {
        let (eps, least) = (T::EPSILON.to_f64(), T::MIN_POSITIVE.to_f64());
        let here = function(self.d2);
        let error = self.nearby.iter().map(|&d2| spread(here, function(d2))).sum::<f64>();
        let error = error + 8.0 * eps * here.abs() + least * underflow;
        let error = if here.is_finite() { error } else { 0.0 };
        let error = if self.doubtful { f64::INFINITY } else { error };
        Approx { x: here, error }.rounded::<T>()
    }

    pub fn distance<T: Real>(&self) -> Approx {
        self.approx::<T>(&f64::sqrt, 0.0)
    }
}

fn spread(here: f64, there: f64) -> f64 {
    if there == here { 0.0 } else { (there - here).abs() }
}

/// One pair, as the loss alone sees it; or one side of a triplet, which counts as a dissimilar pair of
/// the triplet's value.
#[derive(Debug)]
pub struct Pair {
    pub similar: bool,
    pub ignored: bool,
    weight: Option<f64>,
    /// a - b, rounded to T.
    differences: Vec<f64>,
    pub distance: Approx,
    value: Approx,
    slope: Approx,
}

impl Pair {
    pub fn new<T: Real>(formula: PairFormula, squared: Squared, similar: bool) -> Self {
        let least = T::MIN_POSITIVE.to_f64();
        // The exponential function may underflow before it is multiplied by something large.
        let [of_value, of_slope] = match formula {
            PairFormula::Exponential { q } if !similar => {
                [2.0 * q, 5.54 / squared.d2.max(least).sqrt()]
            }
            _ => [0.0; 2],
        };
        Pair {
            similar,
            ignored: false,
            weight: None,
            distance: squared.distance::<T>(),
            value: squared.approx::<T>(&|d2| formula.value(d2, similar), of_value),
            slope: squared.approx::<T>(&|d2| formula.slope(d2, similar, least), of_slope),
            differences: squared.differences,
        }
    }

    /// The sides of a triplet: anchor and positive, anchor and negative, positive and negative.
    pub fn sides<T: Real>(formula: TripletFormula, squared: [Squared; 3]) -> [Self; 3] {
        let (eps, least) = (T::EPSILON.to_f64(), T::MIN_POSITIVE.to_f64());
        let d2 = squared.each_ref().map(|squared| squared.d2);
        let (value, slopes) = (formula.value(d2), formula.slopes(d2, least));
        let margin = formula.margin();
        let size = match formula {
            TripletFormula::Squared { .. } => d2[0] + d2[1],
            _ => d2[0].sqrt() + d2[1].sqrt(),
        };
        // What is lost to the rounding of the gap is a change of the margin.
        let lost = 4.0 * eps * (size + margin);
        let lost = if lost.is_finite() { lost } else { 0.0 };
        let [mut of_value, mut of_slopes] = [[8.0 * eps * value.abs(), 0.0, 0.0], [0.0; 3]];
        // The value grows or falls with each of them, and which case of the slopes it is follows from
        // values: the corners have the extremes.
        for corner in 0..16_usize {
            let end = |side: usize| squared[side].nearby[corner >> side & 1];
            let margin = if corner >> 3 == 0 { margin - lost } else { margin + lost };
            let (there, at) = (formula.with(margin), [end(0), end(1), end(2)]);
            of_value[0] = f64::max(of_value[0], spread(value, there.value(at)));
            let others = there.slopes(at, least);
            for side in 0..3 {
                let (here, there) = (slopes[side], others[side]);
                let error = spread(here, there) + 8.0 * eps * here.abs();
                let error = if error.is_nan() { f64::INFINITY } else { error };
                of_slopes[side] = f64::max(of_slopes[side], error);
            }
        }
        let doubtful = squared.iter().any(|squared| squared.doubtful);
        let approx = |x: f64, error: f64| {
            let error = if x.is_finite() { error } else { 0.0 };
            Approx { x, error: if doubtful { f64::INFINITY } else { error } }.rounded::<T>()
        };
        let value = approx(value, of_value[0]);
        let mut slopes = slopes.into_iter().zip(of_slopes).map(|(x, error)| approx(x, error));
        squared.map(|squared| Pair {
            similar: false,
            ignored: false,
            weight: None,
            distance: squared.distance::<T>(),
            value,
            slope: slopes.next().expect("one of each side"),
            differences: squared.differences,
        })
    }

    /// Without its differences, where those are taken from elsewhere.
    pub fn without_differences(self) -> Self {
        Pair { differences: Vec::new(), ..self }
    }

    pub fn weighted<T: Real>(self, weight: T) -> Self {
        Pair { weight: Some(weight.to_f64()), ..self }
    }

    pub fn ignoring(self, ignored: bool) -> Self {
        Pair { ignored, ..self }
    }

    /// The value, weight included; 0 where the pair is left out.
    fn weighted_value<T: Real>(&self) -> Approx {
        match self.weight {
            _ if self.ignored => Approx::default(),
            Some(weight) => self.value.times::<T>(weight),
            None => self.value,
        }
    }
}

/// What one call on pairs should give.
pub struct Expected {
    pub pairs: Vec<Pair>,
    reduction: Reduction,
    /// The slopes that gradients are made of, once the sums are known.
    slopes: Vec<Approx>,
}

impl Expected {
    pub fn new(pairs: Vec<Pair>, reduction: Reduction) -> Self {
        Expected { pairs, reduction, slopes: Vec::new() }
    }

    /// The value of a pair as it is written.
    pub fn value<T: Real>(&self, i: usize) -> Approx {
        self.pairs[i].weighted_value::<T>()
    }

    /// The slope of a pair as it is written.
    pub fn slope(&self, i: usize) -> Approx {
        self.slopes[i]
    }

    /// # Panics
    /// Where the value, or a number of pairs, is not what it should be.
    pub fn check_outcome<T: Real>(&self, outcome: &Outcome, isa: Isa) {
        let (mut value, mut size) = (Approx::default(), 0.0);
        let kinds = [outcome.sums.similar, outcome.sums.dissimilar];
        for (kind, factor) in kinds.iter().zip(self.factors(&outcome.sums)) {
            let similar = std::ptr::eq(kind, &kinds[0]);
            let pairs = || self.pairs.iter().filter(|p| !p.ignored && p.similar == similar);
            assert_eq!(kind.pairs, pairs().count() as u64, "{isa} {}: pairs", T::NAME);
            let values = || pairs().map(Pair::weighted_value::<T>);
            let least = values().filter(|value| value.surely_nonzero()).count() as u64;
            let most = values().filter(|value| value.possibly_nonzero()).count() as u64;
            let name = T::NAME;
            let active = kind.active;
            assert!((least..=most).contains(&active), "{isa} {name}: {active} of {least}..={most}");
            let mut total = Total::default();
            values().for_each(|value| total.add(value));
            // Kernels add up a block of 256 values in T.
            let sum = total.rounded::<T>(256);
            sum.check::<T>(kind.sum, isa, "sum", usize::from(!similar));
            value.x += sum.x * factor;
            value.error += if factor == 0.0 { 0.0 } else { sum.error * factor.abs() };
            size += (sum.x * factor).abs();
        }
        if size.is_finite() {
            value.error += 8.0 * f64::EPSILON * size;
        }
        value.check::<T>(outcome.value, isa, "value", 0);
        let [similar, dissimilar] = kinds;
        assert_eq!(outcome.pairs, similar.pairs + dissimilar.pairs);
        assert_eq!(outcome.similar, similar.pairs);
        assert_eq!(outcome.active, similar.active + dissimilar.active);
    }

    /// What sums of similar and of dissimilar pairs are multiplied by.
    fn factors(&self, sums: &Sums) -> [f64; 2] {
        let Sums { similar, dissimilar } = *sums;
        let over = |count: u64| if count == 0 { 1.0 } else { 1.0 / count as f64 };
        let both = |of: fn(KindSums) -> u64| [over(of(similar) + of(dissimilar)); 2];
        match self.reduction {
            Reduction::Sum => [1.0; 2],
            Reduction::Mean => both(|kind| kind.pairs),
            Reduction::MeanNonZero => both(|kind| kind.active),
            Reduction::Balanced => [over(similar.pairs), over(dissimilar.pairs)],
            Reduction::BalancedNonZero => [over(similar.active), over(dissimilar.active)],
            Reduction::Factors { similar, dissimilar } => [similar, dissimilar],
            other => panic!("{other:?} is new"),
        }
    }

    /// Multiplies slopes by factors and weights, given the sums that a call has found, which have
    /// been checked.
    pub fn weigh<T: Real>(&mut self, sums: &Sums, scale: T) {
        let factors = self.factors(sums);
        let factors = factors.map(|f| T::from_f64(scale.to_f64() * f).to_f64());
        let late = matches!(self.reduction, Reduction::MeanNonZero | Reduction::BalancedNonZero);
        let slope = |pair: &Pair| {
            let factor = factors[usize::from(!pair.similar)];
            match pair.weight {
                _ if pair.ignored => Approx::default(),
                None => pair.slope.times::<T>(factor),
                // A list multiplies by factors that are known late at last, rows do not; what is lost
                // between differs.
                Some(weight) if late => {
                    let [one, other] = [[weight, factor], [factor, weight]]
                        .map(|[x, y]| pair.slope.times::<T>(x).times::<T>(y));
                    let differ = if one.x == other.x { 0.0 } else { (one.x - other.x).abs() };
                    let differ = if differ.is_nan() { f64::INFINITY } else { differ };
                    let differ = if one.x.is_nan() && other.x.is_nan() { 0.0 } else { differ };
                    Approx { error: one.error.max(other.error) + differ, ..one }
                }
                Some(weight) => pair.slope.times::<T>(factor).times::<T>(weight),
            }
        };
        self.slopes = self.pairs.iter().map(slope).collect();
    }

    /// Element k of the gradient of the first row of a pair; that of the second is its negative.
    pub fn gradient<T: Real>(&self, i: usize, k: usize) -> Approx {
        self.gradient_of::<T>(i, self.pairs[i].differences[k])
    }

    fn gradient_of<T: Real>(&self, i: usize, difference: f64) -> Approx {
        match self.pairs[i].ignored {
            true => Approx::default(),
            false => self.slopes[i].times::<T>(difference),
        }
    }

    /// The same as a term of a sum.
    pub fn term<T: Real>(&self, i: usize, k: usize) -> Approx {
        self.term_of::<T>(i, self.pairs[i].differences[k])
    }

    /// The same where the difference is not the pair's own. A fused operation adds a product that alone
    /// would overflow, which may meet an infinity of the other sign: anything will do then.
    pub fn term_of<T: Real>(&self, i: usize, difference: f64) -> Approx {
        let term = self.gradient_of::<T>(i, difference);
        let factors = [self.slopes[i].x, difference];
        match !term.x.is_finite() && factors.iter().all(|factor| factor.is_finite()) {
            true => Approx { error: f64::INFINITY, ..term },
            false => term,
        }
    }

    /// # Panics
    /// Where the gradients of a pair by rows are not what they should be.
    pub fn check_row<T: Real>(&self, i: usize, [grad_a, grad_b]: [&[T]; 2], isa: Isa) {
        for k in 0..grad_a.len() {
            let Approx { x, error } = self.gradient::<T>(i, k);
            let at = i * grad_a.len() + k;
            Approx { x, error }.check::<T>(grad_a[k].to_f64(), isa, "grad_a", at);
            Approx { x: -x, error }.check::<T>(grad_b[k].to_f64(), isa, "grad_b", at);
        }
    }
}
