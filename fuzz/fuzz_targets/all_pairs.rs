//! Losses and gradients of every pair of a batch on every tier against a scalar oracle: see
//! `AllPairsCase`.

#![no_main]

use drlim_fuzz::AllPairsCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: AllPairsCase| case.check());
