//! Losses and gradients of rows as anchors, of one batch or of two, on every tier: see `AnchorsCase`.

#![no_main]

use drlim_fuzz::AnchorsCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: AnchorsCase| case.check());
