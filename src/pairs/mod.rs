//! Who is similar to whom: nearest neighbours, the neighbour graph, and the pairs to train on.

#![forbid(unsafe_code)]

mod knn;
mod sampler;

pub use knn::{Hardest, Neighbours, hardest, nearest, nearest_others, neighbour_graph};
pub use sampler::{Sampler, SamplerState};
