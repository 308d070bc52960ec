//! The same bits for any number of threads, in anybody's pool.

use drlim::loss::Reduction;
use drlim::{Cx, Par, Similar};

use super::batch::Batch;
use super::serial;
use crate::support::element::bits;
use crate::support::{Element, labels, tiers};

/// Blocks of less than the most rows, of the most rows with a ragged last one; and, since it costs
/// them little, planar ones too.
fn independent_of_threads<T: Element>() {
    for ([n, d], classes) in [([517, 40], 9), ([1100, 2], 9), ([1100, 17], 200)] {
        let batch = Batch::<T>::random([n, d], 6);
        let classes = labels(n, classes);
        let similar = Similar::Labels(&classes);
        for isa in tiers() {
            let cx = Cx { isa, par: Par::Rayon };
            let serial = batch.run(&serial(isa), Reduction::MeanNonZero, similar);
            let run = || batch.run(&cx, Reduction::MeanNonZero, similar);
            let pooled = [1, 2, 3, 7].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                (pool.install(run), threads)
            });
            for ((outcome, grad), threads) in pooled.into_iter().chain([(run(), 0)]) {
                let case = format!("{n}x{d}, {threads} threads on {isa}");
                assert_eq!(outcome, serial.0, "{case}");
                assert_eq!(bits(&grad), bits(&serial.1), "{case}");
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    independent_of_threads::<f32>();
    independent_of_threads::<f64>();
}
