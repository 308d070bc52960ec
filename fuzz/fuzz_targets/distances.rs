//! Distances, their gradients and hard pairs on every tier against a scalar oracle: see `DistancesCase`.

#![no_main]

use drlim_fuzz::DistancesCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: DistancesCase| case.check());
