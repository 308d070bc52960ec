//! Contrastive learning by hand: SIMD kernels without autodiff.
//!
//! A contrastive loss (Hadsell, Chopra, LeCun 2006) pulls similar pairs of embeddings together and
//! pushes dissimilar ones apart, up to a margin. This crate computes it, with gradients derived by
//! hand, in one pass over memory and at the speed of the machine: AVX-512, AVX2 or portable vectors,
//! chosen when the program runs.
//!
//! ```
//! # fn main() -> drlim::Result<()> {
//! use drlim::batch::{RowsOut, rows};
//! use drlim::loss::{Contrastive, Objective};
//! use drlim::{Cx, Mat, MatMut};
//!
//! let (a, b) = ([0.0_f32, 0.0, 1.0, 0.0], [0.0_f32, 2.0, 0.5, 0.0]); // two pairs of 2-D rows
//! let similar = [true, false];
//! let (mut grad_a, mut grad_b) = ([0.0; 4], [0.0; 4]);
//! let loss = Contrastive::new(1.0)?;
//! let grads = RowsOut::grads(MatMut::new(&mut grad_a, 2, 2)?, MatMut::new(&mut grad_b, 2, 2)?);
//! let (a, b) = (Mat::new(&a, 2, 2)?, Mat::new(&b, 2, 2)?);
//! let outcome = rows(&Cx::default(), &Objective::sum(&loss), a, b, &similar, grads)?;
//! assert_eq!(outcome.value, 2.0 + 0.125);
//! assert_eq!(grad_a, [0.0, -2.0, -0.5, 0.0]);
//! # Ok(()) }
//! ```
//!
//! | to | see |
//! |---|---|
//! | compute losses and gradients of pairs by rows | [`batch::rows`](batch::rows()) |
//! | the same for a list of pairs, triplets, every pair of a batch | [`batch::indexed`](batch::indexed()), [`batch::triplet_rows`], [`batch::all_pairs`](batch::all_pairs()) |
//! | the same for two batches, for the triplets of one | [`batch::cross`](batch::cross()), [`batch::triplets`](batch::triplets()) |
//! | compute softmax losses: InfoNCE, NT-Xent, SupCon, CLIP, ArcFace and their like | [`batch::all_anchors`](batch::all_anchors()), [`batch::cross_anchors`](batch::cross_anchors()) |
//! | differentiate a gradient once more | [`batch::rows_hvp`], [`batch::all_pairs_hvp`] and their like |
//! | find nearest neighbours, or the hardest pairs | [`pairs::nearest`], [`pairs::hardest`] |
//! | find a formula by name, or a reduction | [`loss`], [`loss::Reduction`] |
//! | write a loss of your own | [`loss::PairLoss`], [`loss::TripletLoss`], [`loss::AnchorLoss`] |
//! | measure distances alone | [`batch::row_distances`], [`batch::distance_matrix`] |
//! | compare with a classifier | [`batch::cross_entropy`](batch::cross_entropy()) |
//! | build a network, or a layer of your own | [`nn`] |
//! | train | [`siamese`], [`pairs`], [`optim`] |
//! | keep a network, or a run to go on with | `checkpoint` (feature `safetensors`) |
//! | check a gradient | [`gradcheck`] |
//! | property-test a loss of your own | `properties` (feature `proptest`) |
//! | choose tier and threads | [`Cx`], [`Isa`] |
//!
//! # Promises
//!
//! * **Zero distance.** A quotient by a distance is 0 where the squared distance is zero or below
//!   the smallest normal number. Nothing is NaN or infinite there.
//! * **NaN** in an input reaches every output that depends on it, and no other. Infinities follow
//!   the formula.
//! * **Threads.** Results are bit-identical for any number of threads, in any pool, at any
//!   alignment. Tiers differ in the last bits.
//! * **Refusals.** A call returns an [`Error`] for what a caller can get wrong, before it writes
//!   anything. It does not panic.
//!
//! # Features
//!
//! `rayon` (default): several threads, in the current rayon pool. `data`: readers of data files. `proptest`:
//! properties of losses, for tests. `safetensors`: checkpoints, as files that PyTorch reads and writes too.
//! `ndarray-0_17`: [`Mat`] and [`MatMut`] from views of ndarray 0.17, and back, without copies.
//! (`precompiled` does nothing: it is always on.)
//!
//! # Debug builds
//!
//! Kernels, layers and optimizers are compiled with this crate, for both element types, and not with yours: a
//! rebuild of your crate does not rebuild them, and they run as fast as this crate was built to. A debug
//! build is some fifty times slower than a release build, unless the `Cargo.toml` of your workspace says
//!
//! ```toml
//! [profile.dev.package.drlim]
//! opt-level = 3
//! ```
//!
//! Then it is about as fast, but for your own [`PairLoss`](loss::PairLoss), [`TripletLoss`](loss::TripletLoss),
//! [`AnchorLoss`](loss::AnchorLoss), [`Kernel`](simd::Kernel) or [layer](nn::Layer): these are compiled with your
//! crate's optimisation. One that has to be fast in debug builds goes into a crate of its own, whose package is
//! given the same line.

pub mod batch;
// The functions of C are not generic: with them, the crate's own unit tests would compile every kernel again.
#[cfg(all(feature = "capi", not(test)))]
#[doc(hidden)]
pub mod capi;
mod check;
#[cfg(feature = "safetensors")]
pub mod checkpoint;
#[cfg(feature = "data")]
pub mod data;
pub mod error;
mod kernel;
pub mod loss;
mod memory;
pub mod nn;
pub mod optim;
pub mod pairs;
mod parallel;
mod rng;
pub mod samples;
pub mod siamese;
pub mod simd;
mod similar;

#[doc(hidden)]
pub use check::copy_baseline as limits;
pub use check::gradcheck;
#[cfg(feature = "proptest")]
pub use check::properties;
pub use error::{Error, Result};
pub use memory::mat::{Mat, MatMut};
pub use nn::init;
pub use pairs::metrics;
pub use parallel::cx::{Cx, Par};
#[doc(hidden)]
pub use parallel::threads;
pub use rng::Rng;
pub use simd::isa::Isa;
pub use simd::real::Real;
pub use simd::tier::Tier;
pub use similar::graph::{Graph, Similar};

/// The examples of the guide, as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/migrating.md")]
struct Migrating;
