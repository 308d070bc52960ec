//! Losses and gradients of pairs by rows on every tier against a scalar oracle: see `RowsCase`.

#![no_main]

use drlim_fuzz::RowsCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: RowsCase| case.check());
