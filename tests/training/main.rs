//! Training: samplers of pairs and batches, steps of a network on pairs and on batches, optimizers, `fit`, and
//! what measures an embedding.

#[path = "../support/mod.rs"]
mod support;

mod batches;
mod fit;
mod metrics;
mod optim;
mod pairs;
mod rng;
mod samples;
mod siamese;
mod siamese_batch;
