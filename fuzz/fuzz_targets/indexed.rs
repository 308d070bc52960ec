//! Losses and gradients of lists of pairs on every tier against a scalar oracle: see `IndexedCase`.

#![no_main]

use drlim_fuzz::IndexedCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: IndexedCase| case.check());
