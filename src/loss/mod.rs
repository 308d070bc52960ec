//! Losses of pairs and triplets, each of which turns squared distances into a value and slopes, and losses of
//! anchors, which look at all pairs of a row at once. All are formulas in lanes and written once.
//!
//! Every Euclidean pair loss is a function of the squared distance d² of the two embeddings and of
//! whether the pair is similar. With the *slope* 2 dl/d(d²) its gradient is
//!
//! ```text
//! dl/dz_a = slope (z_a - z_b)        dl/dz_b = -slope (z_a - z_b)
//! ```
//!
//! so a loss is one function [`PairLoss::eval`], and every batch layout on every instruction tier uses it.
//! The same holds for triplets, with [`TripletLoss::eval`] and three squared distances. Kernels see a loss
//! through an object-safe trait, [`BlockLoss`] or [`BlockTripletLoss`], a block at a time, and are
//! therefore compiled once for each tier rather than once for each loss.
//!
//! | loss | similar | dissimilar | known from |
//! |---|---|---|---|
//! | [`Contrastive`] | d²/2 | max(0, m - d)²/2 | Hadsell, Chopra, LeCun 2006, eq. 4 |
//! | [`SquaredHinge`] | d²/2 | max(0, m - d²)/2 | Caffe's first version |
//! | [`LinearHinge`] | max(0, d - p) | max(0, m - d) | pytorch-metric-learning |
//! | [`DoubleMargin`] | max(0, d - p)²/2 | max(0, m - d)²/2 | Caffe, pull request 4476 |
//! | [`Exponential`] | 2d²/Q | 2Q exp(-2.77 d/Q) | Chopra, Hadsell, LeCun 2005 |
//! | [`CosineContrastive`] | c²/2 | max(0, m - c)²/2, c = d²/2 = 1 - cos | sentence-transformers |
//! | [`Sigmoid`] | ln(1 + e^-s) | ln(1 + e^s), s = a (1 - d²/2) + b | SigLIP, 2023 |
//!
//! | loss | a triplet of anchor, positive, negative | known from |
//! |---|---|---|
//! | [`TripletMargin`] | max(0, d(a,p) - d(a,n) + m), or with the swap | Balntas et al. 2016; PyTorch |
//! | [`SquaredTriplet`] | max(0, d²(a,p) - d²(a,n) + m) | FaceNet, 2015 |
//!
//! An anchor is a row with all its pairs: similar ones, P, and dissimilar ones, G. With u the similarity of a
//! pair ([`Measure`]) and lse_P, lse_G the logarithms of the sums of e^x over both kinds, the anchor's value is a
//! function of these log-sums, and the weight dl/dx of a pair follows from x and a few numbers of its anchor. That
//! is [`AnchorLoss`], and [`BlockAnchorLoss`] is what kernels see. An [`AnchorObjective`] says how anchors are
//! added up.
//!
//! | loss | x | value of an anchor | known from |
//! |---|---|---|---|
//! | [`Softmax`] | a u | ln(e^lse_P + e^lse_G) less the mean of x over P; other [`Positives`] | InfoNCE, 2018; SimCLR, SupCon, 2020; CLIP, 2021 |
//! | [`CosFace`] | a u, similar a (u - m) | as above | Wang et al. 2018 |
//! | [`ArcFace`] | a u, similar a cos(arccos u + m) | as above | Deng et al. 2019 |
//! | [`MultiSimilarity`] | β (u - λ), similar -α (u - λ) | ln(1 + e^lse_P)/α + ln(1 + e^lse_G)/β | Wang et al. 2019 |
//! | [`Circle`] | γ α_G (u - m), similar -γ α_P (u - (1 - m)) | ln(1 + e^(lse_P + lse_G)) | Sun et al. 2020 |
//! | [`Lifted`] | m - d, similar d - p | sum over P of max(0, ln(e^lse_i + e^lse_j) + x)²/2, both ends' lse_G | Oh Song et al. 2016 |
//! | [`GeneralizedLifted`] | m - d, similar d - p | max(0, lse_P + lse_G) | Hermans, Beyer, Leibe 2017 |

#![forbid(unsafe_code)]

pub(crate) mod anchor;
mod contrastive;
mod cosine;
mod double_margin;
mod exponential;
mod linear_hinge;
mod objective;
mod outcome;
mod pair;
mod pairing;
mod reduction;
mod sigmoid;
mod squared_hinge;
mod squared_triplet;
mod sums;
mod triplet;
mod triplet_margin;

pub use anchor::{
    Anchor, AnchorLoss, AnchorObjective, AnchorOutcome, AnchorReduction, AnchorSums, AnchorTotals,
    ArcFace, BlockAnchorLoss, Circle, CosFace, GeneralizedLifted, Lifted, LogSum, Measure,
    MultiSimilarity, Positives, Softmax,
};
pub use contrastive::Contrastive;
pub use cosine::CosineContrastive;
pub use double_margin::DoubleMargin;
pub use exponential::Exponential;
pub use linear_hinge::LinearHinge;
pub use objective::{Objective, TripletObjective};
pub use outcome::Outcome;
pub use pair::{BlockLoss, PairLoss};
pub use pairing::Pairing;
pub use reduction::Reduction;
pub use sigmoid::Sigmoid;
pub use squared_hinge::SquaredHinge;
pub use squared_triplet::SquaredTriplet;
pub use sums::{KindSums, SlopeTotals, Sums};
pub use triplet::{BlockTripletLoss, TripletLoss};
pub use triplet_margin::TripletMargin;
