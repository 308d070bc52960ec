//! The parts of a network that a pass takes one after another: runs of image layers, and single layers.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::image_run::ImageRun;
use super::stage::Stage;
use crate::simd::real::Real;

/// A part of a network: stages that run together.
pub(crate) enum Part<'a, T> {
    /// Layers that take images block by block.
    ImageRun(ImageRun<'a, T>),
    /// Any other layer, with all parameters of the network.
    One(&'a Stage<T>, &'a [T]),
}

impl<T: Real> Part<'_, T> {
    /// Elements of a sample that goes in, and of one that comes out.
    pub(crate) fn lens(&self) -> [usize; 2] {
        match self {
            Part::ImageRun(run) => [run.input(), run.output()],
            Part::One(stage, _) => [stage.input.len(), stage.output.len()],
        }
    }

    /// Elements of a sample that a training workspace keeps beside the outputs.
    pub(crate) fn kept(&self) -> usize {
        match self {
            Part::ImageRun(run) => run.kept(),
            Part::One(..) => 0,
        }
    }

    pub(crate) fn scratch(&self, samples: usize, backward: bool) -> usize {
        match self {
            Part::ImageRun(run) => run.scratch(samples, backward),
            Part::One(stage, _) => stage.layer.scratch(samples),
        }
    }
}

/// The parts of a network: image layers that follow each other run together, every other layer by itself.
pub(crate) fn parts<T: Real>(stages: &[Stage<T>]) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for (i, stage) in stages.iter().enumerate() {
        match parts.last_mut() {
            Some(part)
                if is_run(&stages[part.clone()]) && stage.layer.as_image_layer().is_some() =>
            {
                part.end = i + 1;
            }
            _ => parts.push(i..i + 1),
        }
    }
    parts
}

/// Whether a part is a run of image layers.
pub(crate) fn is_run<T: Real>(part: &[Stage<T>]) -> bool {
    part[0].layer.as_image_layer().is_some()
}
