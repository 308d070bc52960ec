//! The checker catches what it is for: wrong gradients of losses, layers and networks.

use drlim::loss::{Contrastive, PairLoss, TripletLoss, TripletMargin};
use drlim::nn::{Backward, Dense, Forward, Layer, Network, ParamSpec, Shape, Tanh};
use drlim::simd::Simd;
use drlim::{Cx, Error, gradcheck};

/// The contrastive loss with margin 1 and a fault in its slopes.
struct Faulty {
    fault: Fault,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// The slope of similar pairs for l = d², twice that of d²/2.
    Factor,
    /// Dissimilar pairs pull.
    Sign,
    /// Pairs beyond the margin push too.
    NoHinge,
}

impl PairLoss<f64> for Faulty {
    #[inline(always)]
    fn eval<S: Simd<f64>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let d = s.sqrt(d2);
        let room = s.splat(1.0) - d;
        let gap = s.hinge(room);
        let value = s.splat(0.5) * s.select(similar, d2, gap * gap);
        let (pull, push) = match self.fault {
            Fault::None => (s.splat(1.0), -s.over_distance(gap, d, d2)),
            Fault::Factor => (s.splat(2.0), -s.over_distance(gap, d, d2)),
            Fault::Sign => (s.splat(1.0), s.over_distance(gap, d, d2)),
            Fault::NoHinge => (s.splat(1.0), -s.over_distance(room, d, d2)),
        };
        (value, s.select(similar, pull, push))
    }
}

#[test]
fn a_right_loss_passes_and_each_fault_is_caught() {
    for seed in 0..5 {
        let check = |fault| gradcheck::check_loss(&Faulty { fault }, &[1.0], seed).unwrap();
        let right = check(Fault::None);
        assert!(right.error < 1e-8, "{right}");
        for fault in [Fault::Factor, Fault::Sign, Fault::NoHinge] {
            let wrong = check(fault);
            assert!(wrong.error > 0.05, "{fault:?} with seed {seed} passes: {wrong}");
        }
    }
}

#[test]
fn the_paper_s_loss_passes_with_any_margin() {
    for margin in [0.1, 1.0, 7.5] {
        let loss = Contrastive::new(margin).unwrap();
        let worst = gradcheck::check_loss(&loss, &[margin], 1).unwrap();
        assert!(worst.error < 1e-7, "margin {margin}: {worst}");
    }
}

/// Spoils the gradients of the parameters or of the input.
type Spoil = fn(&mut [f64], Option<&mut [f64]>);

/// A dense layer whose backward pass is spoilt.
struct Spoilt {
    dense: Dense,
    spoil: Spoil,
}

impl Layer<f64> for Spoilt {
    fn describe(&self) -> String {
        "Spoilt".to_owned()
    }
    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        Layer::<f64>::connect(&mut self.dense, input)
    }
    fn params(&self) -> Vec<ParamSpec> {
        Layer::<f64>::params(&self.dense)
    }
    fn scratch(&self, samples: usize) -> usize {
        Layer::<f64>::scratch(&self.dense, samples)
    }
    fn forward(&self, cx: &Cx, pass: Forward<f64>) {
        self.dense.forward(cx, pass);
    }
    fn backward(&self, cx: &Cx, pass: Backward<f64>) {
        let Backward { params, x, y, dy, mut dx, d_params, scratch } = pass;
        let inner = Backward { params, x, y, dy, dx: dx.as_deref_mut(), d_params, scratch };
        self.dense.backward(cx, inner);
        (self.spoil)(d_params, dx);
    }
}

#[test]
fn a_fault_anywhere_in_a_layer_or_a_network_is_caught() {
    let spoils: [Spoil; 4] = [
        |params, _| params[7] *= 1.001,
        |params, _| params.swap(0, 1),
        |params, _| params[params.len() - 1] = 0.0,
        |_, dx| {
            if let Some(dx) = dx {
                dx[3] = -dx[3];
            }
        },
    ];
    for (i, spoil) in spoils.into_iter().enumerate() {
        let layer = || Spoilt { dense: Dense::new(3), spoil };
        let worst = gradcheck::check_layer(layer(), Shape::flat(5), 2, 1).unwrap();
        assert!(worst.error > 1e-5, "fault {i} passes: {worst}");
        let mut net = Network::builder(Shape::flat(4))
            .layer("before", Dense::new(5))
            .layer("tanh", Tanh::new())
            .layer("spoilt", layer())
            .build(1)
            .unwrap();
        let before = net.params().to_vec();
        let worst = gradcheck::check_network(&mut net, 2, 1).unwrap();
        assert!(worst.error > 1e-5, "fault {i} passes in a network: {worst}");
        assert_eq!(net.params(), before, "the parameters are as they were");
    }
}

#[test]
fn the_worst_coordinate_is_named_and_nan_is_an_infinite_error() {
    let square = |x: &[f64]| x.iter().map(|x| x * x).sum();
    let worst = gradcheck::check(square, &[1.0, 2.0, 3.0], &[2.0, 5.0, 6.0]).unwrap();
    assert_eq!((worst.at, worst.analytic), (1, 5.0));
    assert!((worst.numeric - 4.0).abs() < 1e-8 && (worst.error - 1.0 / 6.0).abs() < 1e-8);
    let worst = gradcheck::check(square, &[1.0, 2.0], &[2.0, f64::NAN]).unwrap();
    assert_eq!((worst.at, worst.error), (1, f64::INFINITY));
    let loss = Contrastive::new(1.0).unwrap();
    for kinks in [&[f64::NAN][..], &[1.0, f64::NAN], &[f64::INFINITY]] {
        let error = gradcheck::check_loss(&loss, kinks, 1).unwrap_err();
        assert!(matches!(error, Error::Value { arg: "kinks", .. }), "{error}");
    }
    let error = gradcheck::check_layer(Dense::new(3), Shape::flat(4), 0, 1).unwrap_err();
    assert!(matches!(error, Error::Value { arg: "samples", .. }), "{error}");
    let error = gradcheck::check(square, &[1.0, 2.0], &[2.0]).unwrap_err();
    assert!(matches!(error, Error::Length { arg: "analytic", got: 1, expected: 2, .. }));
}

/// k times the difference of the squared distances: smooth at any scale.
struct Difference(f64);

impl TripletLoss<f64> for Difference {
    #[inline(always)]
    fn eval<S: Simd<f64>>(&self, s: S, [ap, an, _]: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let slope = s.splat(2.0 * self.0);
        (s.splat(self.0) * (ap - an), [slope, -slope, s.splat(0.0)])
    }
}

#[test]
fn triplet_losses_are_checked_at_any_scale() {
    for k in [1e-9, 1.0, 1e6, 1e100] {
        let worst = gradcheck::check_triplet_loss(&Difference(k), 3).unwrap();
        assert!(worst.error < 1e-6, "{k}: {worst}");
    }
    for loss in [TripletMargin::new(0.3).unwrap(), TripletMargin::new(0.3).unwrap().swapping()] {
        let worst = gradcheck::check_triplet_loss(&loss, 3).unwrap();
        assert!(worst.error < 1e-6, "{worst}");
    }
}
