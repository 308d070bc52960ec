//! What other libraries compute: values and gradients that PyTorch gave, and the calls that take the place of
//! theirs.

#[path = "../support/mod.rs"]
mod support;

mod migrating;
mod references;
