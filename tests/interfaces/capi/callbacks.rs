//! Losses that the caller computes: the same as those of the crate, wherever they are called from; and what
//! comes of one that fails.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

use drlim::capi::*;

use crate::capi::{done, message, rows_mut, rows_of};

const ROWS: usize = 600;
const COLS: usize = 4;
const MARGIN: f64 = 0.7;

/// What the callbacks get.
#[derive(Default)]
struct Data {
    calls: AtomicUsize,
    /// Which call fails, counted from 1.
    fails: usize,
    /// What is tried to be used from inside.
    scratch: usize,
}

/// max(0, m - d)²/2 and d²/2.
unsafe extern "C" fn contrastive(
    data: *mut c_void,
    d2: *mut f64,
    similar: *const bool,
    values: *mut f64,
    n: usize,
) -> i32 {
    // SAFETY: what the header promises: n elements each, and the data that was given.
    let (data, d2, similar, values) = unsafe {
        (
            &*data.cast::<Data>(),
            std::slice::from_raw_parts_mut(d2, n),
            std::slice::from_raw_parts(similar, n),
            std::slice::from_raw_parts_mut(values, n),
        )
    };
    let call = data.calls.fetch_add(1, Ordering::Relaxed) + 1;
    for ((d2, &similar), value) in d2.iter_mut().zip(similar).zip(values) {
        let d = d2.sqrt();
        let gap = (MARGIN - d).max(0.0);
        *value = if similar { *d2 / 2.0 } else { gap * gap / 2.0 };
        *d2 = match (similar, d > 0.0) {
            (true, _) => 1.0,
            (false, true) => -gap / d,
            (false, false) => 0.0,
        };
    }
    if data.scratch != 0 {
        let (objective, z) = (own(data), [0.0; 4]);
        let similar = drlim_similar { labels: &[1, 1][0], ..Default::default() };
        // SAFETY: as the header asks, but for the scratch, which is in use.
        let status = unsafe {
            drlim_all_pairs_f64(
                null(),
                &objective,
                rows_of(&z, 2),
                &similar,
                rows_mut(&mut [0.0; 4], 2),
                data.scratch as *const drlim_scratch,
                null_mut(),
            )
        };
        return status.0;
    }
    if call == data.fails { 7 } else { 0 }
}

/// max(0, d²(a,p) - d²(a,n) + m), and the same by d²(p,n).
unsafe extern "C" fn squared_triplet(
    data: *mut c_void,
    ap: *mut f64,
    an: *mut f64,
    pn: *mut f64,
    values: *mut f64,
    n: usize,
) -> i32 {
    // SAFETY: what the header promises.
    unsafe {
        (*data.cast::<Data>()).calls.fetch_add(1, Ordering::Relaxed);
        for i in 0..n {
            let value = (*ap.add(i) - *an.add(i) + MARGIN).max(0.0);
            let slope = if value > 0.0 { 2.0 } else { 0.0 };
            *values.add(i) = value;
            (*ap.add(i), *an.add(i), *pn.add(i)) = (slope, -slope, 0.0);
        }
    }
    0
}

fn own(data: &Data) -> drlim_objective {
    drlim_objective {
        callback_f64: Some(contrastive),
        callback_data: (&raw const *data).cast_mut().cast(),
        ..drlim_objective_new(drlim_loss::CALLBACK, 1.0, drlim_reduction::MEAN)
    }
}

fn embeddings() -> Vec<f64> {
    (0..ROWS * COLS).map(|i| (i * i % 97) as f64 / 97.0).collect()
}

fn labels() -> Vec<i64> {
    (0..ROWS as i64).map(|i| i % 7).collect()
}

struct Found {
    status: drlim_status,
    outcome: drlim_outcome,
    grad: Vec<f64>,
}

fn all_pairs(objective: &drlim_objective, scratch: *const drlim_scratch) -> Found {
    let (z, labels, mut grad) = (embeddings(), labels(), vec![0.0; ROWS * COLS]);
    let similar = drlim_similar { labels: labels.as_ptr(), ..Default::default() };
    let mut outcome = drlim_outcome::default();
    let to = rows_mut(&mut grad, COLS);
    // SAFETY: all is as the header asks.
    let status = unsafe {
        drlim_all_pairs_f64(
            null(),
            objective,
            rows_of(&z, COLS),
            &similar,
            to,
            scratch,
            &mut outcome,
        )
    };
    Found { status, outcome, grad }
}

fn by_rows(objective: &drlim_objective) -> Found {
    let (z, mut grad) = (embeddings(), vec![0.0; ROWS * COLS]);
    let similar: Vec<bool> = (0..ROWS / 2).map(|i| i % 3 == 0).collect();
    let ((a, b), (ga, gb)) = (z.split_at(ROWS / 2 * COLS), grad.split_at_mut(ROWS / 2 * COLS));
    let out = drlim_rows_out {
        grad_a: rows_mut(ga, COLS),
        grad_b: rows_mut(gb, COLS),
        ..Default::default()
    };
    let (a, b, mut outcome) = (rows_of(a, COLS), rows_of(b, COLS), drlim_outcome::default());
    // SAFETY: all is as the header asks.
    let status = unsafe {
        drlim_rows_f64(
            null(),
            objective,
            a,
            b,
            similar.as_ptr(),
            null(),
            null(),
            &out,
            &mut outcome,
        )
    };
    Found { status, outcome, grad }
}

#[track_caller]
fn close(found: &Found, exact: &Found) {
    done(found.status);
    done(exact.status);
    assert_eq!(found.outcome.pairs, exact.outcome.pairs);
    assert_eq!(found.outcome.active, exact.outcome.active);
    assert!((found.outcome.value - exact.outcome.value).abs() < 1e-14);
    for (found, exact) in found.grad.iter().zip(&exact.grad) {
        assert!((found - exact).abs() < 1e-14, "{found} {exact}");
    }
}

#[test]
fn an_own_loss_is_the_same() {
    let data = Data::default();
    let exact = drlim_objective_new(drlim_loss::CONTRASTIVE, MARGIN, drlim_reduction::MEAN);
    close(&by_rows(&own(&data)), &by_rows(&exact));
    close(&all_pairs(&own(&data), null()), &all_pairs(&exact, null()));
    assert!(data.calls.load(Ordering::Relaxed) > 2);
}

#[test]
fn what_is_out_of_reach_is_skipped() {
    let (z, labels) = (embeddings(), (0..ROWS as i64).map(|i| i / 100).collect::<Vec<_>>());
    // Classes far from each other.
    let z: Vec<f64> =
        z.iter().enumerate().map(|(i, z)| z / 9.0 + (i / COLS / 100 * 50) as f64).collect();
    let similar = drlim_similar { labels: labels.as_ptr(), ..Default::default() };
    let calls = |reach: f64| {
        let data = Data::default();
        let objective = drlim_objective { callback_reach: reach, ..own(&data) };
        let (mut grad, mut outcome) = (vec![0.0; ROWS * COLS], drlim_outcome::default());
        let to = rows_mut(&mut grad, COLS);
        // SAFETY: all is as the header asks.
        done(unsafe {
            drlim_all_pairs_f64(
                null(),
                &objective,
                rows_of(&z, COLS),
                &similar,
                to,
                null(),
                &mut outcome,
            )
        });
        (data.calls.load(Ordering::Relaxed), outcome, grad)
    };
    let ((every, exact, exact_grad), (few, found, grad)) = (calls(0.0), calls(MARGIN));
    assert_eq!((found, grad), (exact, exact_grad));
    assert!(few < every, "{few} of {every}");
    for reach in [-1.0, f64::NAN, f64::INFINITY] {
        let objective = drlim_objective { callback_reach: reach, ..own(&Data::default()) };
        assert_eq!(by_rows(&objective).status, drlim_status::VALUE);
        assert!(message().contains("callback_reach"), "{}", message());
    }
}

#[test]
fn an_own_loss_of_triplets_is_the_same() {
    let (z, labels, data) = (embeddings(), labels(), Data::default());
    let similar = drlim_similar { labels: labels.as_ptr(), ..Default::default() };
    let exact =
        drlim_triplet_objective_new(drlim_triplet_loss::SQUARED, MARGIN, drlim_reduction::MEAN);
    for swaps in [0, 1] {
        let own = drlim_triplet_objective {
            loss: drlim_triplet_loss::CALLBACK,
            callback_f64: Some(squared_triplet),
            callback_data: (&raw const data).cast_mut().cast(),
            callback_swaps: swaps,
            ..exact
        };
        let [found, exact] = [&own, &exact].map(|objective| {
            let (mut grad, mut outcome) = (vec![0.0; ROWS * COLS], drlim_outcome::default());
            let (z, to, mining) =
                (rows_of(&z, COLS), rows_mut(&mut grad, COLS), drlim_mining::HARDEST);
            // SAFETY: all is as the header asks.
            let status = unsafe {
                drlim_triplets_f64(null(), objective, z, &similar, mining, to, null(), &mut outcome)
            };
            Found { status, outcome, grad }
        });
        close(&found, &exact);
    }
}

#[test]
fn a_loss_that_fails_ends_its_call_alone() {
    let mut scratch = null_mut();
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_scratch_new(&mut scratch) });
    let sound = Data::default();
    let exact = all_pairs(&own(&sound), scratch);
    for fails in [1, 5] {
        let data = Data { fails, ..Data::default() };
        for found in
            [all_pairs(&own(&data), scratch), by_rows(&own(&Data { fails: 1, ..Data::default() }))]
        {
            assert_eq!(found.status, drlim_status::CALLBACK);
            assert_eq!(message(), "the loss returned 7");
            assert_eq!(found.outcome, drlim_outcome::default());
        }
        let again = all_pairs(&own(&sound), scratch);
        done(again.status);
        assert_eq!((again.outcome, again.grad), (exact.outcome, exact.grad.clone()));
    }
    // SAFETY: a handle of this test, not used any more.
    unsafe { drlim_scratch_free(scratch) };
}

#[test]
fn a_scratch_in_use_is_refused() {
    let mut scratch = null_mut();
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_scratch_new(&mut scratch) });
    let data = Data { scratch: scratch as usize, ..Data::default() };
    let found = all_pairs(&own(&data), scratch);
    assert_eq!(found.status, drlim_status::CALLBACK);
    assert_eq!(message(), format!("the loss returned {}", drlim_status::BUSY.0));
    done(all_pairs(&own(&Data::default()), scratch).status);
    // SAFETY: a handle of this test, not used any more.
    unsafe { drlim_scratch_free(scratch) };
}

/// What callbacks are shown.
#[derive(Default)]
struct Seen {
    shown: AtomicUsize,
    similar: AtomicUsize,
    /// Calls of nothing, and squared distances that no pair of these batches has: 0 and NaN.
    odd: AtomicUsize,
}

impl Seen {
    fn note(&self, shown: usize, similar: usize, odd: usize) {
        for (to, count) in [(&self.shown, shown), (&self.similar, similar), (&self.odd, odd)] {
            to.fetch_add(count, Ordering::Relaxed);
        }
        if shown == 0 {
            self.odd.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// That each pair of the outcome has been shown so many times.
    #[track_caller]
    fn check(&self, outcome: drlim_outcome, times: u64, case: &str) {
        let [shown, similar, odd] =
            [&self.shown, &self.similar, &self.odd].map(|count| count.swap(0, Ordering::Relaxed));
        let expected = [times * outcome.pairs, times * outcome.similar.pairs, 0];
        assert_eq!([shown, similar, odd].map(|count| count as u64), expected, "{case}");
    }
}

macro_rules! shown {
    ($t:ident, $callback:ident, $rows:ident, $indexed:ident, $all_pairs:ident, $cross:ident,
     $triplet_rows:ident, $triplets:ident) => {
        mod $t {
            use super::*;

            unsafe extern "C" fn look(
                data: *mut c_void,
                d2: *mut $t,
                similar: *const bool,
                values: *mut $t,
                n: usize,
            ) -> i32 {
                // SAFETY: what the header promises.
                let (seen, d2, similar, values) = unsafe {
                    (
                        &*data.cast::<Seen>(),
                        std::slice::from_raw_parts_mut(d2, n),
                        std::slice::from_raw_parts(similar, n),
                        std::slice::from_raw_parts_mut(values, n),
                    )
                };
                let odd = d2.iter().filter(|&&d2| d2.is_nan() || d2 == 0.0).count();
                seen.note(n, similar.iter().filter(|&&similar| similar).count(), odd);
                values.copy_from_slice(d2);
                d2.fill(2.0);
                0
            }

            unsafe extern "C" fn look_at_triplets(
                data: *mut c_void,
                ap: *mut $t,
                an: *mut $t,
                pn: *mut $t,
                values: *mut $t,
                n: usize,
            ) -> i32 {
                // SAFETY: what the header promises.
                unsafe {
                    let odd = (0..n).filter(|&i| {
                        [*ap.add(i), *an.add(i)].iter().any(|d2| d2.is_nan() || *d2 == 0.0)
                    });
                    (*data.cast::<Seen>()).note(n, 0, odd.count());
                    for i in 0..n {
                        *values.add(i) = *ap.add(i);
                        (*ap.add(i), *an.add(i), *pn.add(i)) = (2.0, 0.0, 0.0);
                    }
                }
                0
            }

            /// Distinct rows; those of a label, and every third one, hold NaN where they are left out.
            fn rows(n: usize, d: usize, left_out: impl Fn(usize) -> bool) -> Vec<$t> {
                let value = |at: usize| match left_out(at / d) {
                    true => $t::NAN,
                    false => (at / d) as $t + ((at * at * 31) % 97) as $t / 200.0,
                };
                (0..n * d).map(value).collect()
            }

            #[test]
            fn a_loss_is_shown_the_pairs_of_the_batch() {
                for (n, d) in
                    [2, 3, 33, 100, 301].into_iter().flat_map(|n| [1, 2, 3, 7, 140].map(|d| (n, d)))
                {
                    pairs(n, d);
                    triplets(n, d);
                }
            }

            fn pairs(n: usize, d: usize) {
                let case = format!("{n} x {d}");
                let labels: Vec<i64> = (0..n as i64).map(|i| i % 5).collect();
                let seen = Seen::default();
                let objective = drlim_objective {
                    $callback: Some(look),
                    callback_data: (&raw const seen).cast_mut().cast(),
                    ..drlim_objective_new(drlim_loss::CALLBACK, 1.0, drlim_reduction::SUM)
                };
                let (z, left_out) = (rows(n, d, |i| i % 5 == 3), 3);
                let mut grad = vec![0.0; n * d];
                let similar = drlim_similar {
                    labels: labels.as_ptr(),
                    ignored_label: &left_out,
                    ..Default::default()
                };
                let mut outcome = drlim_outcome::default();
                // SAFETY: all calls are as the header asks.
                unsafe {
                    done($all_pairs(
                        null(),
                        &objective,
                        rows_of(&z, d),
                        &similar,
                        rows_mut(&mut grad, d),
                        null(),
                        &mut outcome,
                    ));
                    seen.check(outcome, 1, &case);
                    let queries = n / 2;
                    let own = 0;
                    let similar = drlim_cross_similar {
                        query_labels: labels.as_ptr(),
                        key_labels: labels.as_ptr(),
                        ignored_label: &left_out,
                        graph: null(),
                        first_query: 0,
                        first_key: 0,
                        own: &own,
                        first_key_of_queries: null(),
                    };
                    let to = rows_mut(&mut grad[..queries * d], d);
                    done($cross(
                        null(),
                        &objective,
                        rows_of(&z[..queries * d], d),
                        rows_of(&z, d),
                        &similar,
                        to,
                        crate::capi::nowhere(),
                        null(),
                        &mut outcome,
                    ));
                    seen.check(outcome, 1, &case);
                }
                let z = rows(n, d, |i| i / 2 % 3 == 1);
                let (ignored, flags): (Vec<bool>, Vec<bool>) =
                    (0..n / 2).map(|i| (i % 3 == 1, i % 2 == 0)).unzip();
                let every: Vec<$t> = z.chunks(d).step_by(2).flatten().copied().collect();
                let other: Vec<$t> = z.chunks(d).skip(1).step_by(2).flatten().copied().collect();
                let (every, other) = (&every[..n / 2 * d], &other[..n / 2 * d]);
                let index: Vec<u32> = (0..n as u32 / 2 * 2).collect();
                // SAFETY: all calls are as the header asks.
                unsafe {
                    done($rows(
                        null(),
                        &objective,
                        rows_of(every, d),
                        rows_of(other, d),
                        flags.as_ptr(),
                        null(),
                        ignored.as_ptr(),
                        null(),
                        &mut outcome,
                    ));
                    seen.check(outcome, 1, &case);
                    let mut list = null_mut();
                    done(drlim_pairs_new(n, index.as_ptr().cast(), n / 2, &mut list));
                    done($indexed(
                        null(),
                        &objective,
                        rows_of(&z, d),
                        list,
                        flags.as_ptr(),
                        null(),
                        ignored.as_ptr(),
                        null(),
                        null(),
                        &mut outcome,
                    ));
                    drlim_pairs_free(list);
                    seen.check(outcome, 1, &case);
                }
            }

            fn triplets(n: usize, d: usize) {
                let labels: Vec<i64> = (0..n as i64).map(|i| i % 5).collect();
                let similar = drlim_similar { labels: labels.as_ptr(), ..Default::default() };
                let ignored: Vec<bool> = (0..n).map(|i| i % 3 == 1).collect();
                let inputs = [0, 1, 2].map(|k| rows(n, d, |i| i % 3 == 1 && i % 2 == k % 2));
                let inputs = [0, 1, 2].map(|k| {
                    inputs[k].iter().map(|x| x + (k * k * 1000) as $t).collect::<Vec<_>>()
                });
                let z = rows(n, d, |_| false);
                let seen = Seen::default();
                for swaps in [0, 1] {
                    let objective = drlim_triplet_objective {
                        $callback: Some(look_at_triplets),
                        callback_data: (&raw const seen).cast_mut().cast(),
                        callback_swaps: swaps,
                        ..drlim_triplet_objective_new(
                            drlim_triplet_loss::CALLBACK,
                            1.0,
                            drlim_reduction::SUM,
                        )
                    };
                    let mut outcome = drlim_outcome::default();
                    let case = format!("{n} x {d}, swaps {swaps}");
                    let [a, p, q] = inputs.each_ref().map(|z| rows_of(z, d));
                    // SAFETY: all calls are as the header asks.
                    unsafe {
                        done($triplet_rows(
                            null(),
                            &objective,
                            a,
                            p,
                            q,
                            null(),
                            ignored.as_ptr(),
                            null(),
                            &mut outcome,
                        ));
                        seen.check(outcome, 1, &case);
                        for mining in
                            [drlim_mining::ALL, drlim_mining::HARDEST, drlim_mining::SEMI_HARD]
                        {
                            let mut grad = vec![0.0; n * d];
                            done($triplets(
                                null(),
                                &objective,
                                rows_of(&z, d),
                                &similar,
                                mining,
                                rows_mut(&mut grad, d),
                                null(),
                                &mut outcome,
                            ));
                            let twice = swaps == 1 && mining == drlim_mining::ALL;
                            seen.check(outcome, if twice { 2 } else { 1 }, &case);
                        }
                    }
                }
            }
        }
    };
}
shown!(
    f32,
    callback_f32,
    drlim_rows_f32,
    drlim_indexed_f32,
    drlim_all_pairs_f32,
    drlim_cross_f32,
    drlim_triplet_rows_f32,
    drlim_triplets_f32
);
shown!(
    f64,
    callback_f64,
    drlim_rows_f64,
    drlim_indexed_f64,
    drlim_all_pairs_f64,
    drlim_cross_f64,
    drlim_triplet_rows_f64,
    drlim_triplets_f64
);
