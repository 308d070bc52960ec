//! The same bits for any number of threads, and for any workspace that is large enough.

use drlim::nn::{Shape, Workspace};
use drlim::{Cx, Par};

use super::stack::{Spec, build};
use super::{batch, lanes, mixed_network, pass, passes, passes_within, serial};
use crate::support::{Element, tiers};

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

fn in_any_pool<T: Element>() {
    let stack = [
        Spec::Conv { maps: 3, kernel: [3, 2], stride: 1, padding: 1 },
        Spec::Tanh,
        Spec::Max { kernel: 2, stride: 2 },
        Spec::Conv { maps: 4, kernel: [2, 2], stride: 1, padding: 0 },
        Spec::Subsample(2),
        Spec::Sigmoid,
        Spec::Dense(3),
    ];
    // Together, and each by itself: that cuts its batch into blocks of its own.
    for net in [false, true].map(|alone| build::<T>(Shape::image(2, 6, 9), &stack, alone).unwrap())
    {
        for isa in tiers() {
            let lanes = lanes::<T>(isa);
            // With images left over and without; then several groups to a block.
            for samples in
                [lanes, 3 * lanes - 1, 4 * lanes, 32 * lanes + 5, 40 * lanes, 45 * lanes - 1]
            {
                let [x, dz] = batch::<T>(&net, samples);
                let expected = passes(&net, &serial(isa), [&x, &dz], samples);
                for threads in [1, 2, 3, 7] {
                    let pool =
                        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let cx = Cx { isa, par: Par::Rayon };
                    let got = pool.install(|| passes(&net, &cx, [&x, &dz], samples));
                    assert!(got == expected, "{samples} samples, {threads} threads on {isa}");
                }
            }
        }
    }
}

#[test]
fn results_of_several_groups_a_block_do_not_depend_on_threads() {
    in_any_pool::<f32>();
    in_any_pool::<f64>();
}

fn by_one_workspace<T: Element>() {
    let stack = [
        Spec::Conv { maps: 3, kernel: [3, 3], stride: 2, padding: 1 },
        Spec::Relu,
        Spec::Avg { kernel: 2, stride: 1 },
        Spec::Dense(2),
    ];
    let net = build::<T>(Shape::image(2, 6, 9), &stack, false).unwrap();
    for isa in tiers() {
        let most = 2 * lanes::<T>(isa) + 3;
        let mut workspace = Workspace::training(&net, most).unwrap();
        // From the largest batch down, so that every smaller one finds what another has left.
        for samples in (0..=most).rev() {
            let [x, dz] = batch::<T>(&net, samples);
            let expected = passes(&net, &serial(isa), [&x, &dz], samples);
            let got = passes_within(&net, &serial(isa), [&x, &dz], &mut workspace);
            assert!(got == expected, "{samples} of {most} samples on {isa}");
        }
    }
}

#[test]
fn a_workspace_serves_every_smaller_batch_whatever_it_was_used_for() {
    by_one_workspace::<f32>();
    by_one_workspace::<f64>();
}
