//! Layers one after another, over one flat vector of parameters.

#![forbid(unsafe_code)]

pub(crate) mod image_run;
mod parts;
pub(crate) mod passes;
mod stage;
mod workspace;

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::init::Init;
use super::layer::{InitialValue, Layer, Shape};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::simd::real::{Real, compiled};
use image_run::ImageRun;
use parts::{Part, is_run, parts};
use stage::{Line, Stage};
pub use workspace::Workspace;

/// Layers one after another: the G_W of the paper. See [`nn`](super) for an example.
pub struct Network<T> {
    /// A number that no other network of the process has.
    id: u64,
    input: Shape,
    lines: Vec<Line>,
    stages: Vec<Stage<T>>,
    /// The parts of the network, in order: stages that run together.
    parts: Vec<Range<usize>>,
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

    /// How weights are drawn: by [`Init::LeCun`] unless set.
    pub fn init(self, init: Init) -> Self {
        Builder { init, ..self }
    }

    /// Checks that each layer takes what the one before gives, and draws the weights.
    ///
    /// The same seed gives the same weights, on every machine.
    #[inline(never)]
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
        let mut net = Network {
            id,
            input: self.input,
            lines: Vec::new(),
            stages: Vec::new(),
            parts: Vec::new(),
            params: Vec::new(),
        };
        for (name, mut layer) in self.layers {
            if name.is_empty() || net.lines.iter().any(|line| line.name == name) {
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
                match spec.initial {
                    InitialValue::Constant(value) => values.fill(T::from_f64(value)),
                    InitialValue::Random { fan_in, fan_out } => {
                        self.init.fill(&mut rng, fan_in, fan_out, values);
                    }
                }
            }
            let params = first..net.params.len();
            let (kind, count) = (layer.describe(), params.len());
            net.lines.push(Line { name: name.clone(), kind, output, params: count });
            let before = net.stages.last_mut().map(|stage| &mut stage.layer);
            let fused = match (layer.activation(), before) {
                (Some(f), Some(before)) => before.fuse(f),
                _ => false,
            };
            if !fused {
                net.stages.push(Stage { name, layer, input: shape, output, specs, params });
            }
            shape = output;
        }
        net.parts = parts(&net.stages);
        Ok(net)
    }
}

compiled!(Builder::<T>::build);

impl<T: Real> Network<T> {
    /// A builder of a network for samples of this shape.
    pub fn builder(input: Shape) -> Builder<T> {
        Builder { input, init: Init::default(), layers: Vec::new() }
    }

    /// The shape of an input sample.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The shape of an output sample.
    pub fn output(&self) -> Shape {
        self.lines.last().map_or(self.input, |line| line.output)
    }

    /// All parameters, layer after layer.
    pub fn params(&self) -> &[T] {
        &self.params
    }

    /// All parameters, mutable.
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
        for Line { name, kind, output, .. } in &self.lines {
            lines += &format!("\n{name}: {kind} -> {output}");
        }
        lines
    }

    /// A number that no other network of the process has; a [`Workspace`] keeps that of its network.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The parts of the network, in order: stages that run together.
    pub(crate) fn parts(&self) -> impl DoubleEndedIterator<Item = Part<'_, T>> + ExactSizeIterator {
        self.parts.iter().map(|part| {
            let (stages, params) = (&self.stages[part.clone()], &self.params[..]);
            match is_run(stages) {
                true => Part::ImageRun(ImageRun { stages, params }),
                false => Part::One(&stages[0], params),
            }
        })
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

/// The summary: one line for each layer, with its name, kind, output shape and number of parameters.
impl<T: Real> fmt::Display for Network<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            |f: &mut fmt::Formatter<'_>, name: &str, kind: &str, shape: Shape, count: &str| {
                writeln!(f, "{name:<10} {kind:<28} {shape:>12} {count:>12}")
            };
        writeln!(f, "{:<10} {:<28} {:>12} {:>12}", "layer", "kind", "output", "parameters")?;
        line(f, "input", "", self.input, "")?;
        for Line { name, kind, output, params } in &self.lines {
            line(f, name, kind, *output, &params.to_string())?;
        }
        write!(f, "{:<10} {:<28} {:>12} {:>12}", "total", "", "", self.params.len())
    }
}
