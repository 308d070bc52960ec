//! Experiment A of Hadsell, Chopra and LeCun (2006): fours and nines mapped to the plane.
//!
//! ```text
//! cargo run --release --example mnist
//! cargo run --release --example mnist -- --pairs batch --out out/batch
//! cargo run --release --example mnist -- --pairs labels --out out/labels
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
mod digits;
mod embedding_figure;
mod experiment;
mod figure;
mod loss_figure;
mod output;
mod pca;
mod progress;
mod report;
mod sprites;

use std::process::ExitCode;
use std::time::Instant;

use drlim::{Cx, Isa, checkpoint};

use args::{Command, Settings};
use baselines::Baselines;
use digits::Digits;
use output::Folder;
use report::Report;

/// What went wrong, in words that fit on one line.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let done = match args::parse(std::env::args_os()) {
        Ok(Command::Help(text)) => {
            print!("{text}");
            Ok(())
        }
        Ok(Command::Run(settings)) => start(&settings),
        Err(failure) => Err(failure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mnist: {}", one_line(&failure.to_string()));
            ExitCode::from(2)
        }
    }
}

/// Paths and arguments may hold line breaks; a message has none.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Runs on as many threads as were asked for.
fn start(settings: &Settings) -> Result<(), Failure> {
    let begin = Instant::now();
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = settings.threads {
        pool = pool.num_threads(threads);
    }
    pool.build()?.install(|| run(settings, begin))
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
