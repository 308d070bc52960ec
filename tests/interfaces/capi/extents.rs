//! Overlaps of arguments, and panics that stay on this side.

use std::ffi::CStr;
use std::panic::panic_any;

use drlim::capi::{Refusal, drlim_last_error, drlim_status, guard};
use proptest::prelude::*;

#[path = "../../../src/capi/extent.rs"]
#[allow(dead_code, reason = "a part is called here")]
mod extent;

use extent::{Extent, overlap};

fn extents() -> impl Strategy<Value = Extent> {
    (0_usize..40, 0_usize..6, 1_usize..8, 0_usize..8).prop_map(|(start, rows, width, gap)| {
        let stride = if rows == 1 { 0 } else { width + gap };
        if rows == 0 { Extent::EMPTY } else { Extent { start, rows, width, stride } }
    })
}

fn bytes(extent: &Extent) -> Vec<usize> {
    let row = |i: usize| extent.start + i * extent.stride..;
    (0..extent.rows).flat_map(|i| row(i).take(extent.width)).collect()
}

proptest! {
    /// What two matrices share is found, and nothing else.
    #[test]
    fn an_overlap_is_a_shared_byte(a in extents(), b in extents()) {
        let (of_a, of_b) = (bytes(&a), bytes(&b));
        let shared = of_a.iter().any(|byte| of_b.contains(byte));
        prop_assert_eq!(overlap(&a, &b), shared);
        prop_assert_eq!(overlap(&b, &a), shared);
    }
}

fn message() -> &'static str {
    // SAFETY: of this thread, which copies it before another call fails.
    unsafe { CStr::from_ptr(drlim_last_error()) }.to_str().unwrap()
}

/// What happens to be dropped with a panic may panic again.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("while another panic is dropped");
    }
}

#[test]
fn no_panic_comes_through() {
    assert_eq!(guard(|| panic!("row {}", 7)), drlim_status::PANIC);
    assert_eq!(message(), "a defect of drlim: row 7");
    assert_eq!(guard(|| panic_any(Bomb)), drlim_status::PANIC);
    assert_eq!(message(), "a defect of drlim: a panic");
    assert_eq!(guard(|| Err(Refusal::Null { arg: "a\0b" })), drlim_status::NULL_POINTER);
    assert_eq!(message(), "ab is null");
}
