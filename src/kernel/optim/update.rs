//! The optimizers' one pass over parameters, gradients and moments.
//!
//! Gradients, moments and parameters below the smallest normal number become 0 on the way: arithmetic
//! on denormals is slow on many processors, and decaying moments would fill with them.

#![forbid(unsafe_code)]

use std::ops::{Add, Mul, Sub};

use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// v = momentum v + g;  p = p - rate v, or p - rate (g + momentum v) with Nesterov's momentum
///
/// with g = gradient + decay p.
pub(crate) struct Sgd<'a, T> {
    pub rate: T,
    pub momentum: T,
    pub nesterov: bool,
    pub decay: T,
    /// A v below this counts as 0 in the step, which would move p by less than the smallest normal number.
    pub floor: T,
    pub params: &'a mut [T],
    pub grad: &'a [T],
    pub velocity: &'a mut [T],
}

impl<T: Real> Kernel<T> for Sgd<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let [rate, momentum] = [self.rate, self.momentum].map(|x| s.splat(x));
        let [decay, floor] = [self.decay, self.floor].map(|x| s.splat(x));
        let state = self.params.chunks_mut(S::LANES).zip(self.velocity.chunks_mut(S::LANES));
        for ((params, velocity), grad) in state.zip(self.grad.chunks(S::LANES)) {
            let p = s.load(params);
            let g = s.fma(decay, p, flush(s, s.load(grad)));
            let v = flush(s, s.fma(momentum, s.load(velocity), g));
            s.store(v, velocity);
            let v = if self.nesterov { s.fma(momentum, v, g) } else { v };
            s.store(flush(s, s.fma(-rate, cut(s, v, floor), p)), params);
        }
    }
}

/// p = p - shrink p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g²;
/// p = p - rate m / (sqrt(v) root + eps), where the divisor is not 0
///
/// with g = gradient + decay p, `rate` already divided by 1 - b1^t and `root` = 1 / sqrt(1 - b2^t).
///
/// Squares of gradients span twice the exponents of the element type. So `second` holds v only where v is
/// far from both ends of the normal numbers. Elsewhere it holds a scaled root of v, made negative to be
/// told apart:
///
/// ```text
/// v                 held as          computed as    divisor, numerator
/// up to most        v                v              as above
/// above most        -sqrt(v)         v down²        both times down
/// below least       -sqrt(v) up      v up²          both times up
/// ```
///
/// where `least`, `most` and the powers of two `up` and `down` are those of [`Ranges`]. Roots are kept down
/// to 2^-160 (in `f64` 2^-1316), so that none becomes 0 before m does: where b1² < b2, m is at most 2^24
/// (2^53) sqrt(v), and it becomes 0 below 2^-126 (2^-1022).
pub(crate) struct Adam<'a, T> {
    pub rate: T,
    pub betas: [T; 2],
    /// 1 - b1 and 1 - b2, each rounded once: near 1 the difference of rounded numbers is far off.
    pub rest: [T; 2],
    /// A g below these counts as 0 in m, in v: it would add less than the smallest normal number.
    pub floors: [T; 2],
    /// eps as it is, times `up`, and times `down`.
    pub epsilons: [T; 3],
    pub decay: T,
    pub shrink: T,
    pub root: T,
    pub params: &'a mut [T],
    pub grad: &'a [T],
    pub first: &'a mut [T],
    pub second: &'a mut [T],
}

impl<T: Real> Kernel<T> for Adam<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let [rate, root] = [self.rate, self.root].map(|x| s.splat(x));
        let epsilons = self.epsilons.map(|x| s.splat(x));
        let [decay, shrink] = [self.decay, self.shrink].map(|x| s.splat(x));
        let [b1, b2] = self.betas.map(|x| s.splat(x));
        let [c1, c2] = self.rest.map(|x| s.splat(x));
        let [floor1, floor2] = self.floors.map(|x| s.splat(x));
        let zero = s.splat(T::ZERO);
        let nothing = b1 * zero;
        let ranges = Ranges::new(s, [nothing, s.splat(T::SQUARED_DOWN) + nothing]);
        let moments = self.first.chunks_mut(S::LANES).zip(self.second.chunks_mut(S::LANES));
        let state = self.params.chunks_mut(S::LANES).zip(moments);
        for ((params, (first, second)), grad) in state.zip(self.grad.chunks(S::LANES)) {
            let p = s.load(params);
            let g = s.fma(decay, p, flush(s, s.load(grad)));
            let (g1, g2) = (cut(s, g, floor1), cut(s, g, floor2));
            let m = flush(s, s.fma(b1, s.load(first), c1 * g1));
            s.store(m, first);
            let held = s.load(second);
            let squares = c2 * g2 * g2;
            let v = s.fma(b2, held, squares);
            let mut beyond = s.lt(v, ranges.least) | s.lt(ranges.most, v) | s.lt(held, zero);
            if s.count(beyond) > 0 {
                // Where there never was a gradient there is nothing to scale.
                beyond = beyond & !(s.eq(g, zero) & s.eq(held, zero));
            }
            let moments = if s.count(beyond) == 0 {
                Moments { root: s.sqrt(v), held: v, m, epsilon: epsilons[0] }
            } else {
                ranges.update(s, beyond, [b2, c2], [g, squares], held, [m, v], epsilons)
            };
            s.store(moments.held, second);
            let divisor = s.fma(moments.root, root, moments.epsilon);
            let step = s.select(s.nonzero(divisor), rate * moments.m / divisor, zero);
            s.store(flush(s, s.fma(-shrink, p, p) - step), params);
        }
    }
}

/// The terms of a step's divisor and numerator, all with the same scale.
struct Moments<F> {
    /// sqrt(v)
    root: F,
    m: F,
    epsilon: F,
    /// The number that `second` holds for v.
    held: F,
}

/// The range of v that is not scaled, and the powers of two that bring other v into it, each in every lane.
///
/// The exponents are such that nothing that counts is lost and no product is subnormal: `f32` is normal from
/// 2^-126 to 2^128 and has 24 bits, `f64` from 2^-1022 to 2^1024 with 53.
struct Ranges<F> {
    /// 0, unknown at compile time, as `down` must be too: else the compiler turns a product with a selected
    /// factor into a selection between products, one of them subnormal.
    zero: F,
    one: F,
    /// From this v on, parts of it below the smallest normal number do not count.
    least: F,
    /// Up to this v: infinity is larger by any factor that 1 / (1 - b2) may be.
    most: F,
    up: F,
    down: F,
    over_up: F,
    over_down: F,
    /// Held roots of this size or more are not scaled: they are above 2^60 (2^480), scaled ones below
    /// 2^50 (2^333).
    large: F,
    /// Scaled roots below this count as 0: their squares would be subnormal.
    faint: F,
    /// Scaled roots below this are negligible beside `least`.
    faint_within: F,
    /// Gradients, v and m below these are negligible beside `most`.
    faint_beside: [F; 3],
}

impl<F: Copy> Ranges<F> {
    #[inline(always)]
    fn new<T: Real, S: Simd<T, F = F>>(s: S, [zero, down]: [F; 2]) -> Self {
        let single = size_of::<T>() == 4;
        let least = two_to(s, if single { -100 } else { -966 });
        let most = two_to(s, if single { 120 } else { 960 });
        let large = two_to(s, if single { 55 } else { 449 });
        let faint = two_to(s, if single { -60 } else { -500 });
        let faint_within = two_to(s, if single { 38 } else { 307 });
        let faint_g = two_to(s, if single { 30 } else { 245 });
        let faint_v = two_to(s, if single { 36 } else { 290 });
        Ranges {
            zero,
            one: s.splat(T::ONE),
            least,
            most,
            up: s.splat(T::SQUARED_UP),
            down,
            over_up: s.splat(T::ONE / T::SQUARED_UP),
            over_down: s.splat(T::ONE / T::SQUARED_DOWN),
            large,
            faint,
            faint_within,
            faint_beside: [faint_g, faint_v, s.splat(T::MIN_POSITIVE / T::SQUARED_DOWN)],
        }
    }

    /// The moments after a step: new ones for lanes where v is `beyond` the range before or after the step,
    /// and for other lanes those given. `squares` is (1 - b2) g², and v the new v as computed without
    /// scaling.
    ///
    /// v is computed with each of the three scales; the two that do not hold it are infinite or 0.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the state of a step, in registers")]
    fn update<T: Real, S: Simd<T, F = F>>(
        &self,
        s: S,
        beyond: S::M,
        [b2, c2]: [F; 2],
        [g, squares]: [F; 2],
        held: F,
        [m, v]: [F; 2],
        epsilons: [F; 3],
    ) -> Moments<F>
    where
        F: Add<Output = F> + Sub<Output = F> + Mul<Output = F>,
    {
        let Ranges { zero, one, up, down, .. } = *self;
        let is_root = s.lt(held, zero);
        let (root, g) = (s.abs(held), s.abs(g));
        let is_large = is_root & !s.lt(root, self.large);

        // v without scaling
        let unscaled =
            s.select(is_large, root, self.cut(s, root, self.faint_within) * self.over_up);
        let v = s.select(is_root, b2 * unscaled * unscaled + squares, v);

        // v up²
        let scaled = self.cut(s, root, self.faint);
        let terms = s.select(is_root, scaled * b2, held * (b2 * up));
        let gradient = g * up;
        let above = terms * s.select(is_root, scaled, up) + c2 * gradient * gradient;
        let above = self.cut(s, above, self.faint * self.faint);

        // v down²
        let terms = s.select(is_root, zero, self.cut(s, held, self.faint_beside[1]));
        let terms = s.select(is_large, root, terms) * down;
        let gradient = self.cut(s, g, self.faint_beside[0]) * down;
        let below = b2 * terms * s.select(is_large, terms, down) + c2 * gradient * gradient;

        let is_big = beyond & s.lt(self.most * down * down, below);
        let is_small = beyond & s.lt(v, self.least) & !is_big;
        let cases = [is_big, is_small];
        let root = s.sqrt(choose(s, cases, [below, above, v]));
        let m = s.select(is_big, self.cut(s, m, self.faint_beside[2]), m);
        // 0 less the root, since the negative of 0 would be -0.
        let roots = [zero - root * self.over_down, zero - root];
        Moments {
            root,
            m: m * choose(s, cases, [down, up, one]),
            epsilon: choose(s, cases, [epsilons[2], epsilons[1], epsilons[0]]),
            held: choose(s, cases, [roots[0], roots[1], v]),
        }
    }

    /// 0 where |v| is below the floor.
    #[inline(always)]
    fn cut<T: Real, S: Simd<T, F = F>>(&self, s: S, v: F, floor: F) -> F {
        s.select(s.lt(s.abs(v), floor), self.zero, v)
    }
}

/// A power of two in every lane.
#[inline(always)]
fn two_to<T: Real, S: Simd<T>>(s: S, exponent: i32) -> S::F {
    s.splat(T::from_f64(f64::powi(2.0, exponent)))
}

/// `of[0]` where the first case holds, `of[1]` where the second does, `of[2]` elsewhere.
#[inline(always)]
fn choose<T: Real, S: Simd<T>>(s: S, cases: [S::M; 2], of: [S::F; 3]) -> S::F {
    s.select(cases[0], of[0], s.select(cases[1], of[1], of[2]))
}

/// 0 where |v| is below the smallest normal number.
#[inline(always)]
fn flush<T: Real, S: Simd<T>>(s: S, v: S::F) -> S::F {
    cut(s, v, s.splat(T::MIN_POSITIVE))
}

/// 0 where |v| is below the floor.
#[inline(always)]
fn cut<T: Real, S: Simd<T>>(s: S, v: S::F, floor: S::F) -> S::F {
    s.select(s.lt(s.abs(v), floor), s.splat(T::ZERO), v)
}
