//! What an anchor's candidates come to, and how the sums of parts of them are merged.

use super::places::PointerArgs;
use super::status::{Refusal, drlim_status, guard};
use crate::error::Error;
use crate::loss::{AnchorSums, LogSum};

/// ln of the sum of e^x over some exponents x: largest + ln(sum).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct drlim_log_sum {
    /// How many exponents there are.
    pub count: u64,
    /// The largest exponent; says nothing where the sum is 0.
    pub largest: f64,
    /// The sum of e^(x - largest).
    pub sum: f64,
}

/// Sums over the candidates of one anchor. Zeros are those of no candidate.
///
/// Where keys are in parts, on several machines for instance, calls on the queries and each part of the keys
/// write these sums, without gradients. drlim_anchor_sums_add() merges those of all parts. With them as the
/// known field of the objective, the same calls give the value of the whole and the part's share of its
/// gradients: those of the queries are added up. Where queries are in parts, too, drlim_anchor_reduce() gives
/// the factor of all parts.
///
/// DRLIM_POSITIVES_EACH looks at similar pairs again, with the log-sums of the whole, and takes a round in
/// between: the calls that know the merged sums write sums again, which drlim_anchor_sums_add_each() merges.
/// Values and gradients of that round are of no use.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct drlim_anchor_sums {
    /// Over the similar pairs.
    pub similar: drlim_log_sum,
    /// Over the dissimilar pairs.
    pub dissimilar: drlim_log_sum,
    /// The sum of the exponents of the similar pairs.
    pub exponents: f64,
    /// Other than 0 where similar pairs have been looked at again, and each says what was found.
    pub looked: u64,
    /// Two sums over the similar pairs, made with the log-sums above.
    pub each: [f64; 2],
}

impl From<LogSum> for drlim_log_sum {
    fn from(LogSum { count, largest, sum }: LogSum) -> Self {
        drlim_log_sum { count, largest, sum }
    }
}

impl From<AnchorSums> for drlim_anchor_sums {
    fn from(sums: AnchorSums) -> Self {
        drlim_anchor_sums {
            similar: sums.similar.into(),
            dissimilar: sums.dissimilar.into(),
            exponents: sums.exponents,
            looked: sums.each.is_some().into(),
            each: sums.each.unwrap_or_default(),
        }
    }
}

impl drlim_log_sum {
    fn of(self) -> LogSum {
        let drlim_log_sum { count, largest, sum } = self;
        LogSum { count, largest: if sum == 0.0 { f64::NEG_INFINITY } else { largest }, sum }
    }
}

impl drlim_anchor_sums {
    pub(super) fn of(&self) -> AnchorSums {
        AnchorSums {
            similar: self.similar.of(),
            dissimilar: self.dissimilar.of(),
            exponents: self.exponents,
            each: (self.looked != 0).then_some(self.each),
        }
    }
}

/// Merges the sums of two parts of the candidates, of as many anchors.
///
/// sums: anchors elements, to which those of part are added; similar pairs count as not looked at again, since
/// what was found of a part was made with its own log-sums. part: anchors elements. In any order the result is
/// the same but for rounding, and nothing overflows; a NaN stays one. Refused: what every call refuses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_anchor_sums_add(
    sums: *mut drlim_anchor_sums,
    part: *const drlim_anchor_sums,
    anchors: usize,
) -> drlim_status {
    guard(|| {
        let mut places = PointerArgs::new();
        let sums = places.output("sums", sums, anchors)?;
        let part = places.input("part", part, anchors)?;
        places.check_apart()?;
        // SAFETY: what can be known is checked; the rest is asked of the caller.
        let (sums, part) = unsafe { (sums.lend(), part.lend()) };
        for (sums, part) in sums.iter_mut().zip(part) {
            *sums = (sums.of() + part.of()).without_each().into();
        }
        Ok(())
    })
}

/// Merges what two parts of the candidates found as they looked at similar pairs again, of as many anchors.
///
/// sums: anchors elements, to whose each that of part is added; their log-sums stay. part: anchors elements.
/// Refused: an anchor whose similar pairs have not been looked at again in both, or whose log-sums differ, as
/// they do unless the calls of both parts know the same merged sums.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_anchor_sums_add_each(
    sums: *mut drlim_anchor_sums,
    part: *const drlim_anchor_sums,
    anchors: usize,
) -> drlim_status {
    guard(|| {
        let mut places = PointerArgs::new();
        let sums = places.output("sums", sums, anchors)?;
        let part = places.input("part", part, anchors)?;
        places.check_apart()?;
        // SAFETY: what can be known is checked; the rest is asked of the caller.
        let (sums, part) = unsafe { (sums.lend(), part.lend()) };
        let merged = |at: usize| sums[at].of().add_each(part[at].of());
        if let Some(at) = (0..anchors).find(|&at| merged(at).is_none()) {
            return Err(Refusal::OtherSums { arg: "part", at });
        }
        for (sums, part) in sums.iter_mut().zip(part) {
            if let Some(merged) = sums.of().add_each(part.of()) {
                *sums = merged.into();
            }
        }
        Ok(())
    })
}

/// Sums as Rust has them, in memory that is kept.
pub(super) fn known<'a>(
    kept: &'a mut Vec<AnchorSums>,
    sums: &[drlim_anchor_sums],
) -> Result<&'a [AnchorSums], Refusal> {
    let kept = room(kept, sums.len())?;
    for (to, sums) in kept.iter_mut().zip(sums) {
        *to = sums.of();
    }
    Ok(kept)
}

/// Room for the sums of so many anchors.
pub(super) fn room(
    sums: &mut Vec<AnchorSums>,
    anchors: usize,
) -> Result<&mut [AnchorSums], Refusal> {
    sums.clear();
    sums.try_reserve(anchors).map_err(|_| Error::Overflow { what: "the sums of anchors" })?;
    sums.resize(anchors, AnchorSums::default());
    Ok(sums)
}
