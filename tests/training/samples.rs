//! Similar sets from knowledge, and samples that are made as they are drawn: versions are numbered as their graph
//! says, shifts move whole pixels, and training on made samples is training on the same samples stored.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use crate::support::{Element, tiers};
use drlim::loss::{Contrastive, Objective, Reduction};
use drlim::nn::{Conv2d, Dense, Network, Shape, Tanh};
use drlim::optim::{Adam, schedule};
use drlim::pairs::{BatchSampler, Sampler};
use drlim::samples::{Augmented, Jitter, Samples, Shift, Versions};
use drlim::siamese::{Fit, Siamese};
use drlim::{Cx, Error, Graph, Mat, MatMut, Par, Rng, Similar};
use proptest::prelude::*;

fn graph() -> impl Strategy<Value = Graph> {
    (1_usize..9).prop_flat_map(|n| {
        let pair = (0..n as u32, 0..n as u32).prop_filter("of two samples", |(i, j)| i != j);
        let pairs = prop::collection::vec(pair, 0..if n > 1 { 12 } else { 1 });
        pairs.prop_map(move |pairs| Graph::from_pairs(n, &pairs).unwrap())
    })
}

proptest! {
    #[test]
    fn versions_are_similar_where_their_originals_are_one_or_neighbours(
        originals in graph(), versions in 1_usize..5
    ) {
        let all = originals.versions(versions).unwrap();
        prop_assert_eq!(all.samples(), originals.samples() * versions);
        for a in 0..all.samples() {
            for b in 0..all.samples() {
                let (i, j) = (a / versions, b / versions);
                let expected = a != b && (i == j || originals.contains(i, j));
                prop_assert_eq!(all.contains(a, b), expected, "{} and {}", a, b);
            }
        }
        // The graph is the one of its pairs: sorted, without duplicates.
        let pairs: Vec<_> = all.pairs().collect();
        prop_assert_eq!(&Graph::from_pairs(all.samples(), &pairs).unwrap(), &all);
    }

    #[test]
    fn a_rule_is_asked_once_for_each_pair(attributes in prop::collection::vec(0_u8..6, 0..12)) {
        let mut asked = 0;
        let graph = Graph::from_rule(&attributes, |a, b| {
            asked += 1;
            a.abs_diff(*b) <= 1
        }).unwrap();
        let n = attributes.len();
        prop_assert_eq!(asked, n * n.saturating_sub(1) / 2);
        for i in 0..n {
            for j in 0..n {
                let similar = i != j && attributes[i].abs_diff(attributes[j]) <= 1;
                prop_assert_eq!(graph.contains(i, j), similar);
            }
        }
    }

    #[test]
    fn a_shift_moves_every_pixel_of_every_plane(
        [height, width, planes] in [1_usize..6, 1..6, 1..3], down in -7_isize..8, right in -7_isize..8
    ) {
        let len = height * width * planes;
        let pixels: Vec<f32> = (0..len).map(|i| i as f32 + 1.0).collect();
        let shifts = [Shift { down, right }];
        let images = Mat::new(&pixels, 1, len).unwrap();
        let moved = Versions::shifted(images, [height, width], &shifts, -1.0).unwrap();
        let mut got = vec![f32::NAN; len];
        moved.write(0, 9, &mut got);
        for plane in 0..planes {
            for y in 0..height as isize {
                for x in 0..width as isize {
                    let (from_y, from_x) = (y - down, x - right);
                    let inside = (0..height as isize).contains(&from_y)
                        && (0..width as isize).contains(&from_x);
                    let at = |y: isize, x: isize| {
                        (plane * height + y as usize) * width + x as usize
                    };
                    let expected = if inside { pixels[at(from_y, from_x)] } else { -1.0 };
                    prop_assert_eq!(got[at(y, x)], expected);
                }
            }
        }
        // Without a rotation, a random version is one of the shifts.
        let jitter = Jitter::new(1, 0.0).unwrap();
        let random = Augmented::jittered(images, [height, width], jitter, -1.0, 1).unwrap();
        let mut drawn = vec![f32::NAN; len];
        random.write(0, 5, &mut drawn);
        let any = (-1..=1).flat_map(|down| (-1..=1).map(move |right| Shift { down, right })).any(|by| {
            let mut one = vec![0.0; len];
            let by = [by];
            Versions::shifted(images, [height, width], &by, -1.0).unwrap().write(0, 0, &mut one);
            one == drawn
        });
        prop_assert!(any);
    }
}

#[test]
fn a_turned_image_is_the_image_at_the_turned_places() {
    // A linear image is its own interpolation: what is read at a place is known there.
    let side = 33;
    let value = |y: f64, x: f64| 0.01 * x + 0.02 * y;
    let pixels: Vec<f64> =
        (0..side * side).map(|i| value((i / side) as f64, (i % side) as f64)).collect();
    let image = Mat::new(&pixels, 1, side * side).unwrap();
    let jitter = Jitter::new(0, 20.0).unwrap();
    let turned = Augmented::jittered(image, [side, side], jitter, f64::NAN, 3).unwrap();
    let mut angles = Vec::new();
    for draw in 0..50 {
        let mut got = vec![0.0; side * side];
        turned.write(0, draw, &mut got);
        let middle = (side - 1) as f64 / 2.0;
        // The derivatives across the middle tell the angle.
        let at = |y: usize, x: usize| got[y * side + x];
        let center = side / 2;
        let dx = at(center, center + 1) - at(center, center);
        let dy = at(center + 1, center) - at(center, center);
        let angle = f64::atan2(dy * 0.01 - dx * 0.02, dx * 0.01 + dy * 0.02);
        angles.push(angle.to_degrees());
        let (sin, cos) = angle.sin_cos();
        for y in 0..side {
            for x in 0..side {
                let (v, h) = (y as f64 - middle, x as f64 - middle);
                if v.hypot(h) < middle - 1.0 {
                    let expected = value(middle + cos * v - sin * h, middle + sin * v + cos * h);
                    assert!((at(y, x) - expected).abs() < 1e-12, "{y} {x} by {angle}");
                }
            }
        }
    }
    let [least, most] = [f64::min, f64::max].map(|f| angles.iter().copied().reduce(f).unwrap());
    assert!((-20.0..-10.0).contains(&least) && (10.0..20.0).contains(&most), "{least} to {most}");
}

/// Two runs on the same batches, one of samples that are made and one of samples that are stored.
fn runs<T: Element>(cx: &Cx, listed: bool, data: impl Samples<T>) -> Vec<T> {
    let net = Network::builder(Shape::image(1, 6, 7))
        .layer("c1", Conv2d::new(3, 3))
        .layer("tanh1", Tanh::new())
        .layer("f2", Dense::new(2))
        .build(1)
        .unwrap();
    let mut siamese = Siamese::new(net, Adam::new(), 8).unwrap();
    let graph = Graph::from_pairs(5, &[(0, 1), (1, 3), (2, 4)]).unwrap().versions(3).unwrap();
    let loss = Contrastive::new(T::from_f64(1.0)).unwrap();
    let rate = schedule::constant(0.01);
    let fit = Fit::new(3, &rate).accumulate(2).unwrap();
    let observe = |_: &drlim::siamese::Progress| ControlFlow::Continue(());
    if listed {
        let mut sampler = Sampler::new(Similar::Graph(&graph), 8, 1).unwrap();
        siamese.fit(cx, &Objective::mean(&loss), &data, &mut sampler, fit, observe).unwrap();
    } else {
        let mut sampler = BatchSampler::new(Similar::Graph(&graph), 7, 1).unwrap();
        let objective = Objective::sum(&loss).reduced(Reduction::Balanced);
        siamese.fit_batches(cx, &objective, &data, &mut sampler, fit, observe).unwrap();
    }
    let mut z = vec![T::ZERO; 2 * data.count()];
    siamese.embed(cx, &data, MatMut::new(&mut z, data.count(), 2).unwrap()).unwrap();
    z
}

#[test]
fn training_on_made_samples_is_training_on_the_same_ones_stored() {
    let pixels: Vec<f32> = (0..5 * 42).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
    let originals = Mat::new(&pixels, 5, 42).unwrap();
    let shifts = [-1, 0, 2].map(|right| Shift { down: 1 - right, right });
    let made = Versions::shifted(originals, [6, 7], &shifts, 0.5).unwrap();
    let mut stored = vec![0.0; made.count() * made.len()];
    for (i, to) in stored.chunks_exact_mut(made.len()).enumerate() {
        made.write(i, 0, to);
    }
    let stored = Mat::new(&stored, made.count(), made.len()).unwrap();
    for isa in tiers() {
        for par in [Par::Serial, Par::Rayon] {
            for listed in [false, true] {
                let cx = Cx { isa, par };
                assert_eq!(runs(&cx, listed, &made), runs(&cx, listed, stored), "{cx}");
            }
        }
    }
}

#[test]
fn random_samples_are_new_in_each_batch_and_the_same_in_each_run() {
    let pixels: Vec<f64> = (0..15 * 42).map(|i| (i * 37 % 101) as f64 / 101.0).collect();
    let originals = Mat::new(&pixels, 15, 42).unwrap();
    let jitter = Jitter::new(1, 15.0).unwrap();
    let random = |seed| Augmented::jittered(originals, [6, 7], jitter, 0.0, seed).unwrap();
    let run = |par, seed| runs(&Cx { par, ..Cx::default() }, false, random(seed));
    assert_eq!(run(Par::Serial, 1), run(Par::Rayon, 1));
    assert_ne!(run(Par::Serial, 1), run(Par::Serial, 2));
    // Which numbers a batch asks with.
    struct Recording(std::sync::Mutex<Vec<u64>>);
    impl Samples<f32> for Recording {
        fn count(&self) -> usize {
            15
        }
        fn len(&self) -> usize {
            42
        }
        fn write(&self, sample: usize, draw: u64, to: &mut [f32]) {
            self.0.lock().unwrap().push(draw);
            to.fill(sample as f32);
        }
    }
    let recording = Recording(std::sync::Mutex::default());
    runs(&Cx { par: Par::Serial, ..Cx::default() }, false, &recording);
    let mut draws = recording.0.into_inner().unwrap();
    // The embeddings at the end are those of batch 0.
    draws.truncate(draws.len() - 15);
    draws.dedup();
    let last = *draws.last().unwrap();
    assert!(last > 3 && draws.is_sorted_by(|a, b| a < b), "{draws:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let pixels = [0.0_f32; 12];
    let images = Mat::new(&pixels, 2, 6).unwrap();
    let none: [Shift; 0] = [];
    let said = |error: Error| error.to_string();
    let refused = Versions::shifted(images, [2, 3], &none, 0.0).err().map(said).unwrap();
    assert!(refused.contains("versions"), "{refused}");
    for frame in [[2, 2], [0, 3], [usize::MAX, 2]] {
        let shifts = [Shift::default()];
        assert!(Versions::shifted(images, frame, &shifts, 0.0).is_err(), "{frame:?}");
        let jitter = Jitter::new(1, 0.0).unwrap();
        assert!(Augmented::jittered(images, frame, jitter, 0.0, 1).is_err(), "{frame:?}");
    }
    for degrees in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(Jitter::new(1, degrees).is_err(), "{degrees}");
    }
    let wide = Jitter::new(usize::MAX, 0.0).unwrap();
    let mut out = [1.0; 6];
    Augmented::jittered(images, [2, 3], wide, 7.0, 1).unwrap().write(0, 0, &mut out);
    assert_eq!(out, [7.0; 6]);
    let pair = Graph::from_pairs(2, &[(0, 1)]).unwrap();
    assert!(pair.versions(0).is_err());
    assert!(pair.versions(usize::MAX).is_err());
    assert!(pair.versions(1 << 31).is_err());
    // A source whose samples are of another length than the network's input.
    let net = Network::builder(Shape::flat(5)).layer("f", Dense::new(2)).build(1).unwrap();
    let mut siamese = Siamese::new(net, Adam::new(), 2).unwrap();
    let twice =
        Versions::new(images, 2, |x: &[f32], _, to: &mut [f32]| to.copy_from_slice(x)).unwrap();
    let (loss, similar) = (Contrastive::new(1.0).unwrap(), [0, 0, 1, 1]);
    let objective = Objective::mean(&loss);
    let error = siamese
        .step_batch(&Cx::default(), &objective, 0.1, &twice, &[0, 1], Similar::Labels(&similar))
        .unwrap_err();
    assert!(error.to_string().contains("data has shape 4x6, expected 4x5"), "{error}");
    assert_eq!(twice.versions(), 2);
}

#[test]
fn versions_of_many_samples_take_memory_of_their_pairs() {
    let mut rng = Rng::new(1);
    let pairs: Vec<(u32, u32)> =
        (0..3000_u32).map(|i| (i, (i + 1 + rng.below(2999) as u32) % 3000)).collect();
    let originals = Graph::from_pairs(3000, &pairs).unwrap();
    let all = originals.versions(5).unwrap();
    assert_eq!(all.edges(), 25 * originals.edges() + 3000 * 10);
}

#[test]
fn a_source_that_panics_leaves_the_network_as_it_was() {
    /// Samples of which one panics once.
    struct Failing(std::sync::atomic::AtomicBool);
    impl Samples<f32> for Failing {
        fn count(&self) -> usize {
            15
        }
        fn len(&self) -> usize {
            42
        }
        fn write(&self, sample: usize, draw: u64, to: &mut [f32]) {
            let fails = draw == 3 && self.0.swap(false, std::sync::atomic::Ordering::Relaxed);
            assert!(!fails, "this sample cannot be made");
            for (i, to) in to.iter_mut().enumerate() {
                *to = ((sample * 42 + i) * 37 % 101) as f32 / 101.0;
            }
        }
    }
    let after = |fails: bool, par| {
        let net = Network::builder(Shape::flat(42)).layer("f", Dense::new(2)).build(1).unwrap();
        let mut siamese = Siamese::<f32, _>::new(net, Adam::new(), 4).unwrap();
        let (source, cx) = (Failing(fails.into()), Cx { par, ..Cx::default() });
        let labels: Vec<i64> = (0..15).map(|i| i % 3).collect();
        let loss = Contrastive::new(1.0).unwrap();
        let mut panics = 0;
        while siamese.steps() < 6 {
            let start = 2 * siamese.steps() as u32 % 8;
            let batch: Vec<u32> = (start..start + 8).collect();
            let step = std::panic::AssertUnwindSafe(|| {
                let (objective, similar) = (Objective::mean(&loss), Similar::Labels(&labels));
                siamese.step_batch(&cx, &objective, 0.1, &source, &batch, similar).unwrap();
            });
            panics += usize::from(std::panic::catch_unwind(step).is_err());
        }
        assert_eq!(panics, usize::from(fails));
        siamese.net().params().to_vec()
    };
    for par in [Par::Serial, Par::Rayon] {
        assert_eq!(after(true, par), after(false, par));
    }
}
