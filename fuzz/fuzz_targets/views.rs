//! Views, lists, graphs and samplers of any numbers: refused or right: see `ViewsCase`.

#![no_main]

use drlim_fuzz::ViewsCase;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: ViewsCase| case.check());
