//! `cargo bench --bench roofline`: each kernel as a share of what this machine can do.
//!
//! The limits are measured first, with the crate's own tiers: the FMA peak, and for each shape that
//! is bound by memory a plain copy of the same traffic, in turn with the kernel. Results are checked
//! against scalar f64 computations before they are timed; training steps, whose parts are, must
//! lower the loss.
//!
//! ```text
//! cargo bench --bench roofline -- --only rows --shape 777x131
//! cargo bench --bench roofline -- --json roofline.json
//! ```

mod all_pairs;
mod anchors;
#[path = "../common/chains.rs"]
mod chains;
mod indexed;
mod layers;
mod nearest;
#[path = "../common/nets.rs"]
mod nets;
mod pairs;
mod peak;
mod report;
mod stream;
mod triplets;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use drlim::{Cx, Isa, Par, Real};

use report::Report;

/// What `--only` can name.
const KERNELS: [&str; 20] = [
    "fma_peak",
    "stream",
    "rows",
    "triplet_rows",
    "indexed",
    "all_pairs_labels",
    "all_pairs_clustered",
    "all_pairs_sparse",
    "all_pairs_graph",
    "softmax_one_set",
    "softmax_cross",
    "softmax_queries",
    "clip",
    "siglip",
    "nearest",
    "train_step_drlim",
    "train_step_lenet",
    "train_step_dense",
    "forward_drlim",
    "tanh",
];

/// Measures every kernel as a share of this machine's limits.
#[derive(Parser)]
struct Args {
    /// Only kernels of this name.
    #[arg(long, value_parser = PossibleValuesParser::new(KERNELS))]
    only: Option<String>,
    /// This shape instead of the usual ones: rows x columns, or a batch.
    #[arg(long)]
    shape: Option<Shape>,
    /// Writes the table as a list of JSON objects.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs and checks everything once, without timing.
    #[arg(long)]
    test: bool,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Rows and columns, or a batch alone.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    rows: usize,
    cols: Option<usize>,
}

impl std::str::FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a size"));
        match text.split_once('x') {
            Some((rows, cols)) => Ok(Shape { rows: number(rows)?, cols: Some(number(cols)?) }),
            None => Ok(Shape { rows: number(text)?, cols: None }),
        }
    }
}

/// What a measurement is run with.
struct Runner {
    only: Option<String>,
    shape: Option<Shape>,
    test: bool,
    /// One thread and all of them.
    threads: Vec<usize>,
}

/// Best and median of a number of runs, in seconds.
#[derive(Clone, Copy)]
struct Times {
    best: f64,
    median: f64,
}

impl Runner {
    fn wants(&self, kernel: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == kernel)
    }

    /// The shapes of two sizes to measure.
    fn shapes(&self, usual: &[(usize, usize)]) -> Vec<(usize, usize)> {
        match self.shape {
            None => usual.to_vec(),
            Some(Shape { rows, cols: Some(cols) }) => vec![(rows, cols)],
            Some(Shape { cols: None, .. }) => Vec::new(),
        }
    }

    /// The batches to measure.
    fn batches(&self, usual: &[usize]) -> Vec<usize> {
        match self.shape {
            None => usual.to_vec(),
            Some(Shape { rows, cols: None }) => vec![rows],
            Some(Shape { cols: Some(_), .. }) => Vec::new(),
        }
    }

    /// Whether goals are about this: `f32`, all threads, the best tier.
    fn counts<T: Real>(&self, cx: Cx, threads: usize) -> bool {
        let all = self.threads.last() == Some(&threads);
        all && cx.isa == Isa::best() && T::NAME == "f32"
    }

    /// Calls `f` with every tier and number of threads, inside a pool of that many.
    fn contexts(&self, mut f: impl FnMut(Cx, usize) + Send) {
        for &threads in &self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a pool of threads").install(|| {
                for isa in Isa::available() {
                    f(Cx { isa, par: Par::Rayon }, threads);
                }
            });
        }
    }

    /// Times two things in turn, so that both see the same machine: the first may be its limit.
    fn time_in_turn(&self, mut a: impl FnMut(), mut b: impl FnMut()) -> [Times; 2] {
        const BUDGET: Duration = Duration::from_millis(200);
        let mut seconds = [Vec::new(), Vec::new()];
        let start = Instant::now();
        loop {
            seconds[0].push(time(&mut a));
            seconds[1].push(time(&mut b));
            // Three runs of what takes long, five at least of everything else.
            let least = if start.elapsed() > 4 * BUDGET { 3 } else { 5 };
            if self.test || (start.elapsed() > BUDGET && seconds[0].len() >= least) {
                break;
            }
        }
        seconds.map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            Times { best: seconds[0], median: seconds[seconds.len() / 2] }
        })
    }

    fn time(&self, f: impl FnMut()) -> Times {
        self.time_in_turn(|| {}, f)[1]
    }
}

fn time(f: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

fn main() {
    let args = Args::parse();
    let all = Par::Rayon.threads();
    let threads = if all > 1 { vec![1, all] } else { vec![1] };
    let runner = Runner { only: args.only, shape: args.shape, test: args.test, threads };
    let tiers: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
    println!("tiers: {}; threads: {:?}", tiers.join(", "), runner.threads);

    let peaks = peak::measure(&runner);
    let mut report = Report::default();
    if runner.wants("fma_peak") {
        report.lines.extend(peaks.lines());
    }
    pairs::measure(&runner, &mut report);
    triplets::measure(&runner, &mut report);
    indexed::measure(&runner, &mut report);
    all_pairs::measure(&runner, &peaks, &mut report);
    anchors::measure(&runner, &peaks, &mut report);
    nearest::measure(&runner, &peaks, &mut report);
    layers::measure(&runner, &peaks, &mut report);
    report.print();
    if let Some(path) = args.json {
        if let Err(error) = std::fs::write(&path, report.json()) {
            eprintln!("{}: {error}", path.display());
            std::process::exit(2);
        }
        println!("{}", path.display());
    }
}
