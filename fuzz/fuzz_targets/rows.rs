//! Losses and gradients of pairs by rows on every tier against a scalar oracle: see `Case::check`.

#![no_main]

use drlim_fuzz::Case;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: Case| {
    case.check::<f32>();
    case.check::<f64>();
});
