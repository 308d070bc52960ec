//! A network in scalar f64, sample by sample, and how far from it a kernel may be: the error of each
//! number as it is handed on from layer to layer, to first order.

use crate::formulas::{Formula, Sum};
use crate::oracle::Approx;
use crate::stack::Spec;

/// A layer.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    Windows(Formula),
    Dense { inputs: usize, outputs: usize },
    Activation(Activation),
    L2Normalize,
}

#[derive(Clone, Copy, Debug)]
pub enum Activation {
    Tanh,
    ScaledTanh,
    Sigmoid,
    Relu,
}

/// Numbers, each with its error.
#[derive(Clone, Debug, Default)]
struct Numbers {
    x: Vec<f64>,
    error: Vec<f64>,
}

impl Numbers {
    fn exact(x: &[f64]) -> Self {
        Numbers { x: x.to_vec(), error: vec![0.0; x.len()] }
    }

    fn push(&mut self, x: f64, error: f64) {
        self.x.push(x);
        self.error.push(error);
    }

    /// Sums, and what the errors of their terms make of them.
    fn of(sums: &[Sum], errors: &[Sum], epsilon: f64) -> Self {
        let mut numbers = Numbers::default();
        for (sum, error) in sums.iter().zip(errors) {
            numbers.push(sum.value, error.value + sum.allowed(epsilon));
        }
        numbers
    }
}

fn abs(of: &[f64]) -> Vec<f64> {
    of.iter().map(|x| x.abs()).collect()
}

impl Activation {
    /// y, and the derivative and how much it changes with y.
    fn at(self, x: f64) -> (f64, f64, f64) {
        const TOP: f64 = 1.7159;
        match self {
            Activation::Tanh => {
                let y = x.tanh();
                (y, 1.0 - y * y, 2.0)
            }
            Activation::ScaledTanh => {
                let y = (2.0 * x / 3.0).tanh();
                (TOP * y, TOP * 2.0 / 3.0 * (1.0 - y * y), 4.0 / 3.0)
            }
            Activation::Sigmoid => {
                let y = 1.0 / (1.0 + (-x).exp());
                (y, y * (1.0 - y), 1.0)
            }
            Activation::Relu => (x.max(0.0), f64::from(u8::from(x > 0.0)), 0.0),
        }
    }
}

impl Stage {
    pub fn windows(spec: Spec, input: drlim::nn::Shape) -> Self {
        Stage::Windows(Formula::new(spec, input))
    }

    fn params(&self) -> usize {
        match self {
            Stage::Windows(formula) => match formula.spec {
                Spec::Conv { maps, kernel, .. } => {
                    maps * (formula.input.channels * kernel[0] * kernel[1] + 1)
                }
                Spec::Subsample(_) => 2 * formula.input.channels,
                _ => 0,
            },
            Stage::Dense { inputs, outputs } => (inputs + 1) * outputs,
            _ => 0,
        }
    }

    fn forward(&self, params: &[f64], x: &Numbers, epsilon: f64) -> Numbers {
        match self {
            Stage::Windows(formula) => {
                let sums = formula.forward(params, &x.x);
                let errors = formula.forward(&without_biases(formula, params), &x.error);
                Numbers::of(&sums, &errors, epsilon)
            }
            Stage::Dense { inputs, outputs } => {
                let (weights, biases) = params.split_at(inputs * outputs);
                let mut y = Numbers::default();
                for (weights, &bias) in weights.chunks(*inputs).zip(biases) {
                    let (mut sum, mut error) = (Sum::default(), 0.0);
                    sum.add(bias);
                    for ((w, x), e) in weights.iter().zip(&x.x).zip(&x.error) {
                        sum.add(w * x);
                        error += w.abs() * e;
                    }
                    y.push(sum.value, error + sum.allowed(epsilon));
                }
                y
            }
            Stage::Activation(f) => {
                let mut y = Numbers::default();
                for (&x, &error) in x.x.iter().zip(&x.error) {
                    let (value, ..) = f.at(x);
                    let steepest = 1.15;
                    let rounded = match f {
                        Activation::Relu => 0.0,
                        _ => 16.0 * epsilon * (value.abs() + 0.01),
                    };
                    y.push(value, steepest * error + rounded);
                }
                y
            }
            Stage::L2Normalize => {
                let norm = x.x.iter().map(|x| x * x).sum::<f64>().sqrt();
                let lost = x.error.iter().map(|e| e * e).sum::<f64>().sqrt();
                let rounded = (x.x.len() as f64 + 8.0) * epsilon;
                let mut y = Numbers::default();
                for (&x, &error) in x.x.iter().zip(&x.error) {
                    let y_k = x / norm;
                    let error = (error + y_k.abs() * lost) / norm + rounded * y_k.abs();
                    // No direction is left of numbers as small as their errors, or their squares.
                    let known = norm > 8.0 * lost && norm > 1e-15;
                    y.push(
                        if known { y_k } else { 0.0 },
                        if known { error } else { f64::INFINITY },
                    );
                }
                y
            }
        }
    }

    /// The gradient of the input; what is added to that of the parameters, and to its error.
    fn backward(
        &self,
        params: &[f64],
        [x, y, dy]: [&Numbers; 3],
        [gradient, lost]: [&mut [Sum]; 2],
        epsilon: f64,
    ) -> Numbers {
        match self {
            Stage::Windows(formula) => {
                let sums = formula.backward(params, &x.x, &dy.x, gradient);
                let is_max = matches!(formula.spec, Spec::Max { .. });
                // The largest is chosen by the numbers themselves.
                let sizes = if is_max { x.x.clone() } else { abs(&x.x) };
                let size = without_biases(formula, params);
                let mut errors = formula.backward(&size, &sizes, &dy.error, lost);
                let mut by_x = vec![Sum::default(); lost.len()];
                if !is_max {
                    formula.backward(&size, &x.error, &abs(&dy.x), &mut by_x);
                }
                let weights = formula.biases().min(lost.len());
                for (lost, by_x) in lost.iter_mut().zip(&by_x).take(weights) {
                    lost.add(by_x.value);
                }
                if is_max {
                    add_ties(formula, x, dy, &mut errors);
                }
                Numbers::of(&sums, &errors, epsilon)
            }
            Stage::Dense { inputs, outputs } => {
                let (weights, biases) = (&params[..inputs * outputs], inputs * outputs);
                let mut sums = vec![Sum::default(); *inputs];
                let mut errors = sums.clone();
                for o in 0..*outputs {
                    let (dy, e) = (dy.x[o], dy.error[o]);
                    gradient[biases + o].add(dy);
                    lost[biases + o].add(e);
                    for i in 0..*inputs {
                        let w = weights[o * inputs + i];
                        sums[i].add(w * dy);
                        errors[i].add(w.abs() * e);
                        gradient[o * inputs + i].add(dy * x.x[i]);
                        lost[o * inputs + i]
                            .add(dy.abs() * x.error[i] + e * (x.x[i].abs() + x.error[i]));
                    }
                }
                Numbers::of(&sums, &errors, epsilon)
            }
            Stage::Activation(f) => {
                let mut dx = Numbers::default();
                for k in 0..x.x.len() {
                    let (dy, e) = (dy.x[k], dy.error[k]);
                    let (_, slope, change) = f.at(x.x[k]);
                    let mut error = slope.abs() * e + 8.0 * epsilon * dy.abs();
                    error += (dy.abs() + e) * change * y.error[k];
                    let at_kink = matches!(f, Activation::Relu) && x.x[k].abs() <= x.error[k];
                    if at_kink && x.error[k] > 0.0 {
                        error += dy.abs() + e;
                    }
                    dx.push(slope * dy, error);
                }
                dx
            }
            Stage::L2Normalize => {
                let norm = x.x.iter().map(|x| x * x).sum::<f64>().sqrt();
                let of_norm = x.error.iter().map(|e| e * e).sum::<f64>().sqrt() / norm;
                let dot: f64 = y.x.iter().zip(&dy.x).map(|(y, dy)| y * dy).sum();
                let size: f64 = y.x.iter().zip(&dy.x).map(|(y, dy)| (y * dy).abs()).sum();
                let of_dot: f64 = (0..y.x.len())
                    .map(|k| {
                        y.error[k] * (dy.x[k].abs() + dy.error[k]) + y.x[k].abs() * dy.error[k]
                    })
                    .sum();
                let rounded = (y.x.len() as f64 + 16.0) * epsilon + 2.0 * of_norm;
                let mut dx = Numbers::default();
                for k in 0..x.x.len() {
                    let (y, y_error) = (y.x[k], y.error[k]);
                    let error = dy.error[k] + y.abs() * of_dot + y_error * (size + of_dot);
                    let error = (error + rounded * (dy.x[k].abs() + y.abs() * size)) / norm;
                    let error = if error.is_nan() { f64::INFINITY } else { error };
                    let x = (dy.x[k] - y * dot) / norm;
                    dx.push(if x.is_finite() { x } else { 0.0 }, error);
                }
                dx
            }
        }
    }
}

/// Sizes of the weights, and no biases: what the error of an input is multiplied by.
fn without_biases(formula: &Formula, params: &[f64]) -> Vec<f64> {
    let mut sizes = abs(params);
    let weights = formula.biases().min(sizes.len());
    sizes[weights..].fill(0.0);
    sizes
}

/// A gradient may go to any pixel that is as large as the largest, as far as either is known.
fn add_ties(formula: &Formula, x: &Numbers, dy: &Numbers, errors: &mut [Sum]) {
    let [map, out] = [formula.input, formula.output].map(|shape| shape.height * shape.width);
    for (at, (&dy, &e)) in dy.x.iter().zip(&dy.error).enumerate() {
        let pixels = formula.window(at % out).map(|(_, pixel)| at / out * map + pixel);
        let pixels: Vec<usize> = pixels.collect();
        let largest = pixels.iter().fold(f64::NEG_INFINITY, |max, &p| max.max(x.x[p] - x.error[p]));
        let tied: Vec<usize> =
            pixels.into_iter().filter(|&p| x.x[p] + x.error[p] >= largest).collect();
        if tied.iter().any(|&p| x.error[p] > 0.0) && tied.len() > 1 {
            tied.into_iter().for_each(|p| errors[p].add(dy.abs() + e));
        }
    }
}

/// A network that samples pass one after another.
pub struct Reference<'n> {
    stages: &'n [Stage],
    params: &'n [f64],
    epsilon: f64,
    z: Numbers,
    dx: Numbers,
    gradient: Vec<Sum>,
    lost: Vec<Sum>,
}

impl<'n> Reference<'n> {
    pub fn new(stages: &'n [Stage], params: &'n [f64], epsilon: f64) -> Self {
        let count: usize = stages.iter().map(Stage::params).sum();
        assert_eq!(count, params.len(), "parameters");
        let zeros = vec![Sum::default(); count];
        let (z, dx) = (Numbers::default(), Numbers::default());
        Reference { stages, params, epsilon, z, dx, gradient: zeros.clone(), lost: zeros }
    }

    pub fn pass(&mut self, x: &[f64], dz: &[f64]) {
        let mut between = vec![Numbers::exact(x)];
        let mut first = vec![0];
        for (i, stage) in self.stages.iter().enumerate() {
            let params = &self.params[first[i]..][..stage.params()];
            between.push(stage.forward(params, &between[i], self.epsilon));
            first.push(first[i] + stage.params());
        }
        let mut dy = Numbers::exact(dz);
        for (i, stage) in self.stages.iter().enumerate().rev() {
            let part = first[i]..first[i + 1];
            let (x, y) = (&between[i], &between[i + 1]);
            let gradients = [&mut self.gradient[part.clone()], &mut self.lost[part.clone()]];
            dy = stage.backward(&self.params[part], [x, y, &dy], gradients, self.epsilon);
        }
        let z = between.pop().expect("the input at least");
        for (all, one) in [(&mut self.z, z), (&mut self.dx, dy)] {
            all.x.extend(one.x);
            all.error.extend(one.error);
        }
    }

    /// Output, gradient of the parameters, gradient of the input; with twice the error, since errors of
    /// errors have not been looked at, and what underflows.
    pub fn finish(self, least: f64) -> [Vec<Approx>; 3] {
        let gradient = Numbers::of(&self.gradient, &self.lost, self.epsilon);
        [self.z, gradient, self.dx].map(|numbers| {
            let both = numbers.x.into_iter().zip(numbers.error);
            both.map(|(x, error)| Approx { x, error: 2.0 * error + 1e6 * least }).collect()
        })
    }
}
