//! The calls that `docs/migrating.md` gives for those of other libraries, each against the other
//! library's formula, written here in plain scalar `f64` in that library's polarity, factor and
//! reduction: values, and gradients by differences, on every tier in both precisions.

#![forbid(unsafe_code)]

/// Makes tests of functions that are generic over the element type.
macro_rules! in_both_precisions {
    ($($row:ident)*) => {
        mod in_f32 { $(#[test] fn $row() { super::$row::<f32>(); })* }
        mod in_f64 { $(#[test] fn $row() { super::$row::<f64>(); })* }
    };
}

mod calls;
mod compare;
mod formulas;
mod labelled;

mod caffe;
mod papers;
mod pytorch;
mod pytorch_metric_learning;
mod sentence_transformers;
mod tensorflow;
