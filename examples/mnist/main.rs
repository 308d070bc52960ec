//! Experiment A of Hadsell, Chopra and LeCun (2006): fours and nines mapped to the plane.
//!
//! ```text
//! cargo run --release --example mnist
//! cargo run --release --example mnist -- --pairs batch --out out/batch
//! cargo run --release --example mnist -- --pairs labels --out out/labels
//! cargo run --release --example mnist -- --pairs batch-labels --loss supcon --out out/supcon
//! cargo run --release --example mnist -- --data ~/mnist --classes 3,5,8
//! ```
//!
//! A small convolutional net sees only pairs of training images and whether they are similar: by
//! default, whether one is among the five nearest neighbours of the other in pixel space, so no
//! label is used. It learns to place similar images close together in the plane and all others at
//! least a margin apart. By `--pairs batch` it sees all pairs of a batch at once, which gets there in a
//! quarter of the time. What it writes to `out/mnist` shows images that it has never seen.
//!
//! The paper gives neither a margin nor a rate of learning; see [`args`] for how ours were chosen.

#![forbid(unsafe_code)]

mod args;
mod baselines;
mod embedding_figure;
mod experiment;
mod loss_figure;
mod report;
#[path = "../shared/mod.rs"]
mod shared;

use std::process::ExitCode;
use std::time::Instant;

use drlim::{Cx, Isa, checkpoint};

use args::Settings;
use baselines::Baselines;
use report::Report;
use shared::Failure;
use shared::digits::Digits;
use shared::output::Folder;
use shared::start;

fn main() -> ExitCode {
    let begin = Instant::now();
    start::start("mnist", |args| {
        let settings = args::settings(args)?;
        start::on_threads(settings.threads, || run(&settings, begin))
    })
}

fn run(settings: &Settings, begin: Instant) -> Result<(), Failure> {
    let cx = Cx { isa: Isa::from_env()?, ..Cx::default() };
    let digits = Digits::load(settings.data.as_deref(), settings.classes.as_deref())?;
    let folder = Folder::create(&settings.out)?;
    let trained = experiment::train(&cx, settings, &digits)?;
    let baselines = Baselines::measure(&cx, &digits)?;
    let mut report = Report::new(&cx, settings, &digits, &trained, baselines)?;

    let title = embedding_figure::Title::new(settings, &digits, &report);
    let (svg, png) = embedding_figure::draw(&title, &digits.test, &trained.test)?;
    folder.write("embedding.svg", svg.as_bytes())?;
    folder.write("embedding.png", &png)?;
    folder.write("loss.svg", loss_figure::draw(&trained)?.as_bytes())?;
    folder.write("embedding.csv", report::csv(&digits, &trained).as_bytes())?;
    folder.write("model.safetensors", &checkpoint::to_bytes(&trained.net)?)?;
    report.seconds = begin.elapsed().as_secs_f64();
    folder.write("report.json", report.json().as_bytes())?;
    print!("{}{}", report.table(settings, &digits), folder.list());
    Ok(())
}
