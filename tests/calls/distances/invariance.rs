//! What results do not depend on: alignment, stride, threads, the order of the sides, other rows.

use drlim::{Cx, Par};

use crate::distances::batch::{Batch, Layout};
use crate::distances::{COLS, DISTANCES, serial};
use crate::support::element::bits;
use crate::support::{Element, Guarded, tiers};

fn alignment_in<T: Element>() {
    for cols in [1, 2, 5, 15, 16, 17, 33, 65, 100] {
        for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
            let run = |offsets, gaps| {
                let mut batch = Batch::<T>::new([37, cols], Layout { offsets, gaps }, 9);
                batch.run(&serial(isa), distance);
                batch.bits()
            };
            let aligned = run([0; 6], [0; 4]);
            for offset in 0..16 {
                let offsets = [1, 3, 5, 7, 9, 11].map(|m| offset * m % 16);
                let gaps = [0, 1, 2, 3].map(|m| (offset + m) % 4);
                let moved = run(offsets, gaps);
                assert!(
                    moved == aligned,
                    "{isa}: {distance:?}, {cols} columns, {offsets:?}, {gaps:?}"
                );
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_alignment_or_stride() {
    alignment_in::<f32>();
    alignment_in::<f64>();
}

fn threads_in<T: Element>() {
    let pools = [1, 2, 3, 7]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    // Several tasks each, and a number of rows that no block divides.
    for shape in [[40_003, 2], [5_003, 33], [1_001, 257]] {
        let layout = Layout { offsets: [0, 1, 2, 3, 4, 5], gaps: [0, 1, 0, 2] };
        let mut batch = Batch::<T>::new(shape, layout, 12);
        for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
            batch.run(&serial(isa), distance);
            let expected = batch.bits();
            for pool in &pools {
                for run in 0..2 {
                    pool.install(|| batch.run(&Cx { isa, par: Par::Rayon }, distance));
                    let threads = pool.current_num_threads();
                    let which =
                        format!("{isa}: {distance:?}, {shape:?}, {threads} threads, run {run}");
                    assert!(batch.bits() == expected, "{which}");
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads_or_runs() {
    threads_in::<f32>();
    threads_in::<f64>();
}

fn sides_in<T: Element>() {
    for cols in COLS {
        let mut batch = Batch::<T>::new([33, cols], Layout::DENSE, 3);
        for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
            // As numbers: a gradient of 0 may change its sign.
            let written = |batch: &Batch<T>| {
                [&batch.out, &batch.grads[0], &batch.grads[1]].map(Guarded::wide)
            };
            batch.run(&serial(isa), distance);
            let [out, grad_a, grad_b] = written(&batch);
            std::mem::swap(&mut batch.a, &mut batch.b);
            batch.run(&serial(isa), distance);
            let swapped = [out, grad_b, grad_a];
            assert!(written(&batch) == swapped, "{isa}: {distance:?}, {cols} columns");
        }
    }
}

#[test]
fn both_sides_can_change_places() {
    sides_in::<f32>();
    sides_in::<f64>();
}

/// Rows are computed one by one: neither the batch around a row nor its place in it matters.
#[test]
fn a_row_does_not_depend_on_the_others() {
    for (cols, distance) in [2, 17, 100, 2049].into_iter().flat_map(|c| DISTANCES.map(|d| (c, d))) {
        let mut batch = Batch::<f32>::new([35, cols], Layout::DENSE, 4);
        for isa in tiers() {
            batch.run(&serial(isa), distance);
            for i in [0, 1, 15, 16, 34] {
                let upstream = [batch.upstream.row(0)[i]];
                let mut alone = Batch::of(cols, batch.a.row(i), batch.b.row(i), &upstream);
                alone.run(&serial(isa), distance);
                assert_eq!(alone.out.row(0), &batch.out.row(0)[i..i + 1], "{isa}: {distance:?}");
                for side in 0..2 {
                    let [alone, row] = [alone.grads[side].row(0), batch.grads[side].row(i)];
                    assert_eq!(bits(alone), bits(row), "{isa}: {distance:?}, row {i}, {cols}");
                }
            }
        }
    }
}
