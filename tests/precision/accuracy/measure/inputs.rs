//! Inputs that are hard on a sum, by class, each a function of the seed.

use crate::support::{Element, Random};

/// What is hard about an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing: uniform numbers between -1 and 1.
    Ordinary,
    /// Squares whose sum is an eighth of the largest number.
    Huge,
    /// Squares around the smallest normal number, most of them subnormal.
    Tiny,
    /// Far from the origin in each element, close to each other.
    Offset,
    /// Terms of about one size and of alternate signs.
    Alternating,
    /// Subnormal numbers.
    Denormal,
    /// Rows 2i and 2i + 1 are a few ULP apart.
    NearDuplicate,
    /// Rows 2i and 2i + 1 are equal.
    Coincident,
    /// Most elements are zeros of either sign.
    SignedZeros,
    /// Magnitudes from 2^-30 to 2^30, each element by itself.
    Mixed,
    /// A few large terms first, then ones that are each just lost beside them: as far off as a sum in
    /// this order can be.
    Stagnating,
}

use Class as C;

impl Class {
    pub const ALL: [Class; 11] = [
        C::Ordinary,
        C::Huge,
        C::Tiny,
        C::Offset,
        C::Alternating,
        C::Denormal,
        C::NearDuplicate,
        C::Coincident,
        C::SignedZeros,
        C::Mixed,
        C::Stagnating,
    ];

    pub fn name(self) -> &'static str {
        match self {
            C::Ordinary => "ordinary",
            C::Huge => "huge",
            C::Tiny => "tiny",
            C::Offset => "offset",
            C::Alternating => "alternating",
            C::Denormal => "denormals",
            C::NearDuplicate => "near duplicates",
            C::Coincident => "coincident",
            C::SignedZeros => "signed zeros",
            C::Mixed => "mixed magnitudes",
            C::Stagnating => "stagnating",
        }
    }

    /// A matrix of this class, row after row. The first `head` elements of a stagnating row are large.
    pub fn matrix<T: Element>(self, [rows, cols]: [usize; 2], head: usize, seed: u64) -> Vec<T> {
        let mut random = Random::new(seed ^ (self as u64) << 40 ^ (cols as u64) << 20);
        let mut out: Vec<T> = Vec::with_capacity(rows * cols);
        for i in 0..rows {
            for k in 0..cols {
                let before = (i % 2 == 1).then(|| out[(i - 1) * cols + k]);
                out.push(self.element(&mut random, [i, k], cols, head, before));
            }
        }
        out
    }

    /// Element k of row i; `before` is that of the row before, where that is the other of a pair.
    fn element<T: Element>(
        self,
        random: &mut Random,
        [i, k]: [usize; 2],
        cols: usize,
        head: usize,
        before: Option<T>,
    ) -> T {
        let x = random.between::<f64>(-1.0, 1.0);
        let (eps, least) = (T::EPSILON.to_f64(), T::MIN_POSITIVE.to_f64());
        let sign = if k.is_multiple_of(2) { 1.0 } else { -1.0 };
        T::from_f64(match self {
            C::Ordinary => x,
            C::Huge => x * (T::MAX.to_f64() / (32.0 * cols as f64)).sqrt(),
            C::Tiny => x * least.sqrt() * [0.02, 0.3, 1.0, 8.0][i / 2 % 4],
            C::Offset => 0.05 * x + sign * eps.powf(-0.4),
            C::Alternating => match before {
                None => sign * (1.0 + 1e-3 * x),
                Some(_) => 1.0 + 1e-3 * x,
            },
            C::Denormal => x * least * 0.999,
            C::NearDuplicate => match before {
                None => x,
                Some(y) => y.to_f64() * (1.0 + eps * (3.0 * x).round()),
            },
            C::Coincident => before.map_or(x, T::to_f64),
            C::SignedZeros => match random.unit() {
                0.7.. => x,
                0.35.. => 0.0,
                _ => -0.0,
            },
            C::Mixed => x.signum() * random.between::<f64>(-30.0, 30.0).exp2(),
            C::Stagnating => match before {
                Some(y) => -y.to_f64(),
                None if k < head => 1.0,
                None => (0.49 * eps).sqrt(),
            },
        })
    }
}
