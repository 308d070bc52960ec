//! Losses of triplets, of this crate or of the caller, and how they are added up.

use std::ffi::c_void;

use super::outcome::drlim_reduction;

/// A loss of triplets. With the distances ap and an of the anchor from the positive and from the negative,
/// pn of positive and negative, and the margin m:
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_triplet_loss(pub u32);

impl drlim_triplet_loss {
    /// max(0, ap - an + m)
    pub const MARGIN: drlim_triplet_loss = drlim_triplet_loss(0);
    /// max(0, ap - min(an, pn) + m)
    pub const MARGIN_SWAP: drlim_triplet_loss = drlim_triplet_loss(1);
    /// max(0, ap^2 - an^2 + m)
    pub const SQUARED: drlim_triplet_loss = drlim_triplet_loss(2);
    /// the caller's function
    pub const CALLBACK: drlim_triplet_loss = drlim_triplet_loss(3);
}

/// A caller's loss of triplets for float: as drlim_callback_f32, with three lists of n squared distances: of
/// anchor and positive, of anchor and negative, of positive and negative. The function overwrites each list
/// with its slopes. It is shown the triplets of the batch and nothing else: none that is left out, no
/// padding. Each is shown once, in no promised order, but twice where gradients or slopes are asked for by
/// drlim_triplet_rows_f32() with DRLIM_REDUCTION_MEAN_NON_ZERO, or by drlim_triplets_f32() with
/// DRLIM_MINING_ALL and callback_swaps.
pub type drlim_triplet_callback_f32 = Option<
    unsafe extern "C" fn(
        data: *mut c_void,
        d2_ap: *mut f32,
        d2_an: *mut f32,
        d2_pn: *mut f32,
        values: *mut f32,
        n: usize,
    ) -> i32,
>;

/// As drlim_triplet_callback_f32, for double.
pub type drlim_triplet_callback_f64 = Option<
    unsafe extern "C" fn(
        data: *mut c_void,
        d2_ap: *mut f64,
        d2_an: *mut f64,
        d2_pn: *mut f64,
        values: *mut f64,
        n: usize,
    ) -> i32,
>;

/// An objective on triplets: a loss, a reduction and a factor of gradients. drlim_triplet_objective_new()
/// fills it; then change the fields that are to be different.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct drlim_triplet_objective {
    /// sizeof of this struct: a struct that was not filled by drlim_triplet_objective_new() is refused.
    pub size: usize,
    /// The loss.
    pub loss: drlim_triplet_loss,
    /// How values are added up: DRLIM_REDUCTION_SUM, MEAN or MEAN_NON_ZERO.
    pub reduction: drlim_reduction,
    /// m: finite and positive.
    pub margin: f64,
    /// The factor of gradients and slopes, and of those alone; 1 at first.
    pub scale: f64,
    /// With DRLIM_TRIPLET_LOSS_CALLBACK, the loss for float.
    pub callback_f32: drlim_triplet_callback_f32,
    /// With DRLIM_TRIPLET_LOSS_CALLBACK, the loss for double.
    pub callback_f64: drlim_triplet_callback_f64,
    /// The callback's first argument, which belongs to the caller and is not touched.
    pub callback_data: *mut c_void,
    /// Other than 0 if the callback uses the distance of positive and negative. If 0, that distance is not
    /// measured: the callback gets 0 for it, and the slope that it leaves there is not used.
    pub callback_swaps: u32,
}

/// An objective of triplets with scale 1 and no callback. Never fails: calls refuse an objective that is
/// wrong.
#[unsafe(no_mangle)]
pub extern "C" fn drlim_triplet_objective_new(
    loss: drlim_triplet_loss,
    margin: f64,
    reduction: drlim_reduction,
) -> drlim_triplet_objective {
    drlim_triplet_objective {
        size: size_of::<drlim_triplet_objective>(),
        loss,
        reduction,
        margin,
        scale: 1.0,
        callback_f32: None,
        callback_f64: None,
        callback_data: std::ptr::null_mut(),
        callback_swaps: 0,
    }
}
