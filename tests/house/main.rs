//! The repository itself: where `unsafe` stands, and the example that the README names. Not published.

mod example_mnist;
mod unsafe_code;
