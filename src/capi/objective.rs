//! Losses of pairs, of this crate or of the caller, and how they are added up.

use std::ffi::c_void;

use super::outcome::drlim_reduction;
use super::status::Refusal;

/// A loss of pairs. With the distance d of two rows, the margin m and the positive margin p:
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_loss(pub u32);

impl drlim_loss {
    /// similar d^2/2, dissimilar max(0, m - d)^2/2 (Hadsell, Chopra, LeCun 2006)
    pub const CONTRASTIVE: drlim_loss = drlim_loss(0);
    /// similar d^2/2, dissimilar max(0, m - d^2)/2
    pub const SQUARED_HINGE: drlim_loss = drlim_loss(1);
    /// similar max(0, d - p), dissimilar max(0, m - d) (pytorch-metric-learning)
    pub const LINEAR_HINGE: drlim_loss = drlim_loss(2);
    /// similar max(0, d - p)^2/2, dissimilar max(0, m - d)^2/2
    pub const DOUBLE_MARGIN: drlim_loss = drlim_loss(3);
    /// similar 2 d^2/m, dissimilar 2 m exp(-2.77 d/m), where m is a bound of distances
    pub const EXPONENTIAL: drlim_loss = drlim_loss(4);
    /// similar c^2/2, dissimilar max(0, m - c)^2/2 with c = d^2/2, which is 1 - cos of rows of length 1
    pub const COSINE_CONTRASTIVE: drlim_loss = drlim_loss(5);
    /// the caller's function
    pub const CALLBACK: drlim_loss = drlim_loss(6);
    /// similar ln(1 + e^-s), dissimilar ln(1 + e^s) with s = a (1 - d^2/2) + b, without a margin (SigLIP)
    pub const SIGMOID: drlim_loss = drlim_loss(7);
}

/// A caller's loss for float, on n pairs. On entry d2 has their squared distances, and similar says which
/// pairs are similar. The function overwrites d2 with the slopes, 2 times the derivative of the value by the
/// squared distance, and values with the values. The results for a pair must depend on that pair alone, since
/// a batch comes in blocks of any length. Returns 0, or anything else to end the call with
/// DRLIM_STATUS_CALLBACK.
///
/// It is shown the pairs of the batch and nothing else: no row with itself, no pair that is left out, no
/// padding. So a squared distance of 0 belongs to two rows of the batch that are equal, or so close that the
/// square underflows. Each pair is shown once, in no promised order, with these exceptions. Pairs beyond
/// callback_reach need not be shown. Where a gradient is asked for, drlim_all_pairs_f32() and
/// drlim_cross_f32() with DRLIM_REDUCTION_BALANCED_NON_ZERO show similar pairs twice and dissimilar ones once
/// or twice. Where a gradient or slopes are asked for, drlim_rows_f32() with that reduction or with
/// DRLIM_REDUCTION_MEAN_NON_ZERO shows all pairs twice.
///
/// It is called from several threads at once unless the context has one thread, and must not throw, jump
/// out or call the library with the scratch of the call that it is in.
pub type drlim_callback_f32 = Option<
    unsafe extern "C" fn(
        data: *mut c_void,
        d2: *mut f32,
        similar: *const bool,
        values: *mut f32,
        n: usize,
    ) -> i32,
>;

/// As drlim_callback_f32, for double.
pub type drlim_callback_f64 = Option<
    unsafe extern "C" fn(
        data: *mut c_void,
        d2: *mut f64,
        similar: *const bool,
        values: *mut f64,
        n: usize,
    ) -> i32,
>;

/// An objective on pairs: a loss, a reduction of the pairs' values to one number, and a factor of gradients.
/// drlim_objective_new() fills it; then change the fields that are to be different.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct drlim_objective {
    /// sizeof of this struct: a struct that was not filled by drlim_objective_new() is refused.
    pub size: usize,
    /// The loss.
    pub loss: drlim_loss,
    /// How values are added up.
    pub reduction: drlim_reduction,
    /// m, of losses that have one: finite and positive.
    pub margin: f64,
    /// p, of losses that have one: finite and not negative; 0 at first.
    pub positive_margin: f64,
    /// The factor of gradients and slopes, and of those alone: the derivative of the caller's own objective
    /// by the value of this one; 1 at first.
    pub scale: f64,
    /// With DRLIM_REDUCTION_FACTORS, the factor of the values of similar pairs.
    pub similar_factor: f64,
    /// With DRLIM_REDUCTION_FACTORS, the factor of the values of dissimilar pairs.
    pub dissimilar_factor: f64,
    /// With DRLIM_LOSS_CALLBACK, the loss for float.
    pub callback_f32: drlim_callback_f32,
    /// With DRLIM_LOSS_CALLBACK, the loss for double.
    pub callback_f64: drlim_callback_f64,
    /// The callback's first argument, which belongs to the caller and is not touched.
    pub callback_data: *mut c_void,
    /// The distance beyond which dissimilar pairs have value and slope 0 with the callback, so that calls
    /// on whole batches skip them; 0, as at first, where there is none.
    pub callback_reach: f64,
    /// With DRLIM_LOSS_SIGMOID, a: finite and positive; 10 at first.
    pub sigmoid_scale: f64,
    /// With DRLIM_LOSS_SIGMOID, b: finite; -10 at first.
    pub sigmoid_bias: f64,
}

/// An objective with scale 1, positive margin 0 and no callback. Never fails: calls refuse an objective that
/// is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn drlim_objective_new(
    loss: drlim_loss,
    margin: f64,
    reduction: drlim_reduction,
) -> drlim_objective {
    drlim_objective {
        size: size_of::<drlim_objective>(),
        loss,
        reduction,
        margin,
        positive_margin: 0.0,
        scale: 1.0,
        similar_factor: 1.0,
        dissimilar_factor: 1.0,
        callback_f32: None,
        callback_f64: None,
        callback_data: std::ptr::null_mut(),
        callback_reach: 0.0,
        sigmoid_scale: 10.0,
        sigmoid_bias: -10.0,
    }
}

/// Refuses a struct that has not been filled.
pub(super) fn check_size(size: usize, expected: usize) -> Result<(), Refusal> {
    if size == expected {
        return Ok(());
    }
    Err(Refusal::Uninitialised { arg: "objective", got: size, expected })
}
