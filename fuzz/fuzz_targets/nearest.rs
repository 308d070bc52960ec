//! Searches of neighbours and hardest pairs on every tier against a scalar oracle: see `NearestCase`.

#![no_main]

use drlim_fuzz::NearestCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: NearestCase| case.check());
