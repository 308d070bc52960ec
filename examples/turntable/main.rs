//! Experiment C.

#![forbid(unsafe_code)]

mod args;
mod experiment;
mod render;
#[path = "../shared/mod.rs"]
mod shared;
mod views;

use std::process::ExitCode;
use std::time::Instant;

use drlim::{Cx, Isa};

use args::Args;
use shared::Failure;
use shared::start;
use views::Views;

fn main() -> ExitCode {
    let begin = Instant::now();
    start::start("turntable", |args: Args| start::on_threads(args.threads, || run(&args, begin)))
}

fn run(args: &Args, begin: Instant) -> Result<(), Failure> {
    let cx = Cx { isa: Isa::from_env()?, ..Cx::default() };
    let views = Views::load(args)?;
    println!("rendered {:.1}", begin.elapsed().as_secs_f64());
    let t = experiment::train(&cx, args, &views)?;
    println!("{} {} {:.1} {:?}", t.similar_pairs, t.dissimilar_pairs, t.seconds, experiment::shares(&cx, &views, &t.points)?);
    Ok(())
}
