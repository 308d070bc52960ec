//! The parts of the C interface that differ for the two element types.

#![forbid(unsafe_code)]

use std::sync::Mutex;

use super::anchor_objective::drlim_anchor_objective;
use super::callback::{PairCallback, PairFunction, TripletCallback, TripletFunction};
use super::objective::drlim_objective;
use super::scratch::{Scratches, drlim_scratch};
use super::status::Refusal;
use super::triplet_objective::drlim_triplet_objective;
use crate::loss::{BlockLoss, BlockTripletLoss};
use crate::simd::isa::Isa;
use crate::simd::real::Real;

/// `f32` or `f64`.
pub(super) trait Element: Real {
    fn pair_function(objective: &drlim_objective) -> Option<PairFunction<Self>>;
    fn triplet_function(objective: &drlim_triplet_objective) -> Option<TripletFunction<Self>>;
    fn pair_loss<'a>(callback: &'a PairCallback<'_, Self>) -> &'a dyn BlockLoss<Self>;
    fn triplet_loss<'a>(callback: &'a TripletCallback<'_, Self>) -> &'a dyn BlockTripletLoss<Self>;
    fn scratches(scratch: &drlim_scratch) -> &Mutex<Scratches<Self>>;
    /// Refused where there are those of the other type alone.
    fn anchor_weights(objective: &drlim_anchor_objective) -> Result<*const Self, Refusal>;
}

// Losses are implemented type by type: a generic implementation would collide with one that another crate
// could write for an element type of its own.
macro_rules! element {
    ($T:ident, $callback:ident, $weights:ident, $other_weights:ident) => {
        impl Element for $T {
            fn pair_function(objective: &drlim_objective) -> Option<PairFunction<$T>> {
                objective.$callback
            }

            fn triplet_function(
                objective: &drlim_triplet_objective,
            ) -> Option<TripletFunction<$T>> {
                objective.$callback
            }

            fn pair_loss<'a>(callback: &'a PairCallback<'_, $T>) -> &'a dyn BlockLoss<$T> {
                callback
            }

            fn triplet_loss<'a>(
                callback: &'a TripletCallback<'_, $T>,
            ) -> &'a dyn BlockTripletLoss<$T> {
                callback
            }

            fn scratches(scratch: &drlim_scratch) -> &Mutex<Scratches<$T>> {
                &scratch.$T
            }

            fn anchor_weights(objective: &drlim_anchor_objective) -> Result<*const $T, Refusal> {
                if objective.$weights.is_null() && !objective.$other_weights.is_null() {
                    return Err(Refusal::Null { arg: concat!("objective.", stringify!($weights)) });
                }
                Ok(objective.$weights)
            }
        }

        impl BlockLoss<$T> for PairCallback<'_, $T> {
            fn eval_block(&self, _: Isa, d2: &mut [$T], similar: &[bool], values: &mut [$T]) {
                self.eval(d2, similar, values);
            }

            fn reach_block(&self) -> Option<$T> {
                self.reach
            }
        }

        impl BlockTripletLoss<$T> for TripletCallback<'_, $T> {
            fn eval_block(&self, _: Isa, d2: [&mut [$T]; 3], values: &mut [$T]) {
                self.eval(d2, values);
            }

            fn swaps_block(&self) -> bool {
                self.swaps
            }
        }
    };
}

element!(f32, callback_f32, weights_f32, weights_f64);
element!(f64, callback_f64, weights_f64, weights_f32);
