//! Files of training runs, damaged or not: no panic, all or nothing: see `TrainingCase`.

#![no_main]

use drlim_fuzz::TrainingCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: TrainingCase| case.check());
