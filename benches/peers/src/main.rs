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
mod gram;
mod table;
mod with_drlim;
mod with_gemm;
mod with_ndarray;
#[cfg(feature = "numkong")]
mod with_numkong;
mod work;

use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use contest::Contest;
use work::{AllPairs, Distances, Nearest, PairRows};

/// What `--only` can name.
const WORKS: [&str; 4] = ["all_pairs", "distances", "rows", "nearest"];

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
    fn shapes(&self, work: &str, usual: &[(usize, usize)]) -> Vec<(usize, usize)> {
        match self.only.as_deref() {
            Some(only) if only != work => Vec::new(),
            _ if self.test => vec![(70, 19)],
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
    for (n, d) in args.shapes("all_pairs", &[(512, 128), (4096, 128)]) {
        let work = AllPairs::random(n, d);
        let entrants = vec![
            with_drlim::all_pairs(&work),
            with_gemm::all_pairs(&work),
            with_ndarray::all_pairs(&work),
        ];
        contest.hold(&work, entrants);
    }
    for (n, d) in args.shapes("distances", &[(4096, 128)]) {
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
    for (n, d) in args.shapes("rows", &[(65536, 128)]) {
        let work = PairRows::random(n, d);
        contest.hold(&work, vec![with_drlim::rows(&work), with_ndarray::rows(&work)]);
    }
    for (n, d) in args.shapes("nearest", &[(6000, 784)]) {
        let work = Nearest::random(n, d);
        let entrants = vec![with_drlim::nearest(&work), with_gemm::nearest(&work)];
        #[cfg(feature = "numkong")]
        let entrants = entrants.into_iter().chain([with_numkong::nearest(&work)]).collect();
        contest.hold(&work, entrants);
    }
    contest.print();
}
