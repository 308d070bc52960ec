//! Layers one after another, over one flat vector of parameters.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::layer::{Backward, Forward, Layer, ParamSpec, Shape, Start};
use super::workspace::Workspace;
use crate::cx::Cx;
use crate::error::{Error, Result, check_len, check_shape};
use crate::init::Init;
use crate::mat::{Mat, MatMut};
use crate::real::Real;
use crate::rng::Rng;

/// A layer in its place.
struct Stage<T> {
    name: String,
    layer: Box<dyn Layer<T>>,
    output: Shape,
    specs: Vec<ParamSpec>,
    /// Its part of the flat parameters.
    params: Range<usize>,
}

/// Layers one after another: the G_W of the paper. See [`nn`](super) for an example.
pub struct Network<T> {
    /// No other network of the process has it.
    id: u64,
    input: Shape,
    stages: Vec<Stage<T>>,
    params: Vec<T>,
}

/// A named tensor of a network's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter<'a, T> {
    /// Layer and tensor, such as `c1.weight`: what PyTorch's `state_dict` calls it.
    pub name: String,
    /// Its shape, row-major.
    pub shape: &'a [usize],
    /// Its elements.
    pub values: &'a [T],
}

/// Puts a [`Network`] together.
pub struct Builder<T> {
    input: Shape,
    init: Init,
    layers: Vec<(String, Box<dyn Layer<T>>)>,
}

impl<T: Real> Builder<T> {
    /// Adds a layer under a name that no other layer of the network has.
    pub fn layer(mut self, name: impl Into<String>, layer: impl Layer<T> + 'static) -> Self {
        self.layers.push((name.into(), Box::new(layer)));
        self
    }

    /// How weights start; [`Init::LeCun`] if not said.
    pub fn init(self, init: Init) -> Self {
        Builder { init, ..self }
    }

    /// Checks that each layer takes what the one before gives, and draws the weights.
    ///
    /// The same seed gives the same weights, on every machine.
    pub fn build(self, seed: u64) -> Result<Network<T>> {
        let refuse =
            |layer: &str, reason: String| Error::Network { layer: layer.to_owned(), reason };
        if self.input.is_empty() || self.input.checked_len().is_none() {
            return Err(refuse("input", format!("{} is not a shape of samples", self.input)));
        }
        let mut rng = Rng::new(seed);
        let mut shape = self.input;
        static BUILT: AtomicU64 = AtomicU64::new(0);
        let id = BUILT.fetch_add(1, Ordering::Relaxed);
        let mut net = Network { id, input: self.input, stages: Vec::new(), params: Vec::new() };
        for (name, mut layer) in self.layers {
            if name.is_empty() || net.stages.iter().any(|stage| stage.name == name) {
                return Err(refuse(&name, "the name is empty or taken".to_owned()));
            }
            let output = layer.connect(shape).map_err(|reason| refuse(&name, reason))?;
            if output.is_empty() || output.checked_len().is_none() {
                return Err(refuse(
                    &name,
                    format!("its output {output} is not a shape of samples"),
                ));
            }
            let specs = layer.params();
            let first = net.params.len();
            for spec in &specs {
                let len = spec.checked_len().and_then(|len| len.checked_add(net.params.len()));
                let what = "the parameters of a network";
                let end = len.ok_or(Error::Overflow { what })?;
                let start = net.params.len();
                let added = net.params.try_reserve_exact(end - start);
                added.map_err(|_| Error::Overflow { what })?;
                net.params.resize(end, T::ZERO);
                let values = &mut net.params[start..];
                match spec.start {
                    Start::Constant(value) => values.fill(T::from_f64(value)),
                    Start::Random { fan_in, fan_out } => {
                        self.init.fill(&mut rng, fan_in, fan_out, values);
                    }
                }
            }
            let params = first..net.params.len();
            net.stages.push(Stage { name, layer, output, specs, params });
            shape = output;
        }
        Ok(net)
    }
}

impl<T: Real> Network<T> {
    /// Starts with the shape of a sample.
    pub fn builder(input: Shape) -> Builder<T> {
        Builder { input, init: Init::default(), layers: Vec::new() }
    }

    /// The shape of an input sample.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The shape of an output sample.
    pub fn output(&self) -> Shape {
        self.stages.last().map_or(self.input, |stage| stage.output)
    }

    /// All parameters, layer after layer.
    pub fn params(&self) -> &[T] {
        &self.params
    }

    /// All parameters, to be changed.
    pub fn params_mut(&mut self) -> &mut [T] {
        &mut self.params
    }

    /// The parameters as named tensors, in the order of [`params`](Network::params).
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_, T>> {
        self.stages.iter().flat_map(|stage| {
            let mut rest = &self.params[stage.params.clone()];
            stage.specs.iter().map(move |spec| {
                let (values, after) = rest.split_at(spec.shape.iter().product());
                rest = after;
                Parameter {
                    name: format!("{}.{}", stage.name, spec.name),
                    shape: &spec.shape,
                    values,
                }
            })
        })
    }

    /// The layers in words: a line for the input, and for each layer its name, what it is and the
    /// shape of its output. Networks with the same architecture compute the same function of the
    /// same parameters.
    pub fn architecture(&self) -> String {
        let mut lines = format!("input {}", self.input);
        for Stage { name, layer, output, .. } in &self.stages {
            lines += &format!("\n{name}: {} -> {output}", layer.kind());
        }
        lines
    }

    /// What tells the network from every other one of the process.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Elements of a sample before each layer and after the last.
    pub(super) fn lens(&self) -> impl Iterator<Item = usize> {
        [self.input].into_iter().chain(self.stages.iter().map(|stage| stage.output)).map(Shape::len)
    }

    /// Scratch of the layer that needs most.
    pub(super) fn scratch(&self, samples: usize) -> usize {
        self.stages.iter().map(|stage| stage.layer.scratch(samples)).max().unwrap_or(0)
    }

    /// The outputs, one a row, of the samples `x`, one a row; they stay in the workspace.
    ///
    /// `x` is copied into the workspace, so it may have gaps between its rows and need not outlive
    /// the call. Refused where `x` is wider or narrower than an input sample, or the workspace is
    /// of another network or for smaller batches.
    pub fn forward<'w>(
        &self,
        cx: &Cx,
        x: Mat<T>,
        workspace: &'w mut Workspace<T>,
    ) -> Result<Mat<'w, T>> {
        let input = self.input.len();
        check_shape("forward", "x", x.shape(), [x.rows(), input], "the network's input")?;
        self.check_workspace("forward", workspace, x.rows())?;
        workspace.fill_input(x.iter());
        self.forward_input(cx, x.rows(), workspace)
    }

    /// As [`forward`](Network::forward), for samples that already lie in the workspace.
    pub(crate) fn forward_input<'w>(
        &self,
        cx: &Cx,
        samples: usize,
        workspace: &'w mut Workspace<T>,
    ) -> Result<Mat<'w, T>> {
        self.check_workspace("forward", workspace, samples)?;
        workspace.samples = if workspace.keeps_all { samples } else { 0 };
        for (i, stage) in self.stages.iter().enumerate() {
            let slot = workspace.slot(i);
            let before = i.checked_sub(1).map(|before| workspace.slot(before));
            let Workspace { input, outputs, scratch, lens, .. } = workspace;
            let (x, y) = match before {
                None => (&*input, &mut outputs[slot]),
                Some(before) if before < slot => {
                    let (below, from) = outputs.split_at_mut(slot);
                    (&below[before], &mut from[0])
                }
                Some(before) => {
                    let (below, from) = outputs.split_at_mut(before);
                    (&from[0], &mut below[slot])
                }
            };
            let pass = Forward {
                params: &self.params[stage.params.clone()],
                x: &x[..samples * lens[i]],
                y: &mut y[..samples * lens[i + 1]],
                scratch,
            };
            stage.layer.forward(cx, pass);
        }
        let z = match self.stages.len().checked_sub(1) {
            None => &workspace.input,
            Some(last) => &workspace.outputs[workspace.slot(last)],
        };
        let width = self.output().len();
        Mat::new(&z[..samples * width], samples, width)
    }

    /// The gradient of the parameters, and of the input if asked for, from that of the output.
    ///
    /// It belongs to the last [`forward`](Network::forward) pass on the workspace, whose number of
    /// rows `dz` has. `gradient` and `dx` are overwritten; `gradient` is as long as the parameters
    /// and holds the sum over the samples.
    pub fn backward(
        &self,
        cx: &Cx,
        dz: Mat<T>,
        workspace: &mut Workspace<T>,
        gradient: &mut [T],
        dx: Option<MatMut<T>>,
    ) -> Result<()> {
        let samples = workspace.samples;
        let width = self.output().len();
        self.check_workspace("backward", workspace, samples)?;
        let like = "the samples of the last forward pass on a training workspace";
        check_shape("backward", "dz", dz.shape(), [samples, width], like)?;
        check_len("backward", "gradient", gradient.len(), self.params.len(), "the parameters")?;
        if let Some(dx) = &dx {
            let expected = [samples, self.input.len()];
            check_shape("backward", "dx", dx.shape(), expected, "as the input")?;
        }
        let Workspace { input, outputs, gradients, scratch, lens, keeps_all, .. } = workspace;
        if !*keeps_all {
            gradient.fill(T::ZERO);
            return Ok(());
        }
        let [current, next] = gradients;
        for (row, to) in dz.iter().zip(current.chunks_exact_mut(width)) {
            to.copy_from_slice(row);
        }
        for (i, stage) in self.stages.iter().enumerate().rev() {
            let x = if i == 0 { &*input } else { &outputs[i - 1] };
            let wanted = i > 0 || dx.is_some();
            let pass = Backward {
                params: &self.params[stage.params.clone()],
                x: &x[..samples * lens[i]],
                y: &outputs[i][..samples * lens[i + 1]],
                dy: &current[..samples * lens[i + 1]],
                dx: wanted.then_some(&mut next[..samples * lens[i]]),
                d_params: &mut gradient[stage.params.clone()],
                scratch,
            };
            stage.layer.backward(cx, pass);
            std::mem::swap(current, next);
        }
        if let Some(mut dx) = dx {
            for (i, row) in current.chunks_exact(lens[0]).take(samples).enumerate() {
                dx.row_mut(i).copy_from_slice(row);
            }
        }
        Ok(())
    }

    pub(crate) fn check_workspace(
        &self,
        call: &'static str,
        workspace: &Workspace<T>,
        samples: usize,
    ) -> Result<()> {
        if workspace.network != self.id {
            return Err(Error::Network {
                layer: "all".to_owned(),
                reason: format!("{call}: the workspace was made for another network"),
            });
        }
        if samples > workspace.max_samples {
            return Err(Error::Length {
                call,
                arg: "samples",
                got: samples,
                expected: workspace.max_samples,
                like: "at most, as the workspace was made for",
            });
        }
        Ok(())
    }
}

/// One line a layer: name, what it is, output shape, parameters.
impl<T: Real> fmt::Display for Network<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            |f: &mut fmt::Formatter<'_>, name: &str, kind: &str, shape: Shape, count: &str| {
                writeln!(f, "{name:<10} {kind:<28} {shape:>12} {count:>12}")
            };
        writeln!(f, "{:<10} {:<28} {:>12} {:>12}", "layer", "kind", "output", "parameters")?;
        line(f, "input", "", self.input, "")?;
        for stage in &self.stages {
            let count = stage.params.len().to_string();
            line(f, &stage.name, &stage.layer.kind(), stage.output, &count)?;
        }
        write!(f, "{:<10} {:<28} {:>12} {:>12}", "total", "", "", self.params.len())
    }
}
