//! The documented bounds, in one place: tests assert them, the example prints them, and the section
//! "Accuracy" of each call states them.
//!
//! Sums are formed in a fixed order of so many lanes, so a bound follows from counting: each addition on
//! the way of a term rounds by half of eps at most. Four sums of at least four lanes are eight roundings
//! of D/16 terms, so D/32; a single sum of n terms n/2. What is added counts the roundings beside.

/// What a bound may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Elements of a row, or of a parameter vector.
    pub d: usize,
    /// Terms that an output adds up: rows of a batch, pairs of a row, inputs of an output.
    pub n: usize,
}

/// What an error is held against.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// The spacing of numbers at the exact result.
    Ulp,
    /// eps times the sum of the magnitudes of all terms.
    Terms,
    /// The same, where what is promised is a share that differs between the types: of `f32`, of `f64`.
    Share([f64; 2]),
}

/// A documented bound.
#[derive(Debug)]
pub struct Bound {
    pub kernel: &'static str,
    pub result: &'static str,
    pub unit: Unit,
    /// As the documentation writes it.
    pub text: &'static str,
    /// In its unit.
    pub allowed: fn(Sizes) -> f64,
}

macro_rules! bounds {
    ($($name:ident: $kernel:literal, $result:literal, $unit:expr, $text:literal, $allowed:expr;)*) => {
        $(pub static $name: Bound = Bound {
            kernel: $kernel, result: $result, unit: $unit, text: $text, allowed: $allowed,
        };)*
    };
}

use Unit::{Share, Terms, Ulp};

/// What `all_pairs` and its kin allow a distance: see their documentation.
const DISTANCE: Unit = Share([1e-4, 2e-13]);
/// The same of a squared distance, which values are made of.
pub const SQUARED_DISTANCE: [f64; 2] = [2e-4, 4e-13];

fn row(size: Sizes) -> f64 {
    size.d as f64 / 32.0 + 4.0
}

fn product(size: Sizes) -> f64 {
    size.n as f64 / 2.0 + 2.0
}

fn batch(size: Sizes) -> f64 {
    size.n as f64 / 2.0 + 8.0
}

/// Products of two batches are added up one after another, in chunks of 128 elements.
fn chunks(size: Sizes) -> f64 {
    (size.d.min(128) + size.d.div_ceil(128)) as f64 / 2.0 + 2.0
}

bounds! {
    EXP_32: "exp", "y", Ulp, "2 ULP", |_| 2.0;
    EXP_64: "exp", "y", Terms, "4.5", |_| 4.5;
    TANH_32: "tanh", "y", Ulp, "2 ULP", |_| 2.0;
    TANH_64: "tanh", "y", Terms, "4.5", |_| 4.5;
    SIGMOID: "sigmoid", "y", Ulp, "4 ULP", |_| 4.0;
    SCALED_TANH: "scaled_tanh", "y", Ulp, "5 ULP", |_| 5.0;
    SLOPE: "activations", "dx", Terms, "2", |_| 2.0;

    SQUARED: "row_distances", "squared", Terms, "D/32 + 4", row;
    EUCLIDEAN: "row_distances", "euclidean", Terms, "D/32 + 4", row;
    DOT: "row_distances", "dot", Terms, "D/32 + 4", row;
    COSINE: "row_distances", "cosine", Terms, "D/32 + 4", row;
    SQUARED_GRADS: "row_distances", "squared, gradients", Terms, "2", |_| 2.0;
    EUCLIDEAN_GRADS: "row_distances", "euclidean, gradients", Terms, "D/32 + 4", row;
    DOT_GRADS: "row_distances", "dot, gradients", Terms, "2", |_| 2.0;
    COSINE_GRADS: "row_distances", "cosine, gradients", Terms, "D/16 + 8", |s| 2.0 * row(s);

    CROSS_ENTROPY: "cross_entropy", "value", Terms, "C/32 + 12 + R", |s| row(s) + 8.0;
    CROSS_ENTROPY_GRAD: "cross_entropy", "gradient", Terms, "C/32 + 12 + R", |s| row(s) + 8.0;

    CONTRASTIVE: "rows", "contrastive, values", Terms, "D/32 + 4", row;
    CONTRASTIVE_GRADS: "rows", "contrastive, gradients", Terms, "D/32 + 4", row;
    SQUARED_HINGE: "rows", "squared hinge, values", Terms, "D/32 + 4", row;
    SQUARED_HINGE_GRADS: "rows", "squared hinge, gradients", Terms, "D/32 + 4", row;
    LINEAR_HINGE: "rows", "linear hinge, values", Terms, "D/32 + 4", row;
    LINEAR_HINGE_GRADS: "rows", "linear hinge, gradients", Terms, "D/32 + 4", row;
    DOUBLE_MARGIN: "rows", "double margin, values", Terms, "D/32 + 4", row;
    DOUBLE_MARGIN_GRADS: "rows", "double margin, gradients", Terms, "D/32 + 4", row;
    EXPONENTIAL: "rows", "exponential, values", Terms, "D/32 + 8", |s| row(s) + 4.0;
    EXPONENTIAL_GRADS: "rows", "exponential, gradients", Terms, "D/32 + 8", |s| row(s) + 4.0;
    COSINE_CONTRASTIVE: "rows", "cosine contrastive, values", Terms, "D/32 + 4", row;
    COSINE_CONTRASTIVE_GRADS: "rows", "cosine contrastive, gradients", Terms, "D/32 + 4", row;
    SIGMOID_LOSS: "rows", "sigmoid, values", Terms, "D/32 + 8", |s| row(s) + 4.0;
    SIGMOID_LOSS_GRADS: "rows", "sigmoid, gradients", Terms, "D/32 + 8", |s| row(s) + 4.0;
    SUMS: "rows", "sum of N values", Terms, "N/512 + 36", |s| s.n as f64 / 512.0 + 36.0;

    INDEXED_VALUES: "indexed", "values", Terms, "D/32 + 4", row;
    INDEXED_GRAD: "indexed", "gradient", Terms, "P/2 + D/32 + 4", |s| s.n as f64 / 2.0 + row(s);
    TRIPLET_VALUES: "triplet_rows", "values", Terms, "D/32 + 4", row;
    TRIPLET_GRADS: "triplet_rows", "gradients", Terms, "D/32 + 4", row;

    ALL_PAIRS: "all_pairs", "value", Share(SQUARED_DISTANCE), "2e-4 | 4e-13", |_| 1.0;
    ALL_PAIRS_GRAD: "all_pairs", "gradient", Terms, "B/2 + 8", batch;
    CROSS: "cross", "value", Share(SQUARED_DISTANCE), "2e-4 | 4e-13", |_| 1.0;
    CROSS_GRADS: "cross", "gradients", Terms, "B/2 + 8", batch;
    ANCHORS_BY_COSINES: "all_anchors", "cosines", Share(SQUARED_DISTANCE), "2e", |_| 1.0;
    ANCHORS_BY_PRODUCTS: "all_anchors", "products", Terms, "2e", chunks;
    ANCHORS_GRAD: "all_anchors", "gradient", Terms, "B/2 + 8", batch;
    CROSS_ANCHORS_BY_COSINES: "cross_anchors", "cosines", Share(SQUARED_DISTANCE), "2e", |_| 1.0;
    CROSS_ANCHORS_BY_PRODUCTS: "cross_anchors", "products", Terms, "2e", chunks;
    CROSS_ANCHORS_GRADS: "cross_anchors", "gradients", Terms, "B/2 + 8", batch;
    MINED: "triplets", "value", Share(SQUARED_DISTANCE), "2e-4 | 4e-13", |_| 1.0;
    MINED_GRAD: "triplets", "gradient", Terms, "B + 8", |s| s.n as f64 + 8.0;
    MATRIX: "distance_matrix", "distances", DISTANCE, "1e-4 | 2e-13", |_| 1.0;
    NEAREST: "nearest", "distances by rank", Terms, "D/32 + 4", row;

    DENSE: "dense", "y", Terms, "n/2 + 2", product;
    DENSE_DW: "dense", "dW", Terms, "n/2 + 2", product;
    DENSE_DX: "dense", "dx", Terms, "n/2 + 2", product;
    CONV: "conv2d", "y", Terms, "n/2 + 2", product;
    CONV_DW: "conv2d", "dW", Terms, "n/2 + 2", product;
    CONV_DX: "conv2d", "dx", Terms, "n/2 + 2", product;
    AVG: "avg_pool2d", "y", Terms, "n/2 + 2", product;
    AVG_DX: "avg_pool2d", "dx", Terms, "n/2 + 2", product;
    MAX: "max_pool2d", "y", Terms, "0", |_| 0.0;
    MAX_DX: "max_pool2d", "dx", Terms, "n/2 + 2", product;
    NORMALIZE: "l2_normalize", "y", Terms, "D/32 + 4", row;
    NORMALIZE_DX: "l2_normalize", "dx", Terms, "D/8 + 8", |s| s.d as f64 / 8.0 + 8.0;

    SGD: "sgd", "a step", Terms, "3", |_| 3.0;
    ADAM: "adam", "a step", Terms, "6", |_| 6.0;
    NORM: "clip_norm", "norm, eps of f64", Terms, "D/32 + 4", row;
    CLIPPED: "clip_norm", "gradient", Terms, "D/32 + 4", row;
}
