//! Losses of pairs and triplets: each turns squared distances into a value and slopes, in lanes, and is
//! written once.
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
//!
//! | loss | a triplet of anchor, positive, negative | known from |
//! |---|---|---|
//! | [`TripletMargin`] | max(0, d(a,p) - d(a,n) + m), or with the swap | Balntas et al. 2016; PyTorch |
//! | [`SquaredTriplet`] | max(0, d²(a,p) - d²(a,n) + m) | FaceNet, 2015 |

#![forbid(unsafe_code)]

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
mod squared_hinge;
mod squared_triplet;
mod sums;
mod triplet;
mod triplet_margin;

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
pub use squared_hinge::SquaredHinge;
pub use squared_triplet::SquaredTriplet;
pub use sums::{KindSums, Sums};
pub use triplet::{BlockTripletLoss, TripletLoss};
pub use triplet_margin::TripletMargin;
