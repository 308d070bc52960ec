//! A training step of the paper's network allocates nothing after the first, on no thread of the pool that it
//! runs in.

use super::allocator::allocations;
use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Conv2d, Dense, Network, Shape, Subsample2d, Tanh};
use drlim::optim::Adam;
use drlim::siamese::Siamese;
use drlim::{Cx, Mat, Par};

/// For batches of up to so many pairs.
fn siamese(pairs: usize) -> Siamese<f32, Adam<f32>> {
    let net = Network::<f32>::builder(Shape::image(1, 32, 32))
        .layer("c1", Conv2d::new(15, 6))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(3))
        .layer("tanh2", Tanh::new())
        .layer("c3", Conv2d::new(30, 9))
        .layer("tanh3", Tanh::new())
        .layer("f4", Dense::new(2))
        .build(1)
        .unwrap();
    Siamese::new(net, Adam::new(), pairs).unwrap()
}

/// Twice as many images: less than a group, groups and images left over, several groups.
const PAIRS: [usize; 3] = [3, 21, 32];

pub fn a_training_step_in_a_pool_allocates_nothing_on_any_of_its_threads() {
    let pixels: Vec<f32> = (0..PAIRS[2] * 1024).map(|i| (i % 17) as f32 * 0.05).collect();
    let similar: Vec<bool> = (0..PAIRS[2]).map(|i| i % 2 == 0).collect();
    let loss = Contrastive::new(1.0).unwrap();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        // Every thread has started, and has what the pool itself gives it.
        pool.broadcast(|_| ());
        for isa in crate::support::tiers() {
            let cx = Cx { isa, par: Par::Rayon };
            let mut siamese = siamese(PAIRS[2]);
            let mut step = |pairs: usize| {
                let x = Mat::new(&pixels[..pairs * 1024], pairs, 1024).unwrap();
                let objective = Objective::mean(&loss);
                siamese.step(&cx, &objective, 1e-3, x, x, &similar[..pairs]).unwrap();
            };
            pool.install(|| {
                step(PAIRS[2]);
                for pairs in PAIRS {
                    for _ in 0..5 {
                        let which = format!("{pairs} pairs, {threads} threads, {cx}");
                        assert_eq!(allocations(|| step(pairs)), 0, "{which}");
                    }
                }
            });
        }
        // The counter counts, on every thread.
        let counted = pool.install(|| {
            let one = || drop(std::hint::black_box(vec![1_u8; 10]));
            allocations(|| {
                rayon::join(one, one);
            })
        });
        assert!(counted >= 2, "{counted}");
    }
}
