//! Every lane operation on every tier, in both precisions, against its scalar meaning.
//!
//! "The same" is to the last bit, except that any NaN equals any other where an operation computes
//! rather than moves bits.

use std::fmt::Debug;

use crate::support::element::{bits, same};
use crate::support::{Element, Guarded, Random, tiers};
use drlim::simd::{Kernel, Simd};
use drlim::{Isa, Real, Tier};

/// A test whose body is compiled as kernels are, for the lanes `$s` of type `$S` over elements `$T`
/// of a tier `$isa`, and runs for all of them.
macro_rules! on_all_lanes {
    ($(#[$meta:meta])* fn $name:ident<$T:ident, $S:ident>($s:ident, $isa:ident) $body:block) => {
        #[test]
        $(#[$meta])*
        fn $name() {
            struct Body(Isa);
            impl<$T: Element> Kernel<$T> for Body {
                type Output = ();
                #[inline(always)]
                fn run<$S: Simd<$T>>(self, $s: $S) {
                    let $isa = self.0;
                    println!("lanes of {} on {}", <$T as Real>::NAME, $isa);
                    $body
                }
            }
            for isa in tiers() {
                f32::dispatch(isa, Body(isa));
                f64::dispatch(isa, Body(isa));
            }
        }
    };
}

/// The elements of a vector.
#[inline(always)]
fn elements<T: Element, S: Simd<T>>(s: S, v: S::F) -> Vec<T> {
    let mut out = vec![T::NAN; S::LANES];
    s.store(v, &mut out);
    out
}

/// The truth values of a mask.
#[inline(always)]
fn truths<T: Element, S: Simd<T>>(s: S, m: S::M) -> Vec<bool> {
    elements(s, s.select(m, s.splat(T::ONE), s.splat(T::ZERO)))
        .iter()
        .map(|&x| x == T::ONE)
        .collect()
}

/// Awkward numbers, plain ones and any bit patterns, a multiple of all widths in number.
fn samples<T: Element>() -> Vec<T> {
    let mut random = Random::new(1);
    let mut samples = T::awkward();
    samples.extend((0..100).map(|_| random.between::<T>(-4.0, 4.0)));
    samples.extend((0..4096).map(|_| random.pattern::<T>()));
    samples.truncate(samples.len() / 64 * 64);
    samples
}

/// Pairs of samples: every awkward number with every other, then any with any.
fn sample_pairs<T: Element>() -> (Vec<T>, Vec<T>) {
    let awkward = T::awkward();
    let mut pairs: Vec<(T, T)> =
        awkward.iter().flat_map(|&a| awkward.iter().map(move |&b| (a, b))).collect();
    let samples = samples();
    let shifted = samples.iter().cycle().skip(7);
    pairs.extend(samples.iter().copied().zip(shifted.copied()));
    pairs.truncate(pairs.len() / 64 * 64);
    pairs.into_iter().unzip()
}

#[track_caller]
fn check<T: Element>(inputs: &[T], got: T, expected: T) {
    assert!(same(got, expected), "of {inputs:?}: got {got:?}, expected {expected:?}");
}

/// `lanes` is `scalar` in each lane.
#[inline(always)]
fn check_unary<T: Element, S: Simd<T>>(
    s: S,
    lanes: impl Fn(S::F) -> S::F,
    scalar: impl Fn(T) -> T,
) {
    for x in samples::<T>().chunks(S::LANES) {
        let got = elements(s, lanes(s.load(x)));
        for (&x, &got) in x.iter().zip(&got) {
            check(&[x], got, scalar(x));
        }
    }
}

/// `lanes` moves the bits of its operand as `scalar` does, those of a NaN too.
#[inline(always)]
fn check_bits<T: Element, S: Simd<T>>(
    s: S,
    lanes: impl Fn(S::F, S::F) -> S::F,
    scalar: impl Fn(u64, u64) -> u64,
) {
    let (a, b) = sample_pairs::<T>();
    for (a, b) in a.chunks(S::LANES).zip(b.chunks(S::LANES)) {
        let got = elements(s, lanes(s.load(a), s.load(b)));
        let expected: Vec<u64> = a.iter().zip(b).map(|(a, b)| scalar(a.bits(), b.bits())).collect();
        assert_eq!(bits(&got), expected, "of {a:?} and {b:?}");
    }
}

/// `lanes` is `scalar` in each lane.
#[inline(always)]
fn check_binary<T: Element, S: Simd<T>>(
    s: S,
    lanes: impl Fn(S::F, S::F) -> S::F,
    scalar: impl Fn(T, T) -> T,
) {
    let (a, b) = sample_pairs::<T>();
    for (a, b) in a.chunks(S::LANES).zip(b.chunks(S::LANES)) {
        let got = elements(s, lanes(s.load(a), s.load(b)));
        for ((&a, &b), &got) in a.iter().zip(b).zip(&got) {
            check(&[a, b], got, scalar(a, b));
        }
    }
}

/// `lanes` is `scalar` in each lane.
#[inline(always)]
fn check_comparison<T: Element, S: Simd<T>>(
    s: S,
    lanes: impl Fn(S::F, S::F) -> S::M,
    scalar: impl Fn(T, T) -> bool,
) {
    let (a, b) = sample_pairs::<T>();
    for (a, b) in a.chunks(S::LANES).zip(b.chunks(S::LANES)) {
        let mask = lanes(s.load(a), s.load(b));
        let expected: Vec<bool> = a.iter().zip(b).map(|(&a, &b)| scalar(a, b)).collect();
        assert_same(truths(s, mask), expected.clone(), (a, b));
        assert_eq!(s.count(mask) as usize, expected.iter().filter(|&&x| x).count());
    }
}

#[track_caller]
fn assert_same<V: PartialEq + Debug>(got: V, expected: V, of: impl Debug) {
    assert_eq!(got, expected, "of {of:?}");
}

on_all_lanes! {
    fn the_vectors_are_as_wide_as_the_tier_says<T, S>(_s, isa) {
        let bytes = match isa.tier() {
            Tier::Avx512 => 64,
            _ => 32,
        };
        assert_eq!(S::LANES * size_of::<T>(), bytes);
    }
}

on_all_lanes! {
    fn loads_fill_up_with_zeros_and_stores_stop_at_the_end<T, S>(s, _isa) {
        for len in 0..=2 * S::LANES {
            for offset in 0..S::LANES {
                // The canaries beside the row are NaN: read by mistake, they show in the result.
                let source = Guarded::new(offset, [1, len], len, |_, k| T::from_f64(k as f64 + 1.0));
                let v = s.load(source.row(0));
                let mut expected = source.row(0).to_vec();
                expected.resize(S::LANES.max(len), T::ZERO);
                expected.truncate(S::LANES);
                assert_eq!(elements(s, v), expected, "loaded {len}");

                let mut target = Guarded::output(offset, [1, len], len);
                s.store(v, target.slice_mut());
                target.check("store");
                expected.resize(len, T::NAN);
                assert_eq!(bits(target.row(0)), bits(&expected), "stored {len}");
            }
        }
    }
}

on_all_lanes! {
    fn splat_load_and_store_keep_all_bits<T, S>(s, _isa) {
        for x in samples::<T>().chunks(S::LANES) {
            assert_eq!(bits(&elements(s, s.load(x))), bits(x));
            assert_eq!(bits(&elements(s, s.splat(x[0]))), vec![x[0].bits(); S::LANES]);
        }
    }
}

on_all_lanes! {
    fn masks_hold_the_first_truth_values<T, S>(s, _isa) {
        let mut random = Random::new(2);
        for len in 0..=2 * S::LANES {
            let flags: Vec<bool> = (0..len).map(|_| random.flag(0.5)).collect();
            // An array of its own length and place, so that a read past its end would be seen.
            let flags = flags.into_boxed_slice();
            let mask = s.mask(&flags);
            let mut expected = flags.to_vec();
            expected.resize(S::LANES, false);
            assert_eq!(s.count(mask) as usize, expected.iter().filter(|&&x| x).count());
            assert_eq!(truths(s, mask), expected);
        }
    }
}

on_all_lanes! {
    fn a_mask_of_part_of_a_slice_ends_where_the_part_does<T, S>(s, _isa) {
        let all = vec![true; 3 * S::LANES];
        for len in 0..=S::LANES {
            for start in 0..S::LANES {
                assert_eq!(s.count(s.mask(&all[start..start + len])) as usize, len);
            }
        }
    }
}

on_all_lanes! {
    fn first_counts_lanes_from_the_lowest<T, S>(s, _isa) {
        for n in (0..=2 * S::LANES).chain([255, 256, 1 << 31, 1 << 32, usize::MAX]) {
            let expected: Vec<bool> = (0..S::LANES).map(|lane| lane < n).collect();
            assert_eq!(truths(s, s.first(n)), expected, "first({n})");
            assert_eq!(s.count(s.first(n)) as usize, n.min(S::LANES), "first({n})");
        }
    }
}

on_all_lanes! {
    fn masks_combine_lane_by_lane<T, S>(s, _isa) {
        let mut random = Random::new(3);
        for _ in 0..100 {
            let a: Vec<bool> = (0..S::LANES).map(|_| random.flag(0.5)).collect();
            let b: Vec<bool> = (0..S::LANES).map(|_| random.flag(0.5)).collect();
            let by = |f: fn(bool, bool) -> bool| -> Vec<bool> {
                a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect()
            };
            let (ma, mb) = (s.mask(&a), s.mask(&b));
            for (mask, expected) in [
                (ma & mb, by(|a, b| a & b)),
                (ma | mb, by(|a, b| a | b)),
                (!ma, by(|a, _| !a)),
            ] {
                assert_eq!(s.count(mask) as usize, expected.iter().filter(|&&x| x).count());
                assert_eq!(truths(s, mask), expected);
            }
        }
    }
}

on_all_lanes! {
    fn arithmetic_is_that_of_ieee<T, S>(s, _isa) {
        check_binary(s, |a, b| a + b, |a: T, b| a + b);
        check_binary(s, |a, b| a - b, |a: T, b| a - b);
        check_binary(s, |a, b| a * b, |a: T, b| a * b);
        check_binary(s, |a, b| a / b, |a: T, b| a / b);
    }
}

on_all_lanes! {
    fn square_roots_are_correctly_rounded<T, S>(s, _isa) {
        check_unary(s, |x| s.sqrt(x), |x: T| x.sqrt());
    }
}

on_all_lanes! {
    fn signs_are_bits_of_their_own<T, S>(s, _isa) {
        let sign = T::sign_bit();
        check_bits::<T, S>(s, |a, _| -a, |a, _| a ^ sign);
        check_bits::<T, S>(s, |a, _| s.abs(a), |a, _| a & !sign);
        check_bits::<T, S>(s, |a, b| s.copysign(a, b), |a, b| (a & !sign) | (b & sign));
    }
}

on_all_lanes! {
    fn comparisons_with_nan_are_false<T, S>(s, _isa) {
        check_comparison(s, |a, b| s.lt(a, b), |a: T, b| a < b);
        check_comparison(s, |a, b| s.eq(a, b), |a: T, b| a == b);
    }
}

on_all_lanes! {
    fn nan_is_not_zero_and_either_zero_is<T, S>(s, _isa) {
        check_comparison(s, |a, _| s.nonzero(a), |a: T, _| a != T::ZERO);
    }
}

on_all_lanes! {
    fn select_takes_all_bits_from_one_side<T, S>(s, _isa) {
        let mut random = Random::new(4);
        let (yes, no) = sample_pairs::<T>();
        for (yes, no) in yes.chunks(S::LANES).zip(no.chunks(S::LANES)) {
            let flags: Vec<bool> = (0..S::LANES).map(|_| random.flag(0.5)).collect();
            let got = elements(s, s.select(s.mask(&flags), s.load(yes), s.load(no)));
            let expected: Vec<T> =
                (0..S::LANES).map(|i| if flags[i] { yes[i] } else { no[i] }).collect();
            assert_eq!(bits(&got), bits(&expected), "{flags:?} of {yes:?} and {no:?}");
        }
    }
}

on_all_lanes! {
    fn fma_rounds_once_on_the_tiers_that_have_it_and_at_most_twice<T, S>(s, isa) {
        let (a, b) = sample_pairs::<T>();
        for shift in [0, 1, 5, 11] {
            let c: Vec<T> = a.iter().cycle().skip(shift).zip(&a).map(|(&c, _)| c).collect();
            let operands =
                a.chunks(S::LANES).zip(b.chunks(S::LANES)).zip(c.chunks(S::LANES));
            for ((a, b), c) in operands {
                let got = elements(s, s.fma(s.load(a), s.load(b), s.load(c)));
                for i in 0..S::LANES {
                    let twice = a[i] * b[i] + c[i];
                    let allowed = isa.tier() == Tier::Portable && same(got[i], twice);
                    if !allowed {
                        check(&[a[i], b[i], c[i]], got[i], a[i].mul_add(b[i], c[i]));
                    }
                }
            }
        }
    }
}

on_all_lanes! {
    fn a_sum_takes_every_lane_once_as_a_balanced_tree<T, S>(s, _isa) {
        // Each lane is a bit of its own: the sum is exact, and shows lanes lost or taken twice.
        let powers: Vec<T> = (0..S::LANES).map(|i| T::from_f64((1 << i) as f64)).collect();
        assert_eq!(s.sum(s.load(&powers)), T::from_f64(((1_u32 << S::LANES) - 1) as f64));

        let mut random = Random::new(5);
        for _ in 0..1000 {
            let x: Vec<T> = (0..S::LANES).map(|_| random.between(-1.0, 1.0)).collect();
            let exact: f64 = x.iter().map(|x| x.to_f64()).sum();
            let magnitude: f64 = x.iter().map(|x| x.to_f64().abs()).sum();
            // Each element goes through one addition a level of the tree, which rounds by half
            // an epsilon; the last term is the rounding of the sum that we compare with.
            let levels = S::LANES.ilog2() as f64;
            let allowed = magnitude * (0.5 * levels * T::EPSILON.to_f64() + 16.0 * f64::EPSILON);
            let got = s.sum(s.load(&x)).to_f64();
            assert!((got - exact).abs() <= allowed, "sum of {x:?}: got {got}, expected {exact}");
        }
        for lane in 0..S::LANES {
            let mut x = powers.clone();
            x[lane] = T::NAN;
            assert!(s.sum(s.load(&x)).is_nan(), "NaN in lane {lane}");
        }
    }
}

on_all_lanes! {
    fn the_sums_of_four_vectors_are_those_of_each<T, S>(s, _isa) {
        let n = S::LANES;
        let sums = |x: &[T]| s.sums([s.load(x), s.load(&x[n..]), s.load(&x[2 * n..]), s.load(&x[3 * n..])]);
        // Small integers, all different: exact in any order, and of no two vectors the same.
        let x: Vec<T> = (0..4 * n).map(|i| T::from_f64((i * i) as f64)).collect();
        let expected = |k: usize| (k * n..(k + 1) * n).map(|i| (i * i) as f64).sum::<f64>();
        assert_eq!(sums(&x).map(|x| x.to_f64()), [0, 1, 2, 3].map(expected));

        let mut random = Random::new(7);
        for _ in 0..1000 {
            let x: Vec<T> = (0..4 * n).map(|_| random.between(-1.0, 1.0)).collect();
            for (got, x) in sums(&x).into_iter().zip(x.chunks(n)) {
                let exact: f64 = x.iter().map(|x| x.to_f64()).sum();
                let magnitude: f64 = x.iter().map(|x| x.to_f64().abs()).sum();
                let levels = n.ilog2() as f64;
                let allowed = magnitude * (0.5 * levels * T::EPSILON.to_f64() + 16.0 * f64::EPSILON);
                assert!((got.to_f64() - exact).abs() <= allowed, "sum of {x:?}: {got}, {exact}");
            }
        }
        for at in 0..4 * n {
            let mut poisoned = x.clone();
            poisoned[at] = T::NAN;
            for (k, (got, clean)) in sums(&poisoned).into_iter().zip(sums(&x)).enumerate() {
                let own = k == at / n;
                assert!(if own { got.is_nan() } else { got == clean }, "NaN at {at}: {got} for {k}");
            }
        }
    }
}

on_all_lanes! {
    fn pow2_is_exact_for_all_normal_exponents<T, S>(s, _isa) {
        let exponents: Vec<i32> = T::NORMAL_EXPONENTS.collect();
        for n in exponents.chunks(S::LANES) {
            let x: Vec<T> = n.iter().map(|&n| T::from_f64(n.into())).collect();
            let got = elements(s, s.pow2(s.load(&x)));
            for (&n, &got) in n.iter().zip(&got) {
                assert_eq!(got.to_f64(), 2.0_f64.powi(n), "2^{n}");
            }
        }
    }
}

/// Vectors of one after another whose elements are any numbers, and one of them is NaN.
fn rows_of<T: Element, const D: usize>(lanes: usize, nan_at: usize) -> Vec<T> {
    let mut random = Random::new(6);
    let mut x: Vec<T> = (0..D * lanes).map(|_| random.between(-3.0, 3.0)).collect();
    x[nan_at] = T::NAN;
    x
}

on_all_lanes! {
    fn pairs_are_added_and_spread_in_order<T, S>(s, _isa) {
        let n = S::LANES;
        for nan_at in 0..2 * n {
            let x = rows_of::<T, 2>(n, nan_at);
            let got = elements(s, s.pair_sums([s.load(&x), s.load(&x[n..])]));
            for i in 0..n {
                check(&x[2 * i..2 * i + 2], got[i], x[2 * i] + x[2 * i + 1]);
            }
        }
        let x = rows_of::<T, 1>(n, 1);
        let got: Vec<T> =
            s.spread_pairs(s.load(&x)).into_iter().flat_map(|v| elements(s, v)).collect();
        let expected: Vec<T> = (0..2 * n).map(|i| x[i / 2]).collect();
        assert_eq!(bits(&got), bits(&expected));
    }
}

on_all_lanes! {
    fn triples_are_added_and_spread_in_order<T, S>(s, _isa) {
        let n = S::LANES;
        for nan_at in 0..3 * n {
            let x = rows_of::<T, 3>(n, nan_at);
            let got =
                elements(s, s.triple_sums([s.load(&x), s.load(&x[n..]), s.load(&x[2 * n..])]));
            for i in 0..n {
                check(&x[3 * i..3 * i + 3], got[i], (x[3 * i] + x[3 * i + 1]) + x[3 * i + 2]);
            }
        }
        let x = rows_of::<T, 1>(n, 1);
        let got: Vec<T> =
            s.spread_triples(s.load(&x)).into_iter().flat_map(|v| elements(s, v)).collect();
        let expected: Vec<T> = (0..3 * n).map(|i| x[i / 3]).collect();
        assert_eq!(bits(&got), bits(&expected));
    }
}

on_all_lanes! {
    fn hinge_clips_below_zero_and_keeps_nan<T, S>(s, _isa) {
        check_unary(s, |x| s.hinge(x), |x: T| if x < T::ZERO { T::ZERO } else { x });
    }
}

on_all_lanes! {
    fn over_distance_is_zero_where_the_square_is_not_normal<T, S>(s, _isa) {
        check_binary(
            s,
            |numerator, d2| s.over_distance(numerator, s.sqrt(d2), d2),
            |numerator: T, d2| {
                if d2 < T::MIN_POSITIVE { T::ZERO } else { numerator / d2.sqrt() }
            },
        );
    }
}

on_all_lanes! {
    #[allow(unsafe_code, reason = "streamed writes are unsafe to ask for")]
    fn streamed_vectors_arrive_after_the_fence<T, S>(s, _isa) {
        let shape = [1, 4 * S::LANES];
        let source = Guarded::new(1, shape, shape[1], |_, k| T::from_f64(k as f64));
        let mut target = Guarded::output(0, shape, shape[1]);
        for (from, to) in source.row(0).chunks(S::LANES).zip(target.slice_mut().chunks_mut(S::LANES)) {
            s.prefetch(from.as_ptr());
            // SAFETY: `to` holds a vector, and the target starts at a multiple of 64 bytes.
            unsafe { s.stream(s.load(from), to.as_mut_ptr()) }
        }
        s.prefetch(std::ptr::null());
        s.fence();
        target.check("stream");
        assert_eq!(target.bits(), source.bits());
    }
}
