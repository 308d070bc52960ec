//! Every way in which a call can be refused, in one enum.
//!
//! A message names the call, the argument, what came and what was expected, so that a line such as
//! `rows: b has shape 1000x127, expected 1000x128 (as a)` is enough to mend the caller.

#![forbid(unsafe_code)]

use std::fmt;

use crate::simd::tier::Tier;

/// The result of the fallible calls of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call was refused. Nothing has been written to any output when one of these is returned by
/// a check of the arguments, which all calls make first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A matrix has the wrong number of rows or columns.
    Shape {
        /// The call that refused.
        call: &'static str,
        /// The argument's name.
        arg: &'static str,
        /// Its rows and columns.
        got: [usize; 2],
        /// The rows and columns it must have.
        expected: [usize; 2],
        /// The argument or property that the expectation comes from.
        like: &'static str,
    },
    /// A slice has the wrong number of elements.
    Length {
        /// The call that refused.
        call: &'static str,
        /// The argument's name.
        arg: &'static str,
        /// Its length.
        got: usize,
        /// The length it must have.
        expected: usize,
        /// The argument or property that the expectation comes from.
        like: &'static str,
    },
    /// The elements of an array do not lie as a view needs them.
    Layout {
        /// The view.
        call: &'static str,
        /// The array's rows and columns.
        shape: [usize; 2],
        /// Elements from one row to the next, and from one column to the next.
        strides: [isize; 2],
        /// What they must be, in words.
        expected: &'static str,
    },
    /// A number lies outside its domain.
    Value {
        /// The argument's name.
        arg: &'static str,
        /// Its value.
        got: f64,
        /// The domain, in words.
        expected: &'static str,
    },
    /// An index points past the end.
    Index {
        /// The argument's name.
        arg: &'static str,
        /// The position of the index within the argument.
        at: usize,
        /// The index itself.
        index: usize,
        /// The number of things it may point at.
        len: usize,
    },
    /// A label is none of the classes.
    Label {
        /// The call that refused.
        call: &'static str,
        /// The row that it is of.
        at: usize,
        /// The label itself.
        label: i64,
        /// The number of classes, which are counted from 0.
        classes: usize,
    },
    /// A product of sizes does not fit in memory's address range, or there is no memory for it.
    Overflow {
        /// What was being sized.
        what: &'static str,
    },
    /// The processor lacks the instruction tier that was asked for.
    Tier {
        /// The tier.
        wanted: Tier,
    },
    /// An environment variable holds something that is not a tier.
    UnknownTier {
        /// The text that was found.
        got: String,
    },
    /// A reduction that is not defined for triplets.
    Reduction {
        /// Its name.
        got: String,
    },
    /// A loss has no second derivatives, but they were asked for.
    NoCurvature {
        /// The call that refused.
        call: &'static str,
    },
    /// A loss has no scale, but the derivative by it was asked for.
    NoScale {
        /// The call that refused.
        call: &'static str,
    },
    /// A similar set, a neighbour graph or a sampler cannot be built as asked.
    Pairs {
        /// What is wrong, in words.
        reason: String,
    },
    /// A network cannot be put together.
    Network {
        /// The name of the layer.
        layer: String,
        /// What is wrong, in words.
        reason: String,
    },
    /// A file cannot be read as what it should be.
    File {
        /// The path.
        path: String,
        /// What is wrong and where, in words.
        reason: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Shape { call, arg, got, expected, like } => write!(
                f,
                "{call}: {arg} has shape {}x{}, expected {}x{} ({like})",
                got[0], got[1], expected[0], expected[1]
            ),
            Error::Length { call, arg, got, expected, like } => {
                write!(f, "{call}: {arg} has {got} elements, expected {expected} ({like})")
            }
            Error::Layout { call, shape, strides, expected } => write!(
                f,
                "{call}: an array of shape {}x{} has strides {} and {}, expected {expected}",
                shape[0], shape[1], strides[0], strides[1]
            ),
            Error::Value { arg, got, expected } => write!(f, "{arg} is {got}, expected {expected}"),
            Error::Index { arg, at, index, len } => {
                write!(f, "{arg}[{at}] is {index}, expected an index below {len}")
            }
            Error::Label { call, at, label, classes } => write!(
                f,
                "{call}: labels[{at}] is {label}, expected 0 or more and below {classes} (the columns \
                 of logits), or the label to be ignored"
            ),
            Error::Overflow { what } => write!(f, "the size of {what} overflows"),
            Error::Tier { wanted } => write!(f, "this processor lacks the tier {wanted}"),
            Error::UnknownTier { got } => {
                write!(f, "{got:?} is not a tier, expected portable, avx2 or avx512")
            }
            Error::Reduction { got } => {
                write!(f, "the reduction {got} is for pairs, expected Sum, Mean or MeanNonZero")
            }
            Error::NoCurvature { call } => write!(
                f,
                "{call}: the loss has no second derivatives, expected one whose curvature is known"
            ),
            Error::NoScale { call } => {
                write!(f, "{call}: grad_scale was given, expected a loss that has a scale")
            }
            Error::Pairs { reason } => write!(f, "pairs: {reason}"),
            Error::Network { layer, reason } => write!(f, "network: layer {layer}: {reason}"),
            Error::File { path, reason } => write!(f, "{path}: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// Refuses a slice of the wrong length.
pub(crate) fn check_len(
    call: &'static str,
    arg: &'static str,
    got: usize,
    expected: usize,
    like: &'static str,
) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Length { call, arg, got, expected, like }) }
}

/// Refuses a matrix of the wrong shape.
pub(crate) fn check_shape(
    call: &'static str,
    arg: &'static str,
    got: [usize; 2],
    expected: [usize; 2],
    like: &'static str,
) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Shape { call, arg, got, expected, like }) }
}

/// Refuses a number that is not finite and positive; NaN fails too.
pub(crate) fn check_positive(arg: &'static str, got: f64) -> Result<()> {
    if got > 0.0 && got < f64::INFINITY {
        Ok(())
    } else {
        Err(Error::Value { arg, got, expected: "finite and positive" })
    }
}

/// Refuses a number that is not finite or below 0; NaN fails too.
pub(crate) fn check_not_negative(arg: &'static str, got: f64) -> Result<()> {
    if (0.0..f64::INFINITY).contains(&got) {
        Ok(())
    } else {
        Err(Error::Value { arg, got, expected: "finite and not negative" })
    }
}
