//! The triplets of a labelled batch: which are chosen, what they cost, and their gradients.

#![forbid(unsafe_code)]

pub(crate) mod anchors;
pub(crate) mod gradient;
pub(crate) mod hardest;
pub(crate) mod positives;
