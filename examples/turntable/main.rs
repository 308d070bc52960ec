//! Experiment C of Hadsell, Chopra and LeCun (2006): the views of one object, mapped to a cylinder.
//!
//! ```text
//! cargo run --release --example turntable
//! cargo run --release --example turntable -- --object car
//! cargo run --release --example turntable -- --data ~/norb --category 2 --instance 4
//! ```
//!
//! An object is seen from 18 sides, from 9 heights, in 6 lights. Two views are similar where they are at most one step
//! apart around the object and in height, whatever the light. A small net with three outputs, trained on all pairs of
//! 660 of the 972 views, lays them on a cylinder: azimuth around, elevation along, and of the light nothing is left.
//! `out/turntable` shows that, beside what LLE and PCA make of the same views.
//!
//! The paper has a toy airplane of the data set NORB, which may not be passed on. Without it the object is synthetic.

#![forbid(unsafe_code)]

mod args;
mod experiment;
mod figure;
mod render;
mod report;
#[path = "../shared/mod.rs"]
mod shared;
mod views;

use std::process::ExitCode;
use std::time::Instant;

use drlim::{Cx, Isa, checkpoint};

use args::Args;
use figure::Embedding;
use report::Report;
use shared::output::Folder;
use shared::pca::Pca;
use shared::{Failure, lle, start};
use views::Views;

fn main() -> ExitCode {
    let begin = Instant::now();
    start::start("turntable", |args: Args| start::on_threads(args.threads, || run(&args, begin)))
}

fn run(args: &Args, begin: Instant) -> Result<(), Failure> {
    let cx = Cx { isa: Isa::from_env()?, ..Cx::default() };
    let folder = Folder::create(&args.out)?;
    let views = Views::load(args)?;
    let trained = experiment::train(&cx, args, &views)?;
    let rows = views.rows()?;
    let by_lle = lle::embed::<3>(&cx, rows, args.neighbors)
        .map_err(|error| format!("--neighbors: {error}"))?;
    let by_pca = Pca::<3>::fit(rows.rows_range(0, views.train)).project(rows);
    let named = [("The mapping", &trained.points), ("LLE", &by_lle), ("PCA", &by_pca)];
    let mut embeddings = Vec::new();
    for (name, points) in named {
        let shares = experiment::shares(&cx, &views, points)?;
        embeddings.push(Embedding { name, points, shares });
    }
    let (svg, png) = figure::draw(&views, &embeddings)?;
    folder.write("turntable.svg", svg.as_bytes())?;
    folder.write("turntable.png", &png)?;
    folder.write("model.safetensors", &checkpoint::to_bytes(&trained.net)?)?;
    let seconds = begin.elapsed().as_secs_f64();
    let (views, trained, embeddings) = (&views, &trained, &embeddings[..]);
    let training = experiment::shares_of_training(&cx, views, &trained.points)?;
    let report = Report { cx: &cx, args, views, trained, embeddings, training, seconds };
    folder.write("report.json", report.json().as_bytes())?;
    print!("{}{}", report.table(), folder.list());
    Ok(())
}
