//! Property tests for losses, the crate's own and a user's: every loss must have these properties.
//!
//! Somebody who writes a loss by hand wants to know that its slopes are the derivatives of its
//! values, and that a batch under it behaves as batches do. Here are strategies of
//! [proptest](https://docs.rs/proptest) for batches that keep off the kinks of a loss, and
//! [`Properties`] of any loss on such a batch. A loss of pairs is checked by a [`PairCheck`], one of
//! triplets by a [`TripletCheck`], one of anchors by an [`AnchorCheck`]:
//!
//! ```
//! use drlim::loss::PairLoss;
//! use drlim::properties::{PairCheck, Properties, pair_batches};
//! use drlim::{Real, simd::Simd};
//! use proptest::prelude::*;
//!
//! /// d²/2 for similar pairs, (m² - d²)²/4 inside of the margin for dissimilar ones.
//! struct Quartic<T> { margin: T }
//!
//! impl<T: Real> PairLoss<T> for Quartic<T> {
//!     #[inline(always)]
//!     fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
//!         let half = s.splat(T::from_f64(0.5));
//!         let gap = s.hinge(s.splat(self.margin * self.margin) - d2);
//!         let value = s.select(similar, half * d2, half * half * gap * gap);
//!         (value, s.select(similar, s.splat(T::ONE), -gap))
//!     }
//! }
//!
//! proptest! {
//! # #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]
//! # /*
//!     #[test]
//! # */
//!     fn the_quartic_loss_is_sound(batch in pair_batches(&[1.0], 1..=20, 1..=40)) {
//!         let check = PairCheck::new(&Quartic { margin: 1.0 });
//!         check.all(&batch)?;
//!         check.not_negative(&batch)?;
//!     }
//! }
//! # the_quartic_loss_is_sound();
//! ```
//!
//! The loss is a black box to all of this: it goes through [`batch::rows`](crate::batch::rows()),
//! [`batch::indexed`](crate::batch::indexed()) or
//! [`batch::triplet_rows`](crate::batch::triplet_rows), in the precision and on the tier that is
//! asked for. How much rounding may change a result is not one number for all losses either: it
//! follows from D, the precision, and how steep the loss itself is where a pair lies.

#![forbid(unsafe_code)]

mod anchor_check;
mod batch;
mod draws;
mod evaluate;
mod pair_check;
mod property;
mod triplet_check;

pub use anchor_check::{AnchorCheck, Candidates, candidates};
pub use batch::{Batch, Embeddings, PairBatch, TripletBatch};
pub use draws::{embeddings, labels, margins, pair_batches, triplet_batches};
pub use pair_check::PairCheck;
pub use property::Properties;
pub use triplet_check::TripletCheck;
