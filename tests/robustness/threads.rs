//! Calls from many threads at once, from inside of rayon's scopes and joins, from pools of one thread and
//! pools within pools, from inside of a loss: all give the same bits.

use std::cell::RefCell;
use std::sync::Mutex;

use drlim::loss::{Anchor, AnchorSums, BlockAnchorLoss, BlockLoss};
use drlim::nn::{Conv2d, Dense, Network, Shape, Tanh, Workspace};
use drlim::{Cx, Isa, Mat, Par};
use rayon::prelude::*;

use crate::batch::{Batch, Kept, Losses, Plain, Rows};
use crate::calls::calls;
use crate::support::{Element, tiers};

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// Runs `f` many times at once, everywhere that it could be run.
fn everywhere(f: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(|| f("a thread of many"))));
    });
    rayon::scope(|scope| {
        (0..3).for_each(|_| scope.spawn(|_| f("a scope")));
    });
    rayon::join(|| f("one side"), || f("the other side"));
    (0..4).into_par_iter().for_each(|_| f("an iterator"));
    pool(1).install(|| f("a pool of one thread"));
    pool(3).install(|| {
        rayon::join(|| f("a pool"), || pool(2).install(|| f("a pool within a pool")));
    });
}

fn same_bits<T: Element>(shape: [usize; 2], isa: Isa) {
    let (plain, batch) = (Plain::<T>::new(), Batch::new(shape, Rows::Gapless));
    for call in calls::<T>() {
        let run = |par, kept: &mut Kept<T>| {
            (call.run)(&Cx { isa, par }, &batch, plain.losses(), kept).unwrap().bits()
        };
        let expected = run(Par::Serial, &mut Kept::new());
        everywhere(|place| {
            let mut kept = Kept::new();
            for _ in 0..2 {
                let same = run(Par::Rayon, &mut kept) == expected;
                assert!(same, "{}, {shape:?} on {isa}: other bits in {place}", call.name);
            }
        });
    }
}

#[test]
fn every_call_gives_the_same_bits_from_any_thread_and_from_many() {
    for isa in tiers() {
        same_bits::<f32>([67, 19], isa);
        same_bits::<f64>([40, 3], isa);
    }
    // Of blocks that threads share.
    same_bits::<f32>([210, 50], *tiers().last().unwrap());
}

thread_local! {
    static OF_THE_THREAD: RefCell<Kept<f32>> = RefCell::new(Kept::new());
}

/// The ways that the documentation of `Par` names. The other one, a lock over a call, hangs.
#[test]
fn within_tasks_scratches_are_of_a_task_or_of_a_thread_or_taken_out_of_a_list() {
    let (isa, plain) = (*tiers().last().unwrap(), Plain::<f32>::new());
    let batch = Batch::new([210, 50], Rows::Gapless);
    let takes_one = |name: &str| {
        let calls = ["indexed", "all_pairs", "all_anchors", "cross", "triplets,"];
        calls.iter().any(|call| name.starts_with(call))
    };
    for call in calls::<f32>().into_iter().filter(|call| takes_one(call.name)) {
        let run = |par, kept: &mut Kept<f32>| {
            (call.run)(&Cx { isa, par }, &batch, plain.losses(), kept).unwrap().bits()
        };
        let expected = run(Par::Serial, &mut Kept::new());
        let many = || (0..60).into_par_iter();
        for threads in [1, 3] {
            pool(threads).install(|| {
                let by_task = many().map_init(Kept::new, |kept, _| run(Par::Rayon, kept));
                assert!(by_task.all(|got| got == expected), "{}: of a task", call.name);
                let by_thread =
                    many().map(|_| OF_THE_THREAD.with_borrow_mut(|kept| run(Par::Serial, kept)));
                assert!(by_thread.all(|got| got == expected), "{}: of a thread", call.name);
                let list = Mutex::new(Vec::new());
                let by_list = many().map(|_| {
                    let taken = list.lock().unwrap().pop();
                    let mut kept = taken.unwrap_or_else(Kept::new);
                    let got = run(Par::Rayon, &mut kept);
                    list.lock().unwrap().push(kept);
                    got
                });
                assert!(by_list.all(|got| got == expected), "{}: of a list", call.name);
            });
        }
    }
}

#[test]
fn within_tasks_workspaces_are_of_a_task_too() {
    let net = Network::<f32>::builder(Shape::image(1, 12, 12))
        .layer("c1", Conv2d::new(4, 5))
        .layer("tanh1", Tanh::new())
        .layer("f2", Dense::new(3))
        .build(1)
        .unwrap();
    let x: Vec<f32> = (0..60 * 144).map(|i| (i * i % 83) as f32 / 83.0).collect();
    let x = Mat::new(&x, 60, 144).unwrap();
    let pass = |par, workspace: &mut Workspace<f32>| {
        let cx = Cx { par, ..Cx::default() };
        net.forward(&cx, x, workspace).unwrap().as_slice().unwrap().to_vec()
    };
    let workspace = || Workspace::training(&net, 60).unwrap();
    let expected = pass(Par::Serial, &mut workspace());
    pool(3).install(|| {
        let many = (0..60).into_par_iter();
        let all = many.map_init(workspace, |workspace, _| pass(Par::Rayon, workspace));
        assert!(all.all(|got| got == expected));
    });
}

/// A loss that hands work to the pool that it is called on, and waits for it.
struct Waiting<'l>(Losses<'l, f32>);

impl BlockLoss<f32> for Waiting<'_> {
    fn eval_block(&self, isa: Isa, d2: &mut [f32], similar: &[bool], values: &mut [f32]) {
        let half = d2.len() / 2;
        let (d2, values) = (d2.split_at_mut(half), values.split_at_mut(half));
        let similar = similar.split_at(half);
        rayon::join(
            || self.0.pairs.eval_block(isa, d2.0, similar.0, values.0),
            || self.0.pairs.eval_block(isa, d2.1, similar.1, values.1),
        );
    }

    fn curvature_block(&self, isa: Isa, d2: &mut [f32], similar: &[bool]) -> bool {
        let half = d2.len() / 2;
        let (d2, similar) = (d2.split_at_mut(half), similar.split_at(half));
        let both = rayon::join(
            || self.0.pairs.curvature_block(isa, d2.0, similar.0),
            || self.0.pairs.curvature_block(isa, d2.1, similar.1),
        );
        both.0 && both.1
    }
}

impl BlockAnchorLoss<f32> for Waiting<'_> {
    fn exponents_block(&self, isa: Isa, u: &mut [f32], rates: &mut [f32], similar: bool) {
        let half = u.len() / 2;
        let (u, rates) = (u.split_at_mut(half), rates.split_at_mut(half));
        rayon::join(
            || self.0.anchors.exponents_block(isa, u.0, rates.0, similar),
            || self.0.anchors.exponents_block(isa, u.1, rates.1, similar),
        );
    }

    fn anchor_block(&self, sums: &AnchorSums) -> Anchor {
        rayon::join(|| self.0.anchors.anchor_block(sums), || ()).0
    }

    fn weights_block(&self, isa: Isa, x: &mut [f32], similar: bool, terms: [&[f32]; 4]) {
        let half = x.len() / 2;
        let (x, terms) = (x.split_at_mut(half), terms.map(|of| of.split_at(half)));
        rayon::join(
            || self.0.anchors.weights_block(isa, x.0, similar, terms.map(|of| of.0)),
            || self.0.anchors.weights_block(isa, x.1, similar, terms.map(|of| of.1)),
        );
    }

    fn each_block(&self, isa: Isa, x: &mut [f32], second: &mut [f32], terms: [&[f32]; 4]) {
        let half = x.len() / 2;
        let (x, second) = (x.split_at_mut(half), second.split_at_mut(half));
        let terms = terms.map(|of| of.split_at(half));
        rayon::join(
            || self.0.anchors.each_block(isa, x.0, second.0, terms.map(|of| of.0)),
            || self.0.anchors.each_block(isa, x.1, second.1, terms.map(|of| of.1)),
        );
    }

    fn looks_twice_block(&self) -> bool {
        self.0.anchors.looks_twice_block()
    }

    fn shift_invariant_block(&self) -> bool {
        self.0.anchors.shift_invariant_block()
    }

    fn scale_block(&self) -> Option<f32> {
        self.0.anchors.scale_block()
    }
}

#[test]
fn a_loss_may_wait_for_the_pool_that_it_runs_on() {
    let plain = Plain::<f32>::new();
    let waiting = Waiting(plain.losses());
    let losses = Losses { pairs: &waiting, anchors: &waiting, ..plain.losses() };
    let isa = *tiers().last().unwrap();
    let few = ["rows", "indexed", "all_pairs by labels", "all_pairs by a graph", "cross by labels"];
    let of_anchors =
        ["all_anchors by labels", "cross_anchors by labels", "cross_anchors by position"];
    for (shape, few) in [
        ([2100, 33], &few[..]),
        ([67, 19], &few[..]),
        ([300, 24], &of_anchors[..]),
        ([67, 19], &of_anchors[..]),
    ] {
        let batch = Batch::new(shape, Rows::Gapless);
        for call in calls::<f32>().into_iter().filter(|call| few.contains(&call.name)) {
            let run = |par, losses: Losses<'_, f32>, kept: &mut Kept<f32>| {
                (call.run)(&Cx { isa, par }, &batch, losses, kept).unwrap().bits()
            };
            let expected = run(Par::Serial, losses, &mut Kept::new());
            for threads in [1, 3] {
                let got = pool(threads).install(|| run(Par::Rayon, losses, &mut Kept::new()));
                assert!(got == expected, "{}, {shape:?}, {threads} threads", call.name);
            }
        }
    }
}
