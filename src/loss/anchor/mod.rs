//! Losses of anchors: what a row costs by all its similar and dissimilar pairs at once.
//!
//! The softmax family, and all that is made of log-sums: each pair of an anchor and a candidate has an
//! exponent x, from their similarity u; the anchor's value is a function of the log-sums of its similar and
//! of its dissimilar pairs, and the weight dl/dx of a pair follows from x and a few numbers of the anchor.
//! [`AnchorLoss`] is that in three functions.

#![forbid(unsafe_code)]

pub(crate) mod anchor_loss;
mod arc_face;
mod circle;
mod cos_face;
mod generalized_lifted;
mod lifted;
mod multi_similarity;
pub(crate) mod objective;
mod plain;
mod softmax;
mod sum_group;
pub(crate) mod sums;
mod weigh_group;
#[doc(hidden)]
pub mod work;

pub use anchor_loss::{AnchorLoss, BlockAnchorLoss};
pub use arc_face::ArcFace;
pub use circle::Circle;
pub use cos_face::CosFace;
pub use generalized_lifted::GeneralizedLifted;
pub use lifted::Lifted;
pub use multi_similarity::MultiSimilarity;
pub use objective::{AnchorObjective, AnchorOutcome, AnchorReduction, AnchorTotals, Measure};
pub use softmax::{Positives, Softmax};
pub use sums::{Anchor, AnchorSums, LogSum};
