//! The crate's work done with other Rust libraries, all of it timed in turn in one process.
//!
//! Each library does the work as a careful user of it would write it down, on all threads and with
//! buffers that are kept from call to call. Every result is checked against scalar f64 computations
//! before it is timed. Libraries of Python are compared by `peers.py`.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --only nearest
//! ```

mod contest;
mod dense;
mod gram;
mod product;
mod table;
mod with_drlim;
mod with_gemm;
mod with_matrixmultiply;
mod with_ndarray;
#[cfg(feature = "numkong")]
mod with_numkong;
mod with_products;
mod work;

use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use contest::Contest;
use dense::{Gradients, Layer, Outputs};
use work::{AllPairs, Distances, Nearest, PairRows};

/// What `--only` can name.
const WORKS: [&str; 5] = ["all_pairs", "distances", "rows", "nearest", "dense"];

/// Rows and columns of the small works that are only checked.
const SMALL: (usize, usize) = (70, 19);

/// Samples, inputs and outputs of dense layers.
const LAYERS: [[usize; 3]; 7] = [
    [256, 784, 512],
    [256, 800, 500],
    [256, 1215, 30],
    [64, 784, 20],
    [1, 512, 128],
    [256, 1024, 1024],
    [2048, 1024, 1024],
];

/// Times the crate and other libraries on the same work, in turn.
#[derive(Parser)]
struct Args {
    /// Only work of this name.
    #[arg(long, value_parser = PossibleValuesParser::new(WORKS))]
    only: Option<String>,
    /// Threads of every library [default: rayon's]
    #[arg(long)]
    threads: Option<usize>,
    /// Seconds for each shape; three rounds are run in any case.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only checks everything, on small shapes.
    #[arg(long)]
    test: bool,
}

impl Args {
    fn shapes<S: Clone>(&self, work: &str, usual: &[S], small: S) -> Vec<S> {
        match self.only.as_deref() {
            Some(only) if only != work => Vec::new(),
            _ if self.test => vec![small],
            _ => usual.to_vec(),
        }
    }
}

fn main() {
    let args = Args::parse();
    let threads = args.threads.unwrap_or_else(rayon::current_num_threads);
    if args.threads.is_some() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.expect("the first pool of the process");
    }
    // SAFETY: no other thread reads or writes the environment; matrixmultiply looks at its first product.
    unsafe { std::env::set_var("MATMUL_NUM_THREADS", threads.to_string()) };
    println!("{threads} threads; drlim on {}", drlim::Isa::best());

    let budget = Duration::from_secs_f64(args.seconds);
    let mut contest = Contest::new((!args.test).then_some(budget));
    for (n, d) in args.shapes("all_pairs", &[(512, 128), (4096, 128)], SMALL) {
        let work = AllPairs::random(n, d);
        let entrants = vec![
            with_drlim::all_pairs(&work),
            with_gemm::all_pairs(&work),
            with_ndarray::all_pairs(&work),
        ];
        contest.hold(&work, entrants);
    }
    for (n, d) in args.shapes("distances", &[(4096, 128)], SMALL) {
        let work = Distances::random(n, d);
        let entrants = vec![
            with_drlim::distances(&work),
            with_gemm::distances(&work),
            with_ndarray::distances(&work),
        ];
        #[cfg(feature = "numkong")]
        let entrants = entrants.into_iter().chain(with_numkong::distances(&work)).collect();
        contest.hold(&work, entrants);
    }
    for (n, d) in args.shapes("rows", &[(65536, 128)], SMALL) {
        let work = PairRows::random(n, d);
        contest.hold(&work, vec![with_drlim::rows(&work), with_ndarray::rows(&work)]);
    }
    for (n, d) in args.shapes("nearest", &[(6000, 784)], SMALL) {
        let work = Nearest::random(n, d);
        let entrants = vec![with_drlim::nearest(&work), with_gemm::nearest(&work)];
        #[cfg(feature = "numkong")]
        let entrants = entrants.into_iter().chain([with_numkong::nearest(&work)]).collect();
        contest.hold(&work, entrants);
    }
    for shape in args.shapes("dense", &LAYERS, [70, 19, 13]) {
        let layer = Layer::random(shape);
        let work = Outputs(&layer);
        let entrants = vec![
            with_drlim::outputs(&work),
            with_gemm::outputs(&work),
            with_matrixmultiply::outputs(&work),
        ];
        contest.hold(&work, entrants);
        for dx in [false, true] {
            let work = Gradients { layer: &layer, dx };
            let entrants = vec![
                with_drlim::gradients(&work),
                with_gemm::gradients(&work),
                with_matrixmultiply::gradients(&work),
            ];
            contest.hold(&work, entrants);
        }
    }
    contest.print();
}
