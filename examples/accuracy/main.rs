//! The worst errors of every kernel, on every tier of this machine, in both element types, against the
//! bounds that the documentation states.
//!
//! ```text
//! cargo run --release --example accuracy
//! cargo run --release --example accuracy -- --kernel conv --seed 7 --json accuracy.json
//! ```
//!
//! Inputs are chosen to be hard on sums: see [`measure::inputs`]. What is exact is computed in
//! double-double. The program fails where a bound is exceeded; `tests/precision` asserts the same bounds over
//! fewer inputs.

#![forbid(unsafe_code)]

mod args;
mod json;
#[path = "../../tests/precision/accuracy/measure/mod.rs"]
mod measure;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use args::{Args, SPECIALS};
use drlim::Isa;
use measure::record::{Line, Record};
use measure::specials::{self, Held};
use measure::{KERNELS, Plan};

/// What went wrong, in words that fit on one line.
type Failure = Box<dyn std::error::Error>;

/// Everything that was measured.
#[derive(Default)]
struct Measured {
    lines: Vec<Line>,
    held: Vec<Held>,
}

impl Measured {
    /// How many bounds are exceeded and promises broken.
    fn broken(&self) -> usize {
        let lines = self.lines.iter().filter(|line| line.worst().1.share() > 1.0);
        lines.count() + self.held.iter().filter(|held| held.broken.is_some()).count()
    }
}

fn main() -> ExitCode {
    match run(&args::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(broken) => {
            eprintln!("accuracy: {broken} promises are broken");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("accuracy: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<usize, Failure> {
    let begin = Instant::now();
    let isas: Vec<Isa> = Isa::available().collect();
    let kernels: Vec<_> = KERNELS.iter().filter(|kernel| args.wants(kernel.name)).collect();
    if kernels.is_empty() && !args.wants(SPECIALS) {
        let names: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
        return Err(format!("no such kernel; there are {} and {SPECIALS}", names.join(", ")).into());
    }
    print!("{}", table::head(&isas, args.seed));
    let plan = Plan::full(args.seed);
    let mut measured = Measured::default();
    if !kernels.is_empty() {
        print!("{}", table::columns(&isas));
    }
    for kernel in kernels {
        let mut records = [Record::new::<f32>(&isas), Record::new::<f64>(&isas)];
        let [narrow, wide] = &mut records;
        let [of_narrow, of_wide] = kernel.measure;
        rayon::join(|| of_narrow(&plan, narrow), || of_wide(&plan, wide));
        let mut lines: Vec<Line> = records.into_iter().flat_map(|record| record.lines).collect();
        lines.sort_by_key(|line| (line.bound.kernel, line.bound.result));
        print!("{}", table::rows(&lines));
        measured.lines.append(&mut lines);
    }
    if args.wants(SPECIALS) {
        measured.held = specials::check::<f32>(&isas, args.seed);
        measured.held.extend(specials::check::<f64>(&isas, args.seed));
        print!("{}", table::specials(&measured.held));
    }
    if let Some(path) = &args.json {
        let text = json::report(&isas, args.seed, &measured);
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let broken = measured.broken();
    print!("{}", table::end(&measured, broken, begin.elapsed().as_secs_f64()));
    Ok(broken)
}
