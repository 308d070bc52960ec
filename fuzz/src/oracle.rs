//! The contrastive loss of rows in scalar f64, and how far from it a kernel may be.

use drlim::loss::Outcome;
use drlim::{Isa, Mat, Real};

/// One pair: its value, its slope, and the errors that rounding may leave in them.
struct Pair {
    value: f64,
    value_error: f64,
    slope: f64,
    slope_error: f64,
}

impl Pair {
    /// `d2` rounded to T, from differences rounded to T, as the kernels do: what overflows there
    /// overflows here.
    fn new<T: Real>(d2: f64, similar: bool, margin: f64, rounding: f64) -> Self {
        if similar {
            let value = d2 / 2.0;
            return Pair { value, value_error: rounding * value, slope: 1.0, slope_error: 0.0 };
        }
        let d = d2.sqrt();
        let gap = if d > margin { 0.0 } else { margin - d };
        let error = if d > margin * (1.0 + rounding) { 0.0 } else { rounding * margin };
        // At the threshold of the zero-distance rule either side of it is right.
        let least = T::MIN_POSITIVE.to_f64();
        let (slope, slope_error) = match d2 {
            d2 if d2 < 0.5 * least => (0.0, 0.0),
            d2 if d2 < 2.0 * least => (0.0, 2.0 * gap / d),
            _ => (-gap / d, error / d),
        };
        Pair { value: gap * gap / 2.0, value_error: (gap + error) * error, slope, slope_error }
    }
}

/// What one call should give.
pub struct Expected {
    pairs: usize,
    similar: usize,
    value: f64,
    value_error: f64,
    /// At least and at most so many values other than zero.
    active: [u64; 2],
    /// Gradients with respect to a and their errors; those with respect to b are their negatives.
    grads: Vec<(f64, f64)>,
}

impl Expected {
    /// The sum over pairs divided by `count`, gradients times `scale`.
    pub fn new<T: Real>(
        a: Mat<T>,
        b: Mat<T>,
        similar: &[bool],
        margin: T,
        scale: T,
        count: usize,
    ) -> Self {
        let round = |x: f64| T::from_f64(x).to_f64();
        let (eps, least) = (T::EPSILON.to_f64(), T::MIN_POSITIVE.to_f64());
        let rounding = (a.cols() + 8) as f64 * eps;
        let factor = round(scale.to_f64() / count as f64);
        let mut sum = Expected {
            pairs: similar.len(),
            similar: similar.iter().filter(|&&similar| similar).count(),
            value: 0.0,
            value_error: 0.0,
            active: [0, 0],
            grads: Vec::with_capacity(a.rows() * a.cols()),
        };
        for ((a, b), &similar) in a.iter().zip(b.iter()).zip(similar) {
            let differences = || a.iter().zip(b).map(|(a, b)| round(a.to_f64() - b.to_f64()));
            let d2 = round(differences().map(|t| t * t).sum());
            let pair = Pair::new::<T>(d2, similar, margin.to_f64(), rounding);
            sum.value += pair.value;
            sum.value_error += pair.value_error + least;
            let surely = pair.value.is_nan() || pair.value > 2.0 * (pair.value_error + least);
            let possibly = pair.value + pair.value_error != 0.0;
            sum.active[0] += u64::from(surely);
            sum.active[1] += u64::from(possibly);
            sum.grads.extend(differences().map(|t| {
                let grad = round(pair.slope * factor * t);
                let error = (factor * pair.slope_error * t).abs() + 4.0 * eps * grad.abs();
                (grad, error + least)
            }));
        }
        // Kernels add up a block of 256 values in T; the plain sum here has an error too.
        let addition = 256.0 * eps + a.rows() as f64 * f64::EPSILON;
        sum.value_error = (sum.value_error + addition * sum.value) / count as f64;
        sum.value /= count as f64;
        sum
    }

    /// # Panics
    /// Where something is further off than its error, or NaN where it should not be or the reverse.
    pub fn check<T: Real>(&self, outcome: &Outcome, [grad_a, grad_b]: &[Vec<T>; 2], isa: Isa) {
        assert_eq!(
            [outcome.pairs, outcome.similar],
            [self.pairs as u64, self.similar as u64],
            "{isa} {}: pairs, similar pairs",
            T::NAME
        );
        let [least, most] = self.active;
        assert!(
            (least..=most).contains(&outcome.active),
            "{isa} {}: {} active pairs, expected {least}..={most}",
            T::NAME,
            outcome.active
        );
        close::<T>(outcome.value, (self.value, self.value_error), isa, "value", 0);
        assert_eq!([grad_a.len(), grad_b.len()], [self.grads.len(); 2]);
        for (i, &(grad, error)) in self.grads.iter().enumerate() {
            close::<T>(grad_a[i].to_f64(), (grad, error), isa, "grad_a", i);
            close::<T>(grad_b[i].to_f64(), (-grad, error), isa, "grad_b", i);
        }
    }
}

fn close<T: Real>(got: f64, (expected, error): (f64, f64), isa: Isa, what: &str, at: usize) {
    let same = got == expected || got.is_nan() && expected.is_nan();
    assert!(
        same || expected.is_finite() && (got - expected).abs() <= error,
        "{isa} {}: {what}[{at}] is {got:e}, expected {expected:e} within {error:e}",
        T::NAME
    );
}
