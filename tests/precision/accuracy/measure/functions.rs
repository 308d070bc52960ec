//! Functions of one number.

use drlim::nn::{Layer, Network, ScaledTanh, Shape, Sigmoid, Tanh, Workspace};
use drlim::simd::{Kernel, Simd, math};
use drlim::{Mat, MatMut, Real};

use super::bounds::{self, Bound, Sizes};
use super::formulas::Wide;
use super::inputs::Class;
use super::pairs::f64s;
use super::record::{Case, Exact, Record};
use super::{Plan, serial};
use crate::support::number::Number;
use crate::support::{Element, Random, double_double};

/// A function of each element, as lanes have it.
struct Map<'a, T> {
    tanh: bool,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Kernel<T> for Map<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for (x, y) in self.x.chunks(S::LANES).zip(self.y.chunks_mut(S::LANES)) {
            let x = s.load(x);
            s.store(if self.tanh { math::tanh(s, x) } else { math::exp(s, x) }, y);
        }
    }
}

fn is_wide<T>() -> bool {
    size_of::<T>() == size_of::<f64>()
}

/// Arguments of each class, within `ends`.
fn arguments<T: Element>(plan: &Plan, ends: [f64; 2]) -> Vec<(Class, Vec<T>)> {
    let n = plan.arguments;
    let mut random = Random::new(plan.seed);
    let all = (0..n).map(|_| random.between(ends[0], ends[1])).collect();
    let mixed = Class::Mixed.matrix::<T>([1, n], 0, plan.seed).into_iter();
    let inside = |x: &T| (ends[0]..ends[1]).contains(&x.to_f64());
    // Where the functions change their course.
    let near = (0..n as i64).map(|i| {
        let multiple = (i % 800 - 400) as f64 * std::f64::consts::LN_2 / 4.0;
        T::from_f64(multiple * (1.0 + (i % 7 - 3) as f64 * T::EPSILON.to_f64()))
    });
    vec![
        (Class::Ordinary, Class::Ordinary.matrix([1, n], 0, plan.seed)),
        (Class::Huge, all),
        (Class::Mixed, mixed.filter(inside).collect()),
        (Class::Alternating, near.filter(inside).collect()),
        (Class::Denormal, Class::Denormal.matrix([1, n], 0, plan.seed)),
        (Class::SignedZeros, Class::SignedZeros.matrix([1, n], 0, plan.seed)),
    ]
}

/// tanh, to twice the precision.
fn tanh(x: f64) -> Wide {
    if x.abs() < 40.0 { double_double::tanh(x) } else { Wide::new(1.0_f64.copysign(x)) }
}

fn sigmoid(x: f64) -> Wide {
    Wide::new(1.0) / (Wide::new(1.0) + Wide::new(-x).exp())
}

pub fn functions<T: Element>(plan: &Plan, record: &mut Record) {
    activations::<T>(plan, record);
    let [of_exp, of_tanh]: [&'static Bound; 2] = match is_wide::<T>() {
        true => [&bounds::EXP_64, &bounds::TANH_64],
        false => [&bounds::EXP_32, &bounds::TANH_32],
    };
    // Results that are normal: tests/precision/math.rs looks at all others.
    let ends = if is_wide::<T>() { [-708.0, 708.0] } else { [-87.3, 88.0] };
    for (class, x) in arguments::<T>(plan, ends) {
        let case = Case { class, sizes: Sizes { d: 1, n: 1 } };
        let exact = |f: fn(f64) -> Wide| -> Vec<Exact> {
            let of = |x: &T| Exact::term(f(x.to_f64())).losing(T::tiny().to_f64());
            x.iter().map(of).collect()
        };
        let [exps, tanhs] = [exact(|x| Wide::new(x).exp()), exact(tanh)];
        for isa in record.isas() {
            for (bound, tanh, exact) in [(of_exp, false, &exps), (of_tanh, true, &tanhs)] {
                let mut y = vec![T::NAN; x.len()];
                T::dispatch(isa, Map { tanh, x: &x, y: &mut y });
                record.compare::<T>(bound, isa, case, f64s(&y), exact.iter().copied());
            }
        }
    }
}

/// A derivative in terms of the result, as its terms.
type Slope = fn(f64) -> Exact;

fn activations<T: Element>(plan: &Plan, record: &mut Record) {
    let scaled: fn(f64) -> Wide = |x| {
        let x = Wide::new(2.0) / Wide::new(3.0) * Wide::new(x);
        // tanh(high + low) = tanh(high) + (1 - tanh²) low
        let t = tanh(x.high);
        Wide::new(1.7159) * (t + (Wide::new(1.0) - t * t) * Wide::new(x.low))
    };
    let of_tanh: Slope = |y| {
        let y = Wide::new(y);
        Exact::term(Wide::new(1.0)).plus(Exact::term(-(y * y)))
    };
    let of_scaled: Slope = |y| {
        let (y, a, b) = (Wide::new(y), Wide::new(1.7159), Wide::new(2.0) / Wide::new(3.0));
        Exact::term(a * b).plus(Exact::term(-(b / a * y * y)))
    };
    let of_sigmoid: Slope =
        |y| Exact::term(Wide::new(y)).plus(Exact::term(-(Wide::new(y) * Wide::new(y))));
    let sigmoid: fn(f64) -> Wide = sigmoid;
    let of_tanh_value: &'static Bound =
        if is_wide::<T>() { &bounds::TANH_64 } else { &bounds::TANH_32 };
    let ends = if is_wide::<T>() { [-708.0, 708.0] } else { [-87.0, 88.0] };
    for (class, x) in arguments::<T>(plan, ends) {
        let case = Case { class, sizes: Sizes { d: 1, n: 1 } };
        for isa in record.isas() {
            let mut one =
                |layer: Box<dyn Fn() -> Network<T>>, bound, f: fn(f64) -> Wide, slope: Slope| {
                    let [y, dx, dy] = pass(&layer(), isa, &x, plan.seed);
                    let exact =
                        x.iter().map(|x| Exact::term(f(x.to_f64())).losing(T::tiny().to_f64()));
                    record.compare::<T>(bound, isa, case, f64s(&y), exact);
                    let exact = y.iter().zip(&dy).map(|(y, dy)| {
                        let lost = 4.0 * T::tiny().to_f64();
                        slope(y.to_f64()).times(Wide::new(dy.to_f64())).losing(lost)
                    });
                    record.compare::<T>(&bounds::SLOPE, isa, case, f64s(&dx), exact);
                };
            one(Box::new(|| network(Tanh::new())), of_tanh_value, tanh, of_tanh);
            one(Box::new(|| network(ScaledTanh::new())), &bounds::SCALED_TANH, scaled, of_scaled);
            one(Box::new(|| network(Sigmoid::new())), &bounds::SIGMOID, sigmoid, of_sigmoid);
        }
    }
}

fn network<T: Element>(layer: impl Layer<T> + 'static) -> Network<T> {
    Network::builder(Shape::flat(1)).layer("f", layer).build(1).unwrap()
}

/// Output, input gradient and the gradient that it was made of.
fn pass<T: Element>(net: &Network<T>, isa: drlim::Isa, x: &[T], seed: u64) -> [Vec<T>; 3] {
    let n = x.len();
    let dy: Vec<T> = Class::Ordinary.matrix([1, n], 0, seed);
    let mut workspace = Workspace::training(net, n).unwrap();
    let cx = serial(isa);
    let y = net.forward(&cx, Mat::new(x, n, 1).unwrap(), &mut workspace).unwrap();
    let y = y.as_slice().unwrap().to_vec();
    let mut dx = vec![T::NAN; n];
    let to = Some(MatMut::new(&mut dx, n, 1).unwrap());
    net.backward(&cx, Mat::new(&dy, n, 1).unwrap(), &mut workspace, &mut [], to).unwrap();
    [y, dx, dy]
}
