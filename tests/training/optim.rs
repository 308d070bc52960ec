//! Optimizers follow their formulas on every tier, keep clear of denormals and keep NaN; norms are
//! exact over the whole range of numbers; schedules say what they promise.

use crate::support::element::bits;
use crate::support::{Element, Guarded, Random, tiers};
use drlim::optim::{Adam, AdamW, Optimizer, Resume, Sgd, clip_norm, schedule};
use drlim::{Cx, Error, Par};

/// An optimizer's settings, written down once for the crate and for the formula.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Sgd { momentum: f64, nesterov: bool, decay: f64 },
    Adam { betas: [f64; 2], epsilon: f64, decay: f64, decoupled: bool },
}

impl Rule {
    const ALL: [Rule; 8] = [
        Rule::Sgd { momentum: 0.0, nesterov: false, decay: 0.0 },
        Rule::Sgd { momentum: 0.8, nesterov: false, decay: 0.3 },
        Rule::Sgd { momentum: 0.8, nesterov: true, decay: 0.0 },
        Rule::Sgd { momentum: 0.9, nesterov: true, decay: 0.2 },
        Rule::Adam { betas: [0.9, 0.999], epsilon: 1e-8, decay: 0.0, decoupled: false },
        Rule::Adam { betas: [0.7, 0.95], epsilon: 1e-3, decay: 0.3, decoupled: false },
        Rule::Adam { betas: [0.9, 0.999], epsilon: 1e-8, decay: 0.01, decoupled: true },
        Rule::Adam { betas: [0.8, 0.95], epsilon: 1e-3, decay: 0.3, decoupled: true },
    ];

    fn optimizer<T: Element>(self) -> drlim::Result<Box<dyn Optimizer<T>>> {
        Ok(match self {
            Rule::Sgd { momentum, nesterov, decay } => {
                let sgd = Sgd::new().momentum(momentum)?.weight_decay(decay)?;
                Box::new(if nesterov { sgd.nesterov() } else { sgd })
            }
            Rule::Adam { betas: [b1, b2], epsilon, decay, decoupled: false } => {
                Box::new(Adam::new().betas(b1, b2)?.epsilon(epsilon)?.weight_decay(decay)?)
            }
            Rule::Adam { betas: [b1, b2], epsilon, decay, decoupled: true } => {
                Box::new(AdamW::new().betas(b1, b2)?.epsilon(epsilon)?.weight_decay(decay)?)
            }
        })
    }

    /// One parameter after step t, counted from 1, with its moments.
    fn formula(self, t: i32, rate: f64, p: f64, grad: f64, [m, v]: [f64; 2]) -> (f64, [f64; 2]) {
        match self {
            Rule::Sgd { momentum, nesterov, decay } => {
                let g = grad + decay * p;
                let m = momentum * m + g;
                (p - rate * if nesterov { g + momentum * m } else { m }, [m, v])
            }
            Rule::Adam { betas: [b1, b2], epsilon, decay, decoupled } => {
                let (p, g) = match decoupled {
                    true => (p * (1.0 - rate * decay), grad),
                    false => (p, grad + decay * p),
                };
                let (m, v) = (b1 * m + (1.0 - b1) * g, b2 * v + (1.0 - b2) * g * g);
                let (first, second) = (m / (1.0 - b1.powi(t)), v / (1.0 - b2.powi(t)));
                (p - rate * first / (second.sqrt() + epsilon), [m, v])
            }
        }
    }
}

/// More than a block, and not a whole number of vectors.
const LONG: usize = (16 << 10) + 5;

fn follows_its_formula<T: Element>(rule: Rule, len: usize, tolerance: f64) {
    for isa in tiers() {
        let mut random = Random::new(len as u64);
        let mut params = Guarded::new(1, [1, len], len, |_, _| random.between::<T>(-2.0, 2.0));
        let mut expected = params.wide();
        let mut moments = vec![[0.0; 2]; len];
        let mut optimizer = rule.optimizer::<T>().unwrap();
        for t in 1..=6 {
            let rate = 0.1 / f64::from(t);
            let grad: Vec<T> = (0..len).map(|_| random.between(-1.0, 1.0)).collect();
            let cx = Cx { isa, par: Par::Rayon };
            optimizer.step(&cx, rate, params.slice_mut(), &grad).unwrap();
            params.check("parameters");
            let params = params.row(0);
            for i in 0..len {
                (expected[i], moments[i]) =
                    rule.formula(t, rate, expected[i], grad[i].to_f64(), moments[i]);
                let error = (params[i].to_f64() - expected[i]).abs();
                assert!(error <= tolerance, "{rule:?}, step {t}, {i} of {len}, {isa}: {error:e}");
            }
        }
    }
}

#[test]
fn every_optimizer_follows_its_formula() {
    for rule in Rule::ALL {
        for len in [1, 7, 37, LONG] {
            follows_its_formula::<f64>(rule, len, 1e-14);
            follows_its_formula::<f32>(rule, len, 4e-6);
        }
    }
}

#[test]
fn a_step_does_not_depend_on_the_number_of_threads() {
    for (isa, rule) in tiers().into_iter().flat_map(|isa| Rule::ALL.map(|rule| (isa, rule))) {
        let run = |par: Par| {
            let mut random = Random::new(4);
            let mut params: Vec<f32> = (0..3 * LONG).map(|_| random.between(-2.0, 2.0)).collect();
            let mut optimizer = rule.optimizer().unwrap();
            for _ in 0..3 {
                let grad: Vec<f32> = (0..3 * LONG).map(|_| random.between(-2.0, 2.0)).collect();
                optimizer.step(&Cx { isa, par }, 0.1, &mut params, &grad).unwrap();
            }
            bits(&params)
        };
        let serial = run(Par::Serial);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert!(pool.install(|| run(Par::Rayon)) == serial, "{rule:?} on {isa}");
    }
}

/// Two parameters from (1, -2), at rate 0.1, by PyTorch 2.15 in `f64`: `torch.optim.AdamW(lr=0.1)`, then
/// `AdamW(lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3)`, then `SGD(lr=0.1, momentum=0.9,
/// nesterov=True, weight_decay=0.2)`.
#[test]
fn decoupled_decay_and_nesterov_momentum_agree_with_pytorch() {
    let grads = [[0.5, -1.25], [-0.75, 2.0], [0.1, 0.3]];
    for (rule, expected) in [
        (
            Rule::Adam { betas: [0.9, 0.999], epsilon: 1e-8, decay: 0.01, decoupled: true },
            [
                [0.899000002, -1.8980000008],
                [0.9228711832228268, -1.9237132998370323],
                [0.9339304892259411, -1.9510282123652265],
            ],
        ),
        (
            Rule::Adam { betas: [0.8, 0.95], epsilon: 1e-3, decay: 0.3, decoupled: true },
            [
                [0.8701996007984032, -1.840079936051159],
                [0.8744039199813727, -1.8179847296546472],
                [0.8623432772532083, -1.7964937720793304],
            ],
        ),
        (
            Rule::Sgd { momentum: 0.9, nesterov: true, decay: 0.2 },
            [[0.867, -1.6865], [0.919854, -1.868763], [0.861574148, -1.869143706]],
        ),
    ] {
        for isa in tiers() {
            let mut params = [1.0_f64, -2.0];
            let mut optimizer = rule.optimizer().unwrap();
            for (grad, expected) in grads.iter().zip(expected) {
                optimizer.step(&Cx { isa, par: Par::Serial }, 0.1, &mut params, grad).unwrap();
                for (p, expected) in params.iter().zip(expected) {
                    assert!((p - expected).abs() < 1e-14, "{rule:?} on {isa}: {p}, {expected}");
                }
            }
        }
    }
    // The default decay, and momentum that looks ahead where there is none to look for.
    let (mut default, mut ahead) = ([1.0_f64], [1.0_f64]);
    AdamW::default().step(&Cx::default(), 0.1, &mut default, &[0.0]).unwrap();
    assert_eq!(default, [1.0 - 0.1 * 0.01]);
    Sgd::new().nesterov().step(&Cx::default(), 0.5, &mut ahead, &[1.0]).unwrap();
    assert_eq!(ahead, [0.5]);
}

fn keeps_clear_of_denormals<T: Element>() {
    let (tiny, most) = (T::tiny(), T::from_bits(T::MIN_POSITIVE.bits() - 1));
    let steps = |isa, rule: Rule, rate: f64, params: &mut [T], grads: &[&[T]]| {
        let mut optimizer = rule.optimizer::<T>().unwrap();
        for grad in grads {
            optimizer.step(&Cx { isa, par: Par::Serial }, rate, params, grad).unwrap();
        }
    };
    for (isa, rule) in tiers().into_iter().flat_map(|isa| Rule::ALL.map(|rule| (isa, rule))) {
        let what = format!("{rule:?}, {}, {isa}", T::NAME);
        // As many as fill a vector of any tier, and a rest.
        let many = |pattern: [T; 6]| -> Vec<T> { pattern.repeat(4)[..21].to_vec() };
        let mut params = many([T::ONE, tiny, -most, most, T::NAN, T::ONE]);
        let grad = many([T::ZERO, T::ZERO, tiny, -most, T::ZERO, T::NAN]);
        steps(isa, rule, 0.0, &mut params, &[&grad]);
        for (i, &p) in params.iter().enumerate() {
            match i % 6 {
                0 => assert_eq!(p, T::ONE, "{what}"),
                1..=3 => assert_eq!(p.bits(), 0, "{what}: a denormal parameter {p:e}"),
                _ => assert!(p.is_nan(), "{what}: a lost NaN"),
            }
        }
        // A denormal gradient is none, be it beside parameters as small, or divided by its own size.
        let rule = match rule {
            Rule::Sgd { momentum, nesterov, .. } => Rule::Sgd { momentum, nesterov, decay: 0.0 },
            Rule::Adam { betas, decoupled, .. } => {
                Rule::Adam { betas, epsilon: 0.0, decay: 0.0, decoupled }
            }
        };
        let start = T::from_f64(8.0 * T::MIN_POSITIVE.to_f64());
        let (mut params, grad) = (vec![start; 21], [most; 21]);
        steps(isa, rule, 0.5, &mut params, &[&grad[..]; 3]);
        assert_eq!(params, [start; 21], "{what}: denormal gradients");
    }
}

fn moments_end_above_denormals<T: Element>() {
    let near = |factor: f64| T::from_f64(factor * T::MIN_POSITIVE.to_f64());
    for isa in tiers() {
        // The parameter after a step of one gradient and so many steps of none.
        let after = |rule: Rule, rate: f64, start: T, grad: T, steps: usize| {
            let (mut params, mut optimizer) = ([start], rule.optimizer().unwrap());
            for t in 0..=steps {
                let grad = [if t == 0 { grad } else { T::ZERO }];
                optimizer.step(&Cx { isa, par: Par::Serial }, rate, &mut params, &grad).unwrap();
            }
            params[0]
        };
        // Velocities: 1.5 of the smallest normal number, then half of it.
        for nesterov in [false, true] {
            let sgd = Rule::Sgd { momentum: 0.5, nesterov, decay: 0.0 };
            let [once, twice] = [0, 1].map(|steps| after(sgd, 1.0, near(-8.0), near(1.5), steps));
            assert!(once == twice && once != near(-8.0), "a denormal velocity, {isa}");
            let unmoved = after(sgd, 0.25, near(8.0), near(2.0), 0);
            assert_eq!(unmoved, near(8.0), "a move by a denormal, {isa}");
        }
        // First moments: 2 of it, 1.8, ..., 1.06, then none.
        let epsilon = near(1.0).to_f64();
        let adam = Rule::Adam { betas: [0.9, 0.999], epsilon, decay: 0.0, decoupled: false };
        let [fifth, sixth, seventh, ninth] =
            [5, 6, 7, 9].map(|steps| after(adam, 1e-3, T::ONE, near(20.0), steps));
        assert!(fifth != sixth && seventh == ninth, "a denormal first moment, {isa}");
    }
}

#[test]
fn denormals_become_zero_and_a_nan_stays_one() {
    keeps_clear_of_denormals::<f32>();
    keeps_clear_of_denormals::<f64>();
    moments_end_above_denormals::<f32>();
    moments_end_above_denormals::<f64>();
}

#[test]
fn settings_out_of_their_domain_are_refused() {
    let names = |result: drlim::Result<()>, name: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Value { arg, .. } if arg == name), "{error}, not {name}");
    };
    names(Sgd::<f32>::new().momentum(1.0).map(drop), "momentum");
    names(Sgd::<f32>::new().weight_decay(-1.0).map(drop), "decay");
    names(Sgd::<f32>::new().weight_decay(1e300).map(drop), "decay");
    names(Adam::<f32>::new().betas(0.9, f64::NAN).map(drop), "b2");
    names(Adam::<f32>::new().epsilon(f64::INFINITY).map(drop), "epsilon");
    names(AdamW::<f32>::new().betas(-0.1, 0.9).map(drop), "b1");
    names(AdamW::<f32>::new().epsilon(-1.0).map(drop), "epsilon");
    names(AdamW::<f32>::new().weight_decay(f64::NAN).map(drop), "decay");
    names(Adam::<f32>::new().betas(0.9, 0.99999999).map(drop), "b2"); // 1 in f32
    assert!(Adam::<f64>::new().betas(0.9, 0.99999999).is_ok());
}

#[test]
fn a_refused_step_changes_nothing() {
    let cx = Cx::default();
    for rule in Rule::ALL {
        let mut optimizer = rule.optimizer::<f32>().unwrap();
        let mut twin = rule.optimizer::<f32>().unwrap();
        let (mut params, mut expected) = ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]);
        for _ in 0..2 {
            for rate in [-0.1, f64::NAN, 1e300] {
                let error = optimizer.step(&cx, rate, &mut params, &[1.0; 3]).unwrap_err();
                assert!(matches!(error, Error::Value { arg: "rate", .. }), "{error}");
            }
            let error = optimizer.step(&cx, 0.1, &mut params, &[1.0; 2]).unwrap_err();
            assert!(matches!(error, Error::Length { arg: "grad", got: 2, expected: 3, .. }));
            optimizer.step(&cx, 0.1, &mut params, &[1.0; 3]).unwrap();
            let error = optimizer.step(&cx, 0.1, &mut params[..2], &[0.0; 2]).unwrap_err();
            assert!(matches!(error, Error::Length { arg: "params", got: 2, expected: 3, .. }));
            twin.step(&cx, 0.1, &mut expected, &[1.0; 3]).unwrap();
            assert_eq!(params, expected, "{rule:?}");
        }
    }
}

#[test]
fn adam_divides_by_nothing_that_is_zero_and_corrects_by_real_rates() {
    let cx = Cx::default();
    // Without an epsilon and without a gradient there is no 0 / 0.
    let mut p = [1.0_f32, 1.0];
    let mut adam = Adam::new().epsilon(0.0).unwrap();
    adam.step(&cx, 0.1, &mut p, &[0.0, 1.0]).unwrap();
    assert!(p[0] == 1.0 && (p[1] - 0.9).abs() < 1e-6, "{p:?}");
    // The correction of a slow average is that of its real rate.
    let (mut adam, mut p) = (Adam::new().betas(0.9, 0.999999).unwrap(), [1.0_f32]);
    for _ in 0..3 {
        adam.step(&cx, 0.1, &mut p, &[1.0]).unwrap();
    }
    assert!((p[0] - 0.7).abs() < 1e-4, "{p:?}");
}

/// A number with as many exponents as one likes: `of` is 0 or from 1 to 2.
#[derive(Clone, Copy)]
struct Far {
    of: f64,
    exponent: i32,
}

impl Far {
    fn new(x: f64) -> Self {
        // A subnormal number is brought to the normal ones first.
        let (x, by) =
            if x.abs() < f64::MIN_POSITIVE { (x * f64::powi(2.0, 200), -200) } else { (x, 0) };
        let exponent = (x.to_bits() >> 52 & 0x7ff) as i32 - 1023;
        match x {
            0.0 => Far { of: 0.0, exponent: i32::MIN / 4 },
            x => Far {
                of: f64::from_bits(x.to_bits() & !(0x7ff << 52) | 1023 << 52),
                exponent: exponent + by,
            },
        }
    }
    fn scaled(x: f64, exponent: i32) -> Self {
        let Far { of, exponent: own } = Far::new(x);
        Far { of, exponent: own.saturating_add(exponent) }
    }
    fn times(self, by: Far) -> Self {
        Far::scaled(self.of * by.of, self.exponent.saturating_add(by.exponent))
    }
    fn over(self, by: Far) -> Self {
        Far::scaled(self.of / by.of, self.exponent.saturating_sub(by.exponent))
    }
    fn plus(self, other: Far) -> Self {
        let exponent = self.exponent.max(other.exponent);
        let part = |x: Far| x.of * f64::powi(2.0, x.exponent.saturating_sub(exponent).max(-300));
        Far::scaled(part(self) + part(other), exponent)
    }
    fn root(self) -> Self {
        let odd = self.exponent.rem_euclid(2);
        Far::scaled((self.of * f64::from(1 + odd)).sqrt(), (self.exponent - odd) / 2)
    }
    fn to_f64(self) -> f64 {
        self.of
            * f64::powi(2.0, self.exponent / 2)
            * f64::powi(2.0, self.exponent - self.exponent / 2)
    }
}

/// Steps of Adam at a rate of 1, by its formula, over any range. No gradient is lost, be it subnormal.
fn steps_of_adam([b1, b2]: [f64; 2], epsilon: f64, grads: &[f64]) -> Vec<f64> {
    let zero = Far::new(0.0);
    let (mut m, mut v) = (zero, zero);
    let step = |(t, &g): (usize, &f64)| {
        let g = Far::new(g);
        m = Far::new(b1).times(m).plus(Far::new(1.0 - b1).times(g));
        v = Far::new(b2).times(v).plus(Far::new(1.0 - b2).times(g).times(g));
        let [first, second] = [b1, b2].map(|beta| Far::new(1.0 - beta.powf((t + 1) as f64)));
        let divisor = v.over(second).root().plus(Far::new(epsilon));
        if divisor.of == 0.0 { 0.0 } else { m.over(first).over(divisor).to_f64() }
    };
    grads.iter().enumerate().map(step).collect()
}

/// So much at most is a step of Adam, at a rate of 1 and after so many, whatever the gradients were: by the
/// inequality of Cauchy and Schwarz, Σ b1^k |g| <= sqrt(Σ (b1²/b2)^k) sqrt(Σ b2^k g²).
fn longest_step([b1, b2]: [f64; 2], t: i32) -> f64 {
    let share = b1 * b1 / b2;
    let powers = (1.0 - share.powi(t)) / (1.0 - share);
    let correction = (1.0 - b2.powi(t)).sqrt() / (1.0 - b1.powi(t));
    (1.0 - b1) / (1.0 - b2).sqrt() * powers.sqrt() * correction
}

const BETAS: [[f64; 2]; 4] = [[0.9, 0.999], [0.5, 0.9], [0.0, 0.999999], [0.9, 0.82]];

/// Whether steps from 0 follow the formula, by Adam and AdamW, on each tier, as one of many elements.
#[track_caller]
fn follows_over_the_range<T: Element>(betas: [f64; 2], epsilon: f64, grads: &[T], tolerance: f64) {
    let grads_wide: Vec<f64> = grads.iter().map(|g| g.to_f64()).collect();
    let expected = steps_of_adam(betas, epsilon, &grads_wide);
    let ordinary = steps_of_adam(betas, epsilon, &vec![1.0; grads.len()]);
    for (isa, decoupled) in tiers().into_iter().flat_map(|isa| [false, true].map(|d| (isa, d))) {
        let rule = Rule::Adam { betas, epsilon, decay: 0.0, decoupled };
        let mut optimizer = rule.optimizer::<T>().unwrap();
        for (t, (&grad, &expected)) in grads.iter().zip(&expected).enumerate() {
            // Beside ordinary ones, in full vectors and in the rest.
            let grad: Vec<T> = (0..37).map(|i| if i % 3 == 0 { grad } else { T::ONE }).collect();
            let mut p = vec![T::ZERO; 37];
            optimizer.step(&Cx { isa, par: Par::Serial }, 1.0, &mut p, &grad).unwrap();
            for i in 0..37 {
                let expected = if i % 3 == 0 { expected } else { ordinary[t] };
                let (got, expected) = (p[i].to_f64(), -expected);
                assert!(
                    (got - expected).abs() <= tolerance * expected.abs().max(tolerance),
                    "{betas:?}, epsilon {epsilon:e}, step {t} of {grads_wide:?}, {isa}: {got:e}, \
                     expected {expected:e}"
                );
            }
        }
    }
}

/// Constant gradients, those that wander over the range, and one followed by none.
fn steps_over_the_range<T: Element>(
    exponents: std::ops::RangeInclusive<i32>,
    epsilons: &[f64],
    tolerance: f64,
) {
    let powers = |exponent: i32| T::from_f64(10.0_f64.powi(exponent));
    let (least, most) = (*exponents.start(), *exponents.end());
    let middle = least / 2;
    for (betas, &epsilon) in BETAS.iter().flat_map(|&b| epsilons.iter().map(move |e| (b, e))) {
        for exponent in exponents.clone().step_by(3) {
            follows_over_the_range(betas, epsilon, &[-powers(exponent); 3], tolerance);
            let mut fading = [T::ZERO; 6];
            fading[0] = powers(exponent);
            follows_over_the_range(betas, epsilon, &fading, tolerance);
        }
        for wandering in [
            [least, middle, 0, most, 0, middle, least],
            [most, most / 2, 0, middle, least, least, most],
            [0, least, least, middle - 1, middle, middle + 1, most / 2],
        ] {
            follows_over_the_range(betas, epsilon, &wandering.map(powers), tolerance);
        }
    }
}

#[test]
fn adam_follows_its_formula_over_the_whole_range_of_gradients_with_any_epsilon() {
    let epsilons = [1e-8, 1e-15, 1e-20, 1e-30, 1e-38, 1e-45, 0.0];
    steps_over_the_range::<f32>(-35..=36, &epsilons, 1e-5);
    let epsilons = [1e-8, 1e-45, 1e-160, 1e-200, 1e-300, 0.0];
    steps_over_the_range::<f64>(-300..=300, &epsilons, 1e-13);
}

fn no_step_is_longer_than_theory_lets_it_be<T: Element>() {
    let numbers = T::awkward().into_iter().filter(|g| g.is_finite());
    let numbers: Vec<T> = numbers.chain([1e-20, 1e20, 1e-25].map(T::from_f64)).collect();
    for (isa, betas) in tiers().into_iter().flat_map(|isa| BETAS.map(|betas| (isa, betas))) {
        for epsilon in [0.0, 1e-45, 1e-20] {
            let rule = Rule::Adam { betas, epsilon, decay: 0.0, decoupled: false };
            let (mut optimizer, cx) =
                (rule.optimizer::<T>().unwrap(), Cx { isa, par: Par::Serial });
            // Each number, and then none until there are no moments; twice.
            let mut t = 0;
            for step in 0..2 * 1500 {
                let grad: Vec<T> =
                    numbers.iter().map(|&g| if step % 1500 == 0 { g } else { T::ZERO }).collect();
                let mut p = vec![T::ZERO; numbers.len()];
                optimizer.step(&cx, 1.0, &mut p, &grad).unwrap();
                t += 1;
                let most = longest_step(betas, t) * (1.0 + 1e-4);
                for (p, g) in p.iter().zip(&numbers) {
                    let p = p.to_f64().abs();
                    assert!(
                        p <= most,
                        "{betas:?}, epsilon {epsilon:e}, {g:e}: {p:e} in step {t}, {isa}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_step_of_adam_is_bounded_whatever_the_gradients_were() {
    no_step_is_longer_than_theory_lets_it_be::<f32>();
    no_step_is_longer_than_theory_lets_it_be::<f64>();
}

/// PyTorch 2.15 in `f64`, `torch.optim.Adam(lr=0.1, eps=eps)`, three steps of the same gradient from 0.
#[test]
fn adam_with_a_tiny_epsilon_agrees_with_pytorch() {
    let cx = Cx::default();
    for epsilon in [1e-15, 1e-18, 1e-20, 1e-30, 1e-45] {
        let grads = [1e-3, -1e-20, 1e-18, 1e10_f64];
        let expected = grads.map(|g| -0.3 * g / (g.abs() + epsilon));
        let (mut narrow, mut wide) = ([0.0_f32; 4], [0.0_f64; 4]);
        let mut of_f32 = Adam::new().epsilon(epsilon).unwrap();
        let mut of_f64 = Adam::new().epsilon(epsilon).unwrap();
        for _ in 0..3 {
            of_f32.step(&cx, 0.1, &mut narrow, &grads.map(|g| g as f32)).unwrap();
            of_f64.step(&cx, 0.1, &mut wide, &grads).unwrap();
        }
        for i in 0..4 {
            let [of_f32, of_f64] = [f64::from(narrow[i]), wide[i]].map(|p| (p - expected[i]).abs());
            assert!(of_f32 <= 1e-6 * expected[i].abs(), "{epsilon:e}: {narrow:?}, {expected:?}");
            assert!(of_f64 <= 1e-14 * expected[i].abs(), "{epsilon:e}: {wide:?}, {expected:?}");
        }
    }
}

fn second_moments_are_squares_or_roots<T: Element>(grads: &[f64]) {
    let cx = Cx::default();
    let grads: Vec<T> = grads.iter().map(|&g| T::from_f64(g)).collect();
    let mut adam = Adam::new().epsilon(0.0).unwrap();
    let mut p = vec![T::ZERO; grads.len()];
    for _ in 0..3 {
        adam.step(&cx, 0.1, &mut p, &grads).unwrap();
    }
    let moments: Vec<Vec<T>> = adam.moments().into_iter().map(|(_, of)| of.to_vec()).collect();
    for (g, v) in grads.iter().zip(&moments[1]) {
        let exact = g.to_f64() * g.to_f64() * (1.0 - 0.999_f64.powi(3));
        if (1e-6..1e6).contains(&g.abs().to_f64()) {
            assert!((v.to_f64() / exact - 1.0).abs() < 1e-6, "{v:e} of {g:e}");
        }
        assert!(v.abs() >= T::MIN_POSITIVE && v.is_finite(), "{v:e} of {g:e}");
    }
    // Another that goes on from them takes the same step.
    let mut resumed = Adam::new().epsilon(0.0).unwrap();
    resumed.restore(adam.steps(), moments).unwrap();
    let mut twin = p.clone();
    adam.step(&cx, 0.1, &mut p, &grads).unwrap();
    resumed.step(&cx, 0.1, &mut twin, &grads).unwrap();
    assert_eq!(bits(&p), bits(&twin));
    assert!(
        p.iter()
            .zip(&grads)
            .all(|(p, g)| (p.abs().to_f64() - 0.4).abs() < 1e-6 && *p * *g < T::ZERO)
    );
}

#[test]
fn a_run_with_gradients_of_any_size_goes_on_from_its_moments() {
    second_moments_are_squares_or_roots::<f32>(&[1e-36, 1e-20, -1e-3, 1.0, 1e5, -1e20, 1e37, 1e18]);
    second_moments_are_squares_or_roots::<f64>(&[1e-300, 1e-160, -1e-3, 1.0, 1e5, -1e170, 1e300]);
}

#[test]
fn a_moment_of_squares_from_before_is_gone_on_from() {
    // 1e-36 is held as it is by who takes all squares so; then a gradient of 1e-18 is its root.
    let (mut adam, mut p) = (Adam::new().epsilon(0.0).unwrap(), [0.0_f32]);
    adam.restore(1_000_000, vec![vec![1e-18], vec![1e-36]]).unwrap();
    for _ in 0..3 {
        adam.step(&Cx::default(), 0.1, &mut p, &[1e-18]).unwrap();
    }
    assert!((p[0] + 0.3).abs() < 1e-6, "{p:?}");
}

#[test]
fn a_gradient_is_clipped_where_the_quotient_is_below_the_numbers() {
    for isa in tiers() {
        let mut grad = [3e299_f64, -4e299, 1e290];
        clip_norm(&Cx { isa, par: Par::Serial }, &mut grad, 5e-100).unwrap();
        for (g, expected) in grad.iter().zip([3e-100, -4e-100, 1e-109]) {
            assert!((g / expected - 1.0).abs() < 1e-14, "{grad:?} on {isa}");
        }
    }
}

/// The norm of the numbers times 2^-exponent, in plain `f64`.
fn norm<T: Element>(of: &[T], exponent: i32) -> f64 {
    let scale = f64::powi(2.0, -exponent);
    of.iter().map(|x| (x.to_f64() * scale).powi(2)).sum::<f64>().sqrt()
}

fn norms_are_exact<T: Element>(exponents: &[i32], rounding: f64) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for &exponent in exponents {
        for len in [0, 1, 5, 37, 1000, 3 * LONG] {
            let mut random = Random::new(len as u64 + 1);
            let size = f64::powi(2.0, exponent);
            let grad: Vec<T> =
                (0..len).map(|_| T::from_f64(size * random.between::<f64>(-1.0, 1.0))).collect();
            let expected = norm(&grad, exponent) * size;
            let mut results = Vec::new();
            for isa in tiers() {
                for par in [Par::Serial, Par::Rayon] {
                    let what = format!("{len} of 2^{exponent}, {}, {isa}", T::NAME);
                    let cx = Cx { isa, par };
                    let mut clipped = grad.clone();
                    let large = (2.0 * expected).max(f64::MIN_POSITIVE);
                    let got = pool.install(|| clip_norm(&cx, &mut clipped, large)).unwrap();
                    assert!((got - expected).abs() <= 1e-13 * expected, "{what}: {got:e}");
                    assert_eq!(bits(&clipped), bits(&grad), "{what}: clipped below the bound");
                    assert_eq!(clip_norm(&cx, &mut clipped, f64::INFINITY).unwrap(), got);
                    if len > 0 {
                        let max = 0.3 * expected;
                        assert_eq!(clip_norm(&cx, &mut clipped, max).unwrap(), got, "{what}");
                        let after = norm(&clipped, exponent) * size;
                        assert!((after - max).abs() <= rounding * max, "{what}: {after:e}");
                        for (g, before) in clipped.iter().zip(&grad) {
                            let error = (g.to_f64() - 0.3 * before.to_f64()).abs();
                            assert!(error <= rounding * size, "{what}: {before} becomes {g}");
                        }
                    }
                    results.push((got.to_bits(), bits(&clipped)));
                }
            }
            assert!(results.iter().all(|result| *result == results[0]), "tiers and threads");
        }
    }
}

#[test]
fn gradients_are_clipped_to_the_exact_norm_over_the_whole_range() {
    norms_are_exact::<f32>(&[0, 100, 120, -100, -120], 1e-7);
    norms_are_exact::<f64>(&[0, 500, 1000, -500, -1000], 1e-13);
}

#[test]
fn a_gradient_is_clipped_by_factors_below_the_normal_numbers() {
    for isa in tiers() {
        let mut grad = [3e37_f32, -4e37];
        clip_norm(&Cx { isa, par: Par::Serial }, &mut grad, 5e-5).unwrap();
        let close = |g: f32, expected: f32| (g / expected - 1.0).abs() < 1e-6;
        assert!(close(grad[0], 3e-5) && close(grad[1], -4e-5), "{grad:?} on {isa}");
    }
}

#[test]
fn a_norm_that_is_not_finite_is_refused_and_leaves_the_gradient() {
    for isa in tiers() {
        let cx = Cx { isa, par: Par::Serial };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 20, 36] {
                let mut grad = [2.0_f32; 37];
                grad[at] = bad;
                let before = bits(&grad);
                let error = clip_norm(&cx, &mut grad, 1.0).unwrap_err();
                let Error::Value { arg, got, .. } = error else { panic!("{error}") };
                assert_eq!(arg, "the gradient's norm");
                assert!(if bad.is_nan() { got.is_nan() } else { got == f64::INFINITY }, "{got}");
                assert_eq!(bits(&grad), before);
            }
        }
        for max in [0.0, -1.0, f64::NAN] {
            let error = clip_norm(&cx, &mut [1.0_f64], max).unwrap_err();
            assert!(matches!(error, Error::Value { arg: "max", .. }), "{error}");
        }
    }
}

#[test]
fn rates_fall_in_steps_and_warm_up_to_any_schedule() {
    let rate = schedule::step(0.4, 3, 0.5);
    let rates: Vec<f64> = (0..8).map(&rate).collect();
    assert_eq!(rates, [0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1]); // as PyTorch's StepLR
    assert_eq!(schedule::step(0.4, 0, 0.5)(2), 0.1);
    assert_eq!(rate(u64::MAX), 0.0);
    let (warm, cold) = (schedule::warm_up(9, schedule::cosine(0.1, 20)), schedule::cosine(0.1, 20));
    for step in 0..30 {
        let share = f64::min(1.0, (step as f64 + 1.0) / 10.0);
        assert!((warm(step) - share * cold(step)).abs() < 1e-16, "step {step}");
    }
    assert_eq!(schedule::warm_up(0, schedule::constant(0.1))(0), 0.1);
}
