//! Networks of any layers on every tier against a scalar oracle: see `NetworkCase`.

#![no_main]

use drlim_fuzz::NetworkCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: NetworkCase| case.check());
