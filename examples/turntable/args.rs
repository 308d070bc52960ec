//! The command line, and the defaults.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::RangedU64ValueParser;

use crate::render::Object;

/// Maps the views of one object to a cylinder: its pose, whatever the light.
#[derive(Parser, Debug)]
#[command(name = "turntable")]
pub struct Args {
    /// Folder with the files of small NORB, raw or gzip [default: an object is rendered]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The category of the toy in NORB's files; 2 is airplanes
    #[arg(long, value_name = "N", default_value_t = 2, requires = "data",
        value_parser = clap::value_parser!(u8).range(0..=4))]
    pub category: u8,
    /// Which toy of the category
    #[arg(long, value_name = "N", default_value_t = 4, requires = "data",
        value_parser = clap::value_parser!(u8).range(0..=9))]
    pub instance: u8,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "out/turntable")]
    pub out: PathBuf,
    /// What to render
    #[arg(long, default_value = "airplane", conflicts_with = "data")]
    pub object: Object,
    /// Where the random numbers start: of the object, of the choice of training views, of the weights
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Threads; the results are the same for any number [default: one a core]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub threads: Option<usize>,
    /// The distance from which dissimilar views are left alone
    #[arg(long, value_name = "M", default_value_t = 1.0)]
    pub margin: f32,
    /// Steps of training, each on all pairs of the training views
    #[arg(long, value_name = "N", default_value_t = 2000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub steps: usize,
    /// Neighbours of each view, for the embedding by LLE
    #[arg(long, value_name = "K", default_value_t = 12)]
    pub neighbors: usize,
    /// Adam's learning rate at the first step
    #[arg(long, hide = true, default_value_t = 0.001)]
    pub rate: f64,
}
