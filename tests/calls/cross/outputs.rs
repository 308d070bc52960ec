//! What is written: the same bits for any number of threads, into matrices of any stride, in the caller's
//! scale.

use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
use drlim::loss::{Objective, Reduction};
use drlim::{Cx, MatMut, Par};

use super::sides::{Called, Sides};
use super::{MARGIN, serial};
use crate::support::element::bits;
use crate::support::{Element, Guarded, labels, tiers};

fn independent_of_threads<T: Element>() {
    for ([n, m], d) in [([517, 260], 17), ([130, 1100], 2), ([1100, 517], 40)] {
        let sides = Sides::<T>::random([n, m], d, 8);
        let [of_n, of_m] = [labels(n, 9), labels(m, 9)];
        let similar = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: Some(2) };
        for isa in tiers() {
            let cx = Cx { isa, par: Par::Rayon };
            let expected = sides.run(&serial(isa), Reduction::BalancedNonZero, (similar, None));
            let run = || sides.run(&cx, Reduction::BalancedNonZero, (similar, None));
            let pooled = [1, 2, 3, 7].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(run)
            });
            for Called { outcome, grads } in pooled.into_iter().chain([run()]) {
                assert_eq!(outcome, expected.outcome, "{n} and {m} x{d} on {isa}");
                for (got, expected) in grads.iter().zip(&expected.grads) {
                    assert_eq!(bits(got), bits(expected), "{n} and {m} x{d} on {isa}");
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    independent_of_threads::<f32>();
    independent_of_threads::<f64>();
}

fn strided<T: Element>() {
    let ([n, m], d) = ([45, 75], 21);
    let sides = Sides::<T>::random([n, m], d, 9);
    let [of_n, of_m] = [labels(n, 3), labels(m, 3)];
    let similar = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: None };
    let (loss, own) = (T::contrastive(MARGIN), Some(4));
    for isa in tiers() {
        let expected = sides.run(&serial(isa), Reduction::Sum, (similar, own));
        for (offset, gap) in [(0, 1), (3, 11), (15, 0)] {
            let [queries, keys] = [0, 1].map(|side| {
                let shape = [sides.rows[side], d];
                Guarded::new(offset + side, shape, d + gap, |i, k| sides.z[side][i * d + k])
            });
            let [mut of_queries, mut of_keys] =
                [n, m].map(|rows| Guarded::output(offset + 1, [rows, d], d + gap));
            let out = CrossOut::grads(of_queries.mat_mut(), of_keys.mat_mut());
            let outcome = cross(
                &serial(isa),
                &Objective::sum(&*loss),
                queries.mat(),
                keys.mat(),
                similar,
                own,
                out,
                &mut CrossScratch::new(),
            );
            assert_eq!(outcome.unwrap(), expected.outcome);
            assert_eq!(of_queries.bits(), bits(&expected.grads[0]), "gap {gap} on {isa}");
            assert_eq!(of_keys.bits(), bits(&expected.grads[1]), "gap {gap} on {isa}");
            of_queries.check("grad_queries");
            of_keys.check("grad_keys");
        }
    }
}

#[test]
fn rows_may_be_strided_and_misaligned() {
    strided::<f32>();
    strided::<f64>();
}

#[test]
fn scale_multiplies_gradients_alone_and_scratch_serves_batches_of_any_size() {
    let (loss, mut scratch) = (f64::contrastive(MARGIN), CrossScratch::new());
    for ([n, m], d) in [([200, 90], 30), ([2, 3], 2), ([40, 170], 70)] {
        let sides = Sides::<f64>::random([n, m], d, 10);
        let [queries, keys] = &[labels(n, 4), labels(m, 4)];
        let similar = CrossSimilar::Labels { queries, keys, ignored: None };
        let mut call = |scale| {
            let objective = Objective::sum(&*loss).scaled(scale);
            let mut grad = vec![f64::NAN; n * d];
            let out = CrossOut::grad_queries(MatMut::new(&mut grad, n, d).unwrap());
            let (cx, [queries, keys]) = (Cx::default(), [sides.mat(0), sides.mat(1)]);
            let value = cross(&cx, &objective, queries, keys, similar, None, out, &mut scratch);
            (value.unwrap(), grad)
        };
        let ((value, one), (scaled, other)) = (call(1.0), call(0.5));
        assert_eq!(value, scaled);
        assert!(one.iter().zip(&other).all(|(one, other)| 0.5 * one == *other));
    }
}
