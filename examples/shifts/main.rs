//! Experiment B of Hadsell, Chopra and LeCun (2006).

#![forbid(unsafe_code)]

mod args;
mod experiment;
#[path = "../shared/mod.rs"]
mod shared;

use std::process::ExitCode;
use std::time::Instant;

use drlim::{Cx, Isa};

use args::Args;
use experiment::Knowledge;
use shared::Failure;
use shared::digits::Digits;
use shared::start;

fn main() -> ExitCode {
    let begin = Instant::now();
    start::start("shifts", |args: Args| start::on_threads(args.threads, || run(&args, begin)))
}

fn run(args: &Args, begin: Instant) -> Result<(), Failure> {
    let cx = Cx { isa: Isa::from_env()?, ..Cx::default() };
    let digits = Digits::load(args.data.as_deref(), args.classes()?.as_deref())?;
    for (i, k) in [Knowledge::Neighbours, Knowledge::Shifts].into_iter().enumerate() {
        if args.only.is_some_and(|only| only != i) { continue; }
        let t = experiment::train(&cx, args, &digits, k)?;
        println!("{k:?} {} steps {:.1} s {:?} {:.1}", t.steps, t.seconds, t.measures, begin.elapsed().as_secs_f64());
    }
    Ok(())
}
