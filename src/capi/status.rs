//! The status that a call returns, and the message that goes with it.

use std::cell::RefCell;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

/// The result of every function that can fail: DRLIM_STATUS_OK, which is 0, or why it was refused.
/// drlim_last_error() has a message.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_status(pub i32);

impl drlim_status {
    /// Done.
    pub const OK: drlim_status = drlim_status(0);
    /// A pointer that is needed is null.
    pub const NULL_POINTER: drlim_status = drlim_status(1);
    /// A pointer is not aligned for what it points at.
    pub const MISALIGNED: drlim_status = drlim_status(2);
    /// An output overlaps another output or an input.
    pub const OVERLAP: drlim_status = drlim_status(3);
    /// A matrix has the wrong number of rows, columns, or elements from row to row.
    pub const SHAPE: drlim_status = drlim_status(4);
    /// A number is outside of its domain, or a code is unknown.
    pub const VALUE: drlim_status = drlim_status(5);
    /// An index is past the end.
    pub const INDEX: drlim_status = drlim_status(6);
    /// A size overflows, or there is no memory for it.
    pub const MEMORY: drlim_status = drlim_status(7);
    /// The processor lacks the instruction tier, or DRLIM_ISA names none.
    pub const TIER: drlim_status = drlim_status(8);
    /// The reduction is not one for triplets.
    pub const REDUCTION: drlim_status = drlim_status(9);
    /// A list of pairs or a graph cannot be built as asked.
    pub const PAIRS: drlim_status = drlim_status(10);
    /// The scratch is in use by another call.
    pub const BUSY: drlim_status = drlim_status(11);
    /// The caller's loss returned something other than 0. Outputs have been written.
    pub const CALLBACK: drlim_status = drlim_status(12);
    /// A defect of this library. Outputs may have been written.
    pub const PANIC: drlim_status = drlim_status(13);
}

/// Why a call is refused.
#[derive(Debug)]
pub enum Refusal {
    Null { arg: &'static str },
    Misaligned { arg: &'static str, align: usize },
    Overlap { args: [&'static str; 2] },
    Code { arg: &'static str, got: u32 },
    Flag { arg: &'static str, at: usize, got: u8 },
    Uninitialised { arg: &'static str, got: usize, expected: usize },
    Similar { expected: &'static str },
    OtherSums { arg: &'static str, at: usize },
    Busy,
    Callback { code: i32 },
    Of(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Of(error)
    }
}

impl Refusal {
    fn status(&self) -> drlim_status {
        match self {
            Refusal::Null { .. } => drlim_status::NULL_POINTER,
            Refusal::Misaligned { .. } => drlim_status::MISALIGNED,
            Refusal::Overlap { .. } => drlim_status::OVERLAP,
            Refusal::Code { .. } | Refusal::Flag { .. } | Refusal::Uninitialised { .. } => {
                drlim_status::VALUE
            }
            Refusal::Similar { .. } | Refusal::OtherSums { .. } => drlim_status::VALUE,
            Refusal::Busy => drlim_status::BUSY,
            Refusal::Callback { .. } => drlim_status::CALLBACK,
            Refusal::Of(error) => match error {
                Error::Shape { .. } | Error::Length { .. } | Error::Layout { .. } => {
                    drlim_status::SHAPE
                }
                Error::Value { .. } | Error::NoScale { .. } => drlim_status::VALUE,
                Error::Index { .. } | Error::Label { .. } => drlim_status::INDEX,
                Error::Overflow { .. } => drlim_status::MEMORY,
                Error::Tier { .. } | Error::UnknownTier { .. } => drlim_status::TIER,
                Error::Reduction { .. } => drlim_status::REDUCTION,
                Error::Pairs { .. } => drlim_status::PAIRS,
                // No call of the C interface makes a network, reads a file or differentiates twice.
                Error::Network { .. } | Error::File { .. } | Error::NoCurvature { .. } => {
                    drlim_status::PANIC
                }
            },
        }
    }

    fn message(&self) -> String {
        match self {
            Refusal::Null { arg } => format!("{arg} is null"),
            Refusal::Misaligned { arg, align } => {
                format!("{arg} is not at a multiple of {align} bytes")
            }
            Refusal::Overlap { args: [a, b] } => format!("{a} and {b} overlap"),
            Refusal::Code { arg, got } => format!("{arg} is {got}, which is no code of one"),
            Refusal::Flag { arg, at, got } => format!("{arg}[{at}] is {got}, expected 0 or 1"),
            Refusal::Uninitialised { arg, got, expected } => {
                format!("{arg} has size {got}, expected {expected}: {arg}_new sets it")
            }
            Refusal::Similar { expected } => format!("similar: expected {expected}"),
            Refusal::OtherSums { arg, at } => format!(
                "{arg}[{at}] has other log-sums than sums[{at}], or one of both has not looked at similar pairs: \
                 expected sums of calls that know the same merged sums"
            ),
            Refusal::Busy => "scratch is in use by another call".into(),
            Refusal::Callback { code } => format!("the loss returned {code}"),
            Refusal::Of(error) => error.to_string(),
        }
    }
}

thread_local! {
    /// The bytes of a string that ends in a zero, or none.
    static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Keeps a message for the thread.
fn remember(message: String) {
    let mut bytes = message.into_bytes();
    bytes.retain(|&byte| byte != 0);
    bytes.push(0);
    // A thread that is ending may have freed its message already: it gets a status alone.
    let _ = MESSAGE.try_with(|kept| *kept.borrow_mut() = bytes);
}

/// The reason why the last call of this thread that failed did so, such as "rows: b has shape 3x2, expected
/// 2x2 (as a)".
///
/// Never null, and empty before a call fails. The text belongs to the library and stays until another
/// call of the same thread fails.
#[unsafe(no_mangle)]
pub extern "C" fn drlim_last_error() -> *const c_char {
    let kept = MESSAGE.try_with(|kept| {
        let kept = kept.borrow();
        if kept.is_empty() { c"".as_ptr() } else { kept.as_ptr().cast() }
    });
    kept.unwrap_or(c"".as_ptr())
}

/// Runs a call. A refusal becomes a status, and so does a panic.
pub fn guard(call: impl FnOnce() -> Result<(), Refusal>) -> drlim_status {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => drlim_status::OK,
        Ok(Err(refusal)) => {
            let status = refusal.status();
            remember(refusal.message());
            status
        }
        Err(payload) => {
            let text = payload
                .downcast::<String>()
                .map(|text| *text)
                .or_else(|payload| payload.downcast::<&str>().map(|text| (*text).to_owned()));
            let text = text.unwrap_or_else(|payload| {
                // The payload could panic again as it is dropped.
                std::mem::forget(payload);
                "a panic".to_owned()
            });
            remember(format!("a defect of drlim: {text}"));
            drlim_status::PANIC
        }
    }
}
