//! The products of a dense layer: `y = x W' + b`, and its gradients, on random data.

use drlim::Rng;

use crate::contest::{Expected, Output, Row, Work, few_of};
use crate::work::random;

/// What goes into a layer of so many outputs.
pub struct Layer {
    /// Samples, inputs, outputs.
    pub shape: [usize; 3],
    /// Samples as rows.
    pub x: Vec<f32>,
    /// `[outputs, inputs]`
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    /// The gradient of the outputs, samples as rows.
    pub dy: Vec<f32>,
}

impl Layer {
    pub fn random(shape: [usize; 3]) -> Self {
        let [samples, inputs, outputs] = shape;
        let mut rng = Rng::new(1);
        let mut next = |rows, cols| random(&mut rng, [rows, cols]);
        let (x, weight) = (next(samples, inputs), next(outputs, inputs));
        Layer { shape, x, weight, bias: next(1, outputs), dy: next(samples, outputs) }
    }
}

/// The outputs of all samples.
pub struct Outputs<'a>(pub &'a Layer);

/// The gradients of weights and biases, and those of the samples if `dx`.
pub struct Gradients<'a> {
    pub layer: &'a Layer,
    pub dx: bool,
}

fn dot(terms: impl Iterator<Item = (f32, f32)>) -> f64 {
    terms.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
}

/// All terms are positive: a row is as large as its largest element.
fn row(elements: Vec<f64>) -> Row {
    Row { size: elements.iter().copied().fold(0.0, f64::max), elements }
}

impl Work for Outputs<'_> {
    fn name(&self) -> &'static str {
        "dense layer: outputs"
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn expected(&self, rows: &[usize]) -> Expected {
        let Layer { x, weight, bias, shape: [_, inputs, _], .. } = self.0;
        let output = |&i: &usize| {
            let x = &x[i * inputs..][..*inputs];
            let weights = weight.chunks_exact(*inputs).zip(bias);
            let of_one = |(w, &b): (&[f32], &f32)| {
                f64::from(b) + dot(x.iter().copied().zip(w.iter().copied()))
            };
            row(weights.map(of_one).collect())
        };
        Expected { value: None, rows: rows.iter().map(output).collect() }
    }
}

/// Rows of the answer are those of dx, where they are asked for, then those of dW with db at their ends.
impl Work for Gradients<'_> {
    fn name(&self) -> &'static str {
        if self.dx { "dense layer: dW, db, dx" } else { "dense layer: dW, db" }
    }

    fn shape(&self) -> &[usize] {
        &self.layer.shape
    }

    fn rows_to_check(&self) -> Vec<usize> {
        let [samples, _, outputs] = self.layer.shape;
        let first = if self.dx { samples } else { 0 };
        few_of(first).chain(few_of(outputs).map(|i| first + i)).collect()
    }

    fn expected(&self, rows: &[usize]) -> Expected {
        let Layer { x, weight, dy, shape: [samples, inputs, outputs], .. } = self.layer;
        let column = |of: &[f32], width: usize, k: usize| -> Vec<f32> {
            of.iter().skip(k).step_by(width).copied().collect()
        };
        let first = if self.dx { *samples } else { 0 };
        let gradient = |&i: &usize| match i.checked_sub(first) {
            None => {
                let dy = &dy[i * outputs..][..*outputs];
                let of_one = |k| dot(dy.iter().copied().zip(column(weight, *inputs, k)));
                row((0..*inputs).map(of_one).collect())
            }
            Some(output) => {
                let dy = column(dy, *outputs, output);
                let of_one = |k| dot(dy.iter().copied().zip(column(x, *inputs, k)));
                let bias = dot(dy.iter().map(|&dy| (dy, 1.0)));
                row((0..*inputs).map(of_one).chain([bias]).collect())
            }
        };
        Expected { value: None, rows: rows.iter().map(gradient).collect() }
    }
}

/// The outputs, as a library of products leaves them.
pub struct Rows {
    pub elements: Vec<f32>,
    cols: usize,
}

impl Rows {
    pub fn new(layer: &Layer) -> Self {
        let [samples, _, cols] = layer.shape;
        Rows { elements: vec![f32::NAN; samples * cols], cols }
    }
}

impl Output for Rows {
    fn row(&self, i: usize) -> Vec<f64> {
        self.elements[i * self.cols..][..self.cols].iter().map(|&x| x.into()).collect()
    }
}

/// The gradients, dW before db in one vector.
pub struct Grads {
    pub params: Vec<f32>,
    /// Empty where it is not asked for.
    pub dx: Vec<f32>,
    /// Samples and inputs.
    cols: [usize; 2],
}

impl Grads {
    pub fn new(work: &Gradients) -> Self {
        let [samples, inputs, outputs] = work.layer.shape;
        let samples = if work.dx { samples } else { 0 };
        let (params, dx) = ((inputs + 1) * outputs, samples * inputs);
        Grads { params: vec![f32::NAN; params], dx: vec![f32::NAN; dx], cols: [samples, inputs] }
    }
}

impl Output for Grads {
    fn row(&self, i: usize) -> Vec<f64> {
        let [samples, inputs] = self.cols;
        let to_f64 = |row: &[f32]| row.iter().map(|&x| x.into()).collect::<Vec<f64>>();
        match i.checked_sub(samples) {
            None => to_f64(&self.dx[i * inputs..][..inputs]),
            Some(output) => {
                let biases = self.params.len() / (inputs + 1) * inputs;
                let mut row = to_f64(&self.params[output * inputs..][..inputs]);
                row.push(self.params[biases + output].into());
                row
            }
        }
    }
}

/// db: the sum of all rows of dy.
pub fn bias_gradient(dy: &[f32], to: &mut [f32]) {
    to.fill(0.0);
    for row in dy.chunks_exact(to.len()) {
        to.iter_mut().zip(row).for_each(|(to, dy)| *to += dy);
    }
}
