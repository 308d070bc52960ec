//! Losses and gradients of one batch against another on every tier against a scalar oracle: see
//! `CrossCase`.

#![no_main]

use drlim_fuzz::CrossCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: CrossCase| case.check());
