//! Losses that the caller computes, in both element types: through each call that takes one they give what the
//! crate's own give, and a loss of triplets gets the third distance only where it asks for it.

use std::ffi::c_void;
use std::ptr::null;
use std::sync::atomic::{AtomicUsize, Ordering};

use drlim::capi::*;

use crate::capi::{done, rows_mut, rows_of};

const ROWS: usize = 12;
const COLS: usize = 4;
const MARGIN: f64 = 0.75;

const LABELS: [i64; ROWS] = [1, 1, 2, 2, 3, 3, 4, 4, 1, 1, 2, 2];

macro_rules! own_losses {
    ($T:ident, $callback:ident, $rows:ident, $indexed:ident, $all_pairs:ident, $cross:ident, $triplet_rows:ident,
        $triplets:ident) => {
        mod $T {
            use super::*;

            /// d²/2 and max(0, m - d)²/2. Counts its calls.
            unsafe extern "C" fn contrastive(
                calls: *mut c_void,
                d2: *mut $T,
                similar: *const bool,
                values: *mut $T,
                n: usize,
            ) -> i32 {
                // SAFETY: what the header promises: n elements each, and the data that was given.
                unsafe {
                    (*calls.cast::<AtomicUsize>()).fetch_add(1, Ordering::Relaxed);
                    for i in 0..n {
                        let (square, d) = (*d2.add(i), (*d2.add(i)).sqrt());
                        let gap = (MARGIN as $T - d).max(0.0);
                        let similar = *similar.add(i);
                        *values.add(i) = if similar { square / 2.0 } else { gap * gap / 2.0 };
                        *d2.add(i) = match (similar, d > 0.0) {
                            (true, _) => 1.0,
                            (false, true) => -gap / d,
                            (false, false) => 0.0,
                        };
                    }
                }
                0
            }

            /// max(0, ap - min(an, pn) + m), where pn is 0 unless it is asked for. Counts those that are not 0.
            unsafe extern "C" fn margin(
                third: *mut c_void,
                d2_ap: *mut $T,
                d2_an: *mut $T,
                d2_pn: *mut $T,
                values: *mut $T,
                n: usize,
            ) -> i32 {
                // SAFETY: what the header promises: n elements each, and the data that was given.
                unsafe {
                    for i in 0..n {
                        let [ap, an, pn] = [d2_ap, d2_an, d2_pn].map(|d2| (*d2.add(i)).sqrt());
                        if pn != 0.0 {
                            (*third.cast::<AtomicUsize>()).fetch_add(1, Ordering::Relaxed);
                        }
                        let swaps = pn > 0.0 && pn < an;
                        let value = (ap - if swaps { pn } else { an } + MARGIN as $T).max(0.0);
                        let slope = |d: $T| if value > 0.0 && d > 0.0 { 1.0 / d } else { 0.0 };
                        *values.add(i) = value;
                        *d2_ap.add(i) = slope(ap);
                        *d2_an.add(i) = if swaps { 0.0 } else { -slope(an) };
                        *d2_pn.add(i) = if swaps { -slope(pn) } else { 0.0 };
                    }
                }
                0
            }

            fn embeddings(seed: usize) -> Vec<$T> {
                (0..ROWS * COLS).map(|i| ((i + seed) * (i + seed) % 23) as $T / 32.0).collect()
            }

            type Found = (drlim_outcome, Vec<$T>);

            #[track_caller]
            fn close((outcome, grad): &Found, (exact, exact_grad): &Found) {
                let close = 8.0 * f64::from($T::EPSILON);
                assert_eq!([outcome.pairs, outcome.active], [exact.pairs, exact.active]);
                assert!(exact.value > 0.0 && exact_grad.iter().any(|&g| g != 0.0));
                assert!((outcome.value - exact.value).abs() <= close * exact.value);
                for (found, exact) in grad.iter().zip(exact_grad) {
                    assert!(f64::from((found - exact).abs()) <= close, "{found} {exact}");
                }
            }

            /// What a call reports, and the gradients that it writes into room for two batches.
            fn found(
                call: impl FnOnce([drlim_matrix_mut<$T>; 2], *mut drlim_outcome) -> drlim_status,
            ) -> Found {
                let (mut grads, mut outcome) = ([0.0; 2 * ROWS * COLS], drlim_outcome::default());
                let (first, second) = grads.split_at_mut(ROWS * COLS);
                done(call([rows_mut(first, COLS), rows_mut(second, COLS)], &mut outcome));
                (outcome, grads.to_vec())
            }

            #[test]
            fn of_pairs() {
                let (z, keys, calls) = (embeddings(0), embeddings(7), AtomicUsize::new(0));
                let exact =
                    drlim_objective_new(drlim_loss::CONTRASTIVE, MARGIN, drlim_reduction::MEAN);
                let own = drlim_objective {
                    loss: drlim_loss::CALLBACK,
                    $callback: Some(contrastive),
                    callback_data: (&raw const calls).cast_mut().cast(),
                    ..exact
                };
                let flags: Vec<bool> = (0..ROWS).map(|i| i % 3 == 0).collect();
                let pairs: Vec<u32> = (0..2 * ROWS).map(|i| (i * 7 % ROWS) as u32).collect();
                let mut list = std::ptr::null_mut();
                // SAFETY: all is as the header asks.
                done(unsafe { drlim_pairs_new(ROWS, pairs.as_ptr(), ROWS, &mut list) });
                let labels = LABELS.as_ptr();
                let similar = drlim_similar { labels, ..Default::default() };
                let across = drlim_cross_similar {
                    query_labels: labels,
                    key_labels: labels,
                    ..Default::default()
                };
                let (z, keys, flags) = (rows_of(&z, COLS), rows_of(&keys, COLS), flags.as_ptr());
                let all = |of: &drlim_objective| {
                    // SAFETY: all is as the header asks, here and below.
                    let rows = found(|[grad_a, grad_b], outcome| unsafe {
                        let out = drlim_rows_out { grad_a, grad_b, ..Default::default() };
                        $rows(null(), of, z, keys, flags, null(), null(), &out, outcome)
                    });
                    // SAFETY: as above.
                    let indexed = found(|[grad, _], outcome| unsafe {
                        let out = drlim_indexed_out { grad, ..Default::default() };
                        $indexed(null(), of, z, list, flags, null(), null(), &out, null(), outcome)
                    });
                    // SAFETY: as above.
                    let all_pairs = found(|[grad, _], outcome| unsafe {
                        $all_pairs(null(), of, z, &similar, grad, null(), outcome)
                    });
                    // SAFETY: as above.
                    let cross = found(|[of_z, of_keys], outcome| unsafe {
                        $cross(null(), of, z, keys, &across, of_z, of_keys, null(), outcome)
                    });
                    [rows, indexed, all_pairs, cross]
                };
                let exact = all(&exact);
                assert_eq!(calls.load(Ordering::Relaxed), 0);
                for (found, exact) in all(&own).iter().zip(&exact) {
                    close(found, exact);
                }
                assert!(calls.load(Ordering::Relaxed) >= 4);
                // SAFETY: a handle of this test, not used any more.
                unsafe { drlim_pairs_free(list) };
            }

            #[test]
            fn of_triplets() {
                let z = embeddings(0);
                let similar = drlim_similar { labels: LABELS.as_ptr(), ..Default::default() };
                let [anchor, positive, negative] = [0, 1, 2]
                    .map(|at| rows_of(&z[at * ROWS / 3 * COLS..][..ROWS / 3 * COLS], COLS));
                for (loss, swaps) in
                    [(drlim_triplet_loss::MARGIN, false), (drlim_triplet_loss::MARGIN_SWAP, true)]
                {
                    let third = AtomicUsize::new(0);
                    let exact = drlim_triplet_objective_new(loss, MARGIN, drlim_reduction::MEAN);
                    let own = drlim_triplet_objective {
                        loss: drlim_triplet_loss::CALLBACK,
                        $callback: Some(margin),
                        callback_data: (&raw const third).cast_mut().cast(),
                        callback_swaps: swaps.into(),
                        ..exact
                    };
                    let by_rows = |of: &drlim_triplet_objective| {
                        found(|[grad, _], outcome| {
                            let part = |at: usize| drlim_matrix_mut {
                                data: grad.data.wrapping_add(at * ROWS / 3 * COLS),
                                rows: ROWS / 3,
                                ..grad
                            };
                            let out = drlim_triplet_rows_out {
                                grad_anchor: part(0),
                                grad_positive: part(1),
                                grad_negative: part(2),
                                ..Default::default()
                            };
                            let (no_weights, none_ignored) = (null(), null());
                            // SAFETY: all is as the header asks.
                            unsafe {
                                $triplet_rows(
                                    null(),
                                    of,
                                    anchor,
                                    positive,
                                    negative,
                                    no_weights,
                                    none_ignored,
                                    &out,
                                    outcome,
                                )
                            }
                        })
                    };
                    close(&by_rows(&own), &by_rows(&exact));
                    for mining in
                        [drlim_mining::ALL, drlim_mining::HARDEST, drlim_mining::SEMI_HARD]
                    {
                        let mined = |of: &drlim_triplet_objective| {
                            let z = rows_of(&z, COLS);
                            // SAFETY: all is as the header asks.
                            found(|[grad, _], outcome| unsafe {
                                $triplets(null(), of, z, &similar, mining, grad, null(), outcome)
                            })
                        };
                        close(&mined(&own), &mined(&exact));
                    }
                    assert_eq!(third.load(Ordering::Relaxed) > 0, swaps);
                }
            }
        }
    };
}

own_losses!(
    f32,
    callback_f32,
    drlim_rows_f32,
    drlim_indexed_f32,
    drlim_all_pairs_f32,
    drlim_cross_f32,
    drlim_triplet_rows_f32,
    drlim_triplets_f32
);
own_losses!(
    f64,
    callback_f64,
    drlim_rows_f64,
    drlim_indexed_f64,
    drlim_all_pairs_f64,
    drlim_cross_f64,
    drlim_triplet_rows_f64,
    drlim_triplets_f64
);
