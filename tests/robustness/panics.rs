//! Losses, layers, optimizers and observers of a user's own that panic midway: the message reaches the
//! caller, and what was used is used again as if nothing had happened.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use drlim::loss::{Anchor, AnchorSums, BlockAnchorLoss, BlockLoss, BlockTripletLoss};
use drlim::{Cx, Isa, Par};

use crate::batch::{Batch, Kept, Losses, Plain, Rows};
use crate::calls::calls;
use crate::contexts;
use crate::support::{Element, tiers};

/// What those here say.
const TIRED: &str = "tired";

/// That a call panics with the message of whom it was given.
#[track_caller]
pub fn panics<R>(call: impl FnOnce() -> R) {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if message(panic.payload()) != Some(TIRED) {
                loud(panic);
            }
        }));
    });
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(_) => panic!("does not panic"),
        Err(payload) => assert_eq!(message(&*payload), Some(TIRED), "another message"),
    }
}

/// What a panic says.
fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
}

/// Counts what it is asked, and panics once.
pub struct Patience {
    asked: AtomicUsize,
    ends_at: usize,
}

impl Patience {
    pub fn until(ends_at: usize) -> Self {
        Patience { asked: AtomicUsize::new(0), ends_at }
    }

    pub fn ask(&self) {
        if self.asked.fetch_add(1, Ordering::Relaxed) == self.ends_at {
            panic!("{}", TIRED);
        }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Losses that lose their patience.
pub struct Tired<'l, T> {
    pub losses: Losses<'l, T>,
    pub patience: Patience,
}

macro_rules! tired {
    ($t:ident) => {
        impl BlockLoss<$t> for Tired<'_, $t> {
            fn eval_block(&self, isa: Isa, d2: &mut [$t], similar: &[bool], values: &mut [$t]) {
                self.patience.ask();
                self.losses.pairs.eval_block(isa, d2, similar, values);
            }

            fn curvature_block(&self, isa: Isa, d2: &mut [$t], similar: &[bool]) -> bool {
                self.patience.ask();
                self.losses.pairs.curvature_block(isa, d2, similar)
            }

            fn reach_block(&self) -> Option<$t> {
                self.patience.ask();
                self.losses.pairs.reach_block()
            }

            fn similar_slope_block(&self) -> Option<$t> {
                self.patience.ask();
                self.losses.pairs.similar_slope_block()
            }
        }

        impl BlockTripletLoss<$t> for Tired<'_, $t> {
            fn eval_block(&self, isa: Isa, d2: [&mut [$t]; 3], values: &mut [$t]) {
                self.patience.ask();
                self.losses.triplets.eval_block(isa, d2, values);
            }

            fn curvatures_block(&self, isa: Isa, curvatures: [&mut [$t]; 6]) -> bool {
                self.patience.ask();
                self.losses.triplets.curvatures_block(isa, curvatures)
            }

            fn swaps_block(&self) -> bool {
                self.losses.triplets.swaps_block()
            }
        }

        impl BlockAnchorLoss<$t> for Tired<'_, $t> {
            fn exponents_block(&self, isa: Isa, u: &mut [$t], rates: &mut [$t], similar: bool) {
                self.patience.ask();
                self.losses.anchors.exponents_block(isa, u, rates, similar);
            }

            fn anchor_block(&self, sums: &AnchorSums) -> Anchor {
                self.patience.ask();
                self.losses.anchors.anchor_block(sums)
            }

            fn weights_block(&self, isa: Isa, x: &mut [$t], similar: bool, terms: [&[$t]; 4]) {
                self.patience.ask();
                self.losses.anchors.weights_block(isa, x, similar, terms);
            }

            fn each_block(&self, isa: Isa, x: &mut [$t], second: &mut [$t], terms: [&[$t]; 4]) {
                self.patience.ask();
                self.losses.anchors.each_block(isa, x, second, terms);
            }

            fn looks_twice_block(&self) -> bool {
                self.patience.ask();
                self.losses.anchors.looks_twice_block()
            }

            fn shift_invariant_block(&self) -> bool {
                self.patience.ask();
                self.losses.anchors.shift_invariant_block()
            }

            fn scale_block(&self) -> Option<$t> {
                self.patience.ask();
                self.losses.anchors.scale_block()
            }

            fn ranks_block(&self) -> bool {
                self.patience.ask();
                self.losses.anchors.ranks_block()
            }
        }

        impl TiredLosses<$t> for Tired<'_, $t> {
            fn all(&self) -> Losses<'_, $t> {
                Losses { pairs: self, triplets: self, anchors: self }
            }
        }
    };
}
tired!(f32);
tired!(f64);

/// All at once.
pub trait TiredLosses<T> {
    fn all(&self) -> Losses<'_, T>;
}

/// Each call on a batch of one block, on one of several that the threads of a pool share, and by rows on
/// several tasks: it panics at its first question to the loss, midway and at the last.
fn goes_on<T: Element>(shape: [usize; 2], cx: Cx, only: &[&str])
where
    for<'l> Tired<'l, T>: TiredLosses<T>,
{
    let plain = Plain::<T>::new();
    let batch = Batch::new(shape, Rows::Apart);
    for call in calls::<T>().into_iter().filter(|call| call.loss) {
        if !only.is_empty() && !only.contains(&call.name) {
            continue;
        }
        let case = format!("{}, {shape:?}, {cx}", call.name);
        let run = |losses: Losses<'_, T>, kept: &mut Kept<T>| {
            (call.run)(&cx, &batch, losses, kept).unwrap()
        };
        let expected = run(plain.losses(), &mut Kept::new());
        let mut kept = Kept::new();
        let tired = |ends_at| Tired { losses: plain.losses(), patience: Patience::until(ends_at) };
        let endless = tired(usize::MAX);
        let of_endless = run(endless.all(), &mut kept);
        // Exponents are added up one by one where a loss of anchors is not one of lanes.
        let is_same = match call.name.contains("anchors") {
            true => of_endless.is_near(&expected),
            false => of_endless.bits() == expected.bits(),
        };
        assert!(is_same, "{case}");
        let questions = endless.patience.asked();
        assert!(questions > 0, "{case} asks its loss nothing");
        for ends_at in [0, questions / 2, questions - 1] {
            let tired = tired(ends_at);
            panics(|| run(tired.all(), &mut kept));
            // With what it kept, whatever state that is in.
            let again = run(plain.losses(), &mut kept).bits() == expected.bits();
            assert!(again, "{case}: other bits after a panic at question {ends_at}");
        }
    }
}

#[test]
fn a_loss_that_panics_leaves_nothing_behind() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for cx in contexts() {
        goes_on::<f32>([67, 19], cx, &[]);
        goes_on::<f64>([67, 2], cx, &[]);
        let by_rows = ["rows", "indexed", "triplet_rows"];
        goes_on::<f32>([2100, 33], cx, &by_rows);
        let in_blocks = [
            "all_pairs by labels",
            "all_pairs by a graph",
            "cross by labels",
            "all_anchors by labels",
            "cross_anchors by labels",
            "cross_anchors by position",
        ];
        goes_on::<f32>([300, 24], cx, &in_blocks);
        if cx.par == Par::Rayon {
            pool.install(|| goes_on::<f32>([2100, 33], cx, &by_rows));
            pool.install(|| goes_on::<f32>([300, 24], cx, &in_blocks));
        }
    }
    let isa = tiers()[0];
    let mined = ["triplets, all", "triplets, hardest", "triplets, semi-hard"];
    goes_on::<f32>([300, 24], Cx { isa, par: Par::Rayon }, &mined);
}
