//! Nearest neighbours, the neighbour graph, and samplers of the pairs or whole batches to train on.

#![forbid(unsafe_code)]

mod batch_sampler;
mod classes;
pub mod metrics;
mod neighbours;
mod passes;
mod sampler;

pub use batch_sampler::BatchSampler;
pub use neighbours::{Hardest, Neighbours, hardest, nearest, nearest_others, neighbour_graph};
pub use passes::SamplerState;
pub use sampler::Sampler;
