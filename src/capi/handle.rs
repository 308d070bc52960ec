//! Handles: what the library allocates, lends out by pointer, and takes back.

use super::status::Refusal;

/// Allocates a new handle.
pub(super) fn make<H>(made: H) -> *mut H {
    Box::into_raw(Box::new(made))
}

/// The object behind a handle, or none where it is null.
///
/// # Safety
/// `handle` is null, misaligned, or from [`make`] and not given back while 'a lasts.
pub(super) unsafe fn lend<'a, H>(
    arg: &'static str,
    handle: *const H,
) -> Result<Option<&'a H>, Refusal> {
    if !handle.is_aligned() {
        return Err(Refusal::Misaligned { arg, align: align_of::<H>() });
    }
    // SAFETY: as promised.
    Ok(unsafe { handle.as_ref() })
}

/// As [`lend`], refused where the handle is null.
///
/// # Safety
/// As for [`lend`].
pub(super) unsafe fn needed<'a, H>(arg: &'static str, handle: *const H) -> Result<&'a H, Refusal> {
    // SAFETY: as promised.
    unsafe { lend(arg, handle)? }.ok_or(Refusal::Null { arg })
}

/// Takes a handle back.
///
/// # Safety
/// `handle` is null, misaligned, or from [`make`] and is not used any more.
pub(super) unsafe fn free<H>(handle: *mut H) {
    if !handle.is_null() && handle.is_aligned() {
        // The object may panic as it is dropped, which must not reach the caller.
        let drop_it = || {
            // SAFETY: as promised.
            drop(unsafe { Box::from_raw(handle) });
        };
        let _ = super::status::guard(|| {
            drop_it();
            Ok(())
        });
    }
}
