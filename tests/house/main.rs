//! The repository itself: where `unsafe` stands, and the examples that the README names. Not published.

mod example;
mod example_mnist;
mod example_paper;
mod unsafe_code;
