//! What an anchor's candidates come to: a log-sum of its similar and one of its dissimilar pairs.

#![forbid(unsafe_code)]

use std::ops::Add;

use crate::error::{Error, Result};

/// ln of the sum of e^x over some exponents x, as the largest of them and the sum of e^(x - largest).
///
/// Sums of parts are merged by `+`, in any grouping: nothing overflows, and nothing is lost but rounding.
///
/// ```
/// use drlim::loss::LogSum;
/// let of = |x: f64| LogSum { count: 1, largest: x, sum: 1.0 };
/// let both = of(1000.0) + of(1000.0);
/// assert_eq!(both.log(), 1000.0 + 2.0_f64.ln());
/// assert_eq!(LogSum::default().log(), f64::NEG_INFINITY); // of nothing
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSum {
    /// How many exponents there are.
    pub count: u64,
    /// The largest exponent; negative infinity where there is none.
    pub largest: f64,
    /// The sum of e^(x - largest).
    pub sum: f64,
}

/// The sum of nothing.
impl Default for LogSum {
    fn default() -> Self {
        LogSum { count: 0, largest: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    /// ln of the sum; negative infinity where it is 0.
    pub fn log(&self) -> f64 {
        // Where nothing has been added up, the largest exponent says nothing.
        if self.sum == 0.0 { f64::NEG_INFINITY } else { self.largest + self.sum.ln() }
    }
}

impl Add for LogSum {
    type Output = LogSum;

    fn add(self, other: LogSum) -> LogSum {
        // A count that does not fit is refused where sums are known.
        let count = self.count.saturating_add(other.count);
        // A sum of 0 has no largest exponent, and infinity less infinity would be NaN.
        if self.sum == 0.0 || other.sum == 0.0 {
            let one = if self.sum == 0.0 { other } else { self };
            return LogSum { count, ..one };
        }
        let largest = if self.largest < other.largest { other.largest } else { self.largest };
        let part = |of: LogSum| of.sum * (of.largest - largest).exp();
        LogSum { count, largest, sum: part(self) + part(other) }
    }
}

/// Sums over the pairs of one anchor: all that an [`AnchorLoss`](super::AnchorLoss) sees of its batch.
///
/// Sums of parts of the candidates, those that several machines hold, say, are merged by `+`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AnchorSums {
    /// Over its similar pairs: P.
    pub similar: LogSum,
    /// Over its dissimilar pairs: G.
    pub dissimilar: LogSum,
    /// The sum of the exponents of its similar pairs.
    pub exponents: f64,
    /// Sums of both results of [`AnchorLoss::each`](super::AnchorLoss::each) over its similar pairs; `None`
    /// before they have been looked at.
    pub each: Option<[f64; 2]>,
}

impl AnchorSums {
    /// The log-sums alone, with similar pairs that are still to be looked at: what the second look of a merged
    /// anchor starts from.
    pub fn without_each(self) -> Self {
        AnchorSums { each: None, ..self }
    }

    /// These sums with the [`each`](AnchorSums::each) of a part added: how second looks are merged, after which
    /// all parts have the log-sums of the whole. `None` where the log-sums of the part are others, or where
    /// either has not looked at its similar pairs.
    ///
    /// ```
    /// use drlim::loss::{AnchorSums, LogSum};
    /// let mut sums = AnchorSums::default();
    /// sums.similar = LogSum { count: 2, largest: 3.0, sum: 1.5 };
    /// assert_eq!(sums.add_each(sums), None);
    /// sums.each = Some([1.0, 2.0]);
    /// let both = sums.add_each(sums).unwrap();
    /// assert_eq!((both.similar, both.each), (sums.similar, Some([2.0, 4.0])));
    /// ```
    #[must_use]
    pub fn add_each(self, part: AnchorSums) -> Option<Self> {
        let log_sums = |of: &AnchorSums| [of.similar, of.dissimilar];
        let (one, other) = (self.each?, part.each?);
        let each = Some([one[0] + other[0], one[1] + other[1]]);
        (log_sums(&self) == log_sums(&part)).then_some(AnchorSums { each, ..self })
    }

    /// Refuses known sums that no call gives of numbers.
    pub(crate) fn check_known(&self) -> Result<()> {
        let refused = |arg, got, expected| Err(Error::Value { arg, got, expected });
        let AnchorSums { similar, dissimilar, exponents, each } = self;
        let [first, second] = each.unwrap_or_default();
        for (arg, got) in [
            ("known.similar.largest", similar.largest),
            ("known.dissimilar.largest", dissimilar.largest),
            ("known.exponents", *exponents),
            ("known.each", first),
            ("known.each", second),
        ] {
            if got.is_nan() {
                return refused(arg, got, "a number");
            }
        }
        for (arg, got) in
            [("known.similar.sum", similar.sum), ("known.dissimilar.sum", dissimilar.sum)]
        {
            // A NaN is in no range.
            if !(0.0..=f64::INFINITY).contains(&got) {
                return refused(arg, got, "a number that is not negative");
            }
        }
        let pairs = similar.count.saturating_add(dissimilar.count);
        // Totals are sums over up to 2^32 anchors.
        if pairs > u32::MAX.into() {
            return refused("known.count", pairs as f64, "at most 2^32 - 1 pairs of an anchor");
        }
        Ok(())
    }

    /// The sums of exponents that are all larger by `by`.
    pub(crate) fn shifted(mut self, by: f64) -> Self {
        self.similar.largest += by;
        self.dissimilar.largest += by;
        self.exponents += by * self.similar.count as f64;
        self
    }
}

impl Add for AnchorSums {
    type Output = AnchorSums;

    fn add(self, other: AnchorSums) -> AnchorSums {
        AnchorSums {
            similar: self.similar + other.similar,
            dissimilar: self.dissimilar + other.dissimilar,
            exponents: self.exponents + other.exponents,
            each: match (self.each, other.each) {
                (Some(one), Some(other)) => Some([one[0] + other[0], one[1] + other[1]]),
                (one, other) => one.or(other),
            },
        }
    }
}

/// What an anchor costs, and what the weights of its pairs are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Anchor {
    /// The anchor's value.
    pub value: f64,
    /// Numbers for [`AnchorLoss::weight`](super::AnchorLoss::weight); `None` where the weights of all its pairs
    /// are 0.
    pub terms: Option<[f64; 4]>,
}

/// ln(1 + e^x)
pub(crate) fn softplus(x: f64) -> f64 {
    match x {
        x if x > 0.0 => x + (-x).exp().ln_1p(),
        _ => x.exp().ln_1p(),
    }
}
