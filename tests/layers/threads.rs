//! The same bits for any number of threads, and for any workspace that is large enough.

use drlim::{Cx, Par};

use super::common::tiers;
use super::{mixed_network, pass, serial};

#[test]
fn results_do_not_depend_on_threads_or_on_the_size_of_the_workspace() {
    let net = mixed_network();
    for isa in tiers() {
        for samples in [0, 1, 31, 32, 33, 70] {
            let expected = pass(&net, &serial(isa), samples, samples);
            for threads in [1, 2, 3, 7] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let cx = Cx { isa, par: Par::Rayon };
                let got = pool.install(|| pass(&net, &cx, samples, samples + threads));
                assert_eq!(got, expected, "{samples} samples, {threads} threads on {isa}");
            }
        }
    }
}
