//! Losses that another language computes, a block at a time.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering};

use super::status::Refusal;
use crate::simd::real::Real;

/// The pointer that a caller's function gets as its first argument.
#[derive(Clone, Copy)]
pub(super) struct Opaque(pub *mut c_void);

// SAFETY: it is only handed back to its owner, who has promised that the function may be called from
// several threads at once.
unsafe impl Sync for Opaque {}

/// The first code, other than 0, that a caller's function returned.
#[derive(Default)]
pub(super) struct Failed(AtomicI32);

impl Failed {
    /// Whether there is one already.
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    fn note(&self, code: i32) {
        if code != 0 {
            // Another thread may have been first.
            let _ = self.0.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Refuses a call whose function has failed.
    pub fn check(self) -> Result<(), Refusal> {
        match self.0.into_inner() {
            0 => Ok(()),
            code => Err(Refusal::Callback { code }),
        }
    }
}

/// A caller's loss of pairs.
pub(super) struct PairCallback<'f, T> {
    pub function: PairFunction<T>,
    pub data: Opaque,
    pub reach: Option<T>,
    pub failed: &'f Failed,
}

impl<T: Real> PairCallback<'_, T> {
    /// As [`BlockLoss::eval_block`](crate::loss::BlockLoss::eval_block). Once the function has failed it is
    /// not called again.
    pub fn eval(&self, d2: &mut [T], similar: &[bool], values: &mut [T]) {
        let n = values.len();
        assert!(d2.len() == n && similar.len() == n, "slices of a block differ in length");
        if self.failed.is_set() {
            values.fill(T::ZERO);
            return;
        }
        let (d2, values) = (d2.as_mut_ptr(), values.as_mut_ptr());
        // SAFETY: n elements each, which the function may read and write while it runs.
        let code = unsafe { (self.function)(self.data.0, d2, similar.as_ptr(), values, n) };
        self.failed.note(code);
    }
}

/// A caller's loss of triplets.
pub(super) struct TripletCallback<'f, T> {
    pub function: TripletFunction<T>,
    pub data: Opaque,
    pub swaps: bool,
    pub failed: &'f Failed,
}

impl<T: Real> TripletCallback<'_, T> {
    /// As [`BlockTripletLoss::eval_block`](crate::loss::BlockTripletLoss::eval_block). Once the function has
    /// failed it is not called again.
    pub fn eval(&self, d2: [&mut [T]; 3], values: &mut [T]) {
        let n = values.len();
        assert!(d2.iter().all(|d2| d2.len() == n), "slices of a block differ in length");
        if self.failed.is_set() {
            values.fill(T::ZERO);
            return;
        }
        let ([ap, an, pn], values) = (d2.map(<[T]>::as_mut_ptr), values.as_mut_ptr());
        // SAFETY: n elements each, which the function may read and write while it runs.
        let code = unsafe { (self.function)(self.data.0, ap, an, pn, values, n) };
        self.failed.note(code);
    }
}

/// A caller's loss of pairs: data, squared distances and slopes, similar, values, pairs.
pub(super) type PairFunction<T> =
    unsafe extern "C" fn(*mut c_void, *mut T, *const bool, *mut T, usize) -> i32;

/// A caller's loss of triplets: data, three times squared distances and slopes, values, triplets.
pub(super) type TripletFunction<T> =
    unsafe extern "C" fn(*mut c_void, *mut T, *mut T, *mut T, *mut T, usize) -> i32;
