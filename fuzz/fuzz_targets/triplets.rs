//! Losses and gradients of triplets, by rows and of a batch, on every tier against a scalar oracle: see
//! `TripletsCase`.

#![no_main]

use drlim_fuzz::TripletsCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: TripletsCase| case.check());
