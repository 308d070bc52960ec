//! Experiment B of Hadsell, Chopra and LeCun (2006): digits in five places, mapped to the plane.
//!
//! ```text
//! cargo run --release --example shifts
//! cargo run --release --example shifts -- --data ~/mnist --classes 3,5
//! ```
//!
//! The paper's net is trained twice on 6000 digits, each moved sideways by -6, -3, 0, 3 and 6 pixels. First an image
//! is similar to its nearest neighbours in pixel space, which are images of the same shift: the plane falls apart
//! into five groups. Then an image is also similar to its own shifted copies, and to all copies of its neighbours:
//! the mapping forgets the shift and keeps the shape. What the run writes to `out/shifts` shows images that the net
//! has never seen.
//!
//! The 30 000 shifted images are made as batches ask for them; only the search for neighbours holds them all.

#![forbid(unsafe_code)]

mod args;
mod experiment;
mod figure;
mod report;
#[path = "../shared/mod.rs"]
mod shared;

use std::process::ExitCode;
use std::time::Instant;

use drlim::{Cx, Isa};

use args::Args;
use experiment::Knowledge;
use report::Report;
use shared::Failure;
use shared::digits::Digits;
use shared::output::Folder;
use shared::start;

fn main() -> ExitCode {
    let begin = Instant::now();
    start::start("shifts", |args: Args| start::on_threads(args.threads, || run(&args, begin)))
}

fn run(args: &Args, begin: Instant) -> Result<(), Failure> {
    let cx = Cx { isa: Isa::from_env()?, ..Cx::default() };
    let digits = Digits::load(args.data.as_deref(), args.classes()?.as_deref())?;
    let folder = Folder::create(&args.out)?;
    let neighbours = experiment::train(&cx, args, &digits, Knowledge::Neighbours)?;
    let shifts = experiment::train(&cx, args, &digits, Knowledge::Shifts)?;
    let lle = experiment::lle(&cx, args, &digits)?;
    let (svg, png) = figure::draw_lle(&digits, &lle)?;
    folder.write("lle.svg", svg.as_bytes())?;
    folder.write("lle.png", &png)?;
    let (svg, png) = figure::draw(&digits, &neighbours, &shifts)?;
    folder.write("shifts.svg", svg.as_bytes())?;
    folder.write("shifts.png", &png)?;
    let seconds = begin.elapsed().as_secs_f64();
    let (neighbours, shifts, lle) = (&neighbours, &shifts, &lle);
    let report = Report { cx: &cx, args, digits: &digits, neighbours, shifts, lle, seconds };
    folder.write("report.json", report.json().as_bytes())?;
    print!("{}{}", report.table(), folder.list());
    Ok(())
}
