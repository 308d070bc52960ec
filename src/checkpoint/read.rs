//! A safetensors file, compared with what it should hold before its data are read.
//!
//! ```text
//! byte 0       u64           n, the length of the header, least significant byte first
//! byte 8       n bytes       the header, as JSON: name, type, shape and place of each tensor
//! byte 8 + n   then          the tensors without gaps, up to the end of the file
//! ```
//!
//! A file is not trusted: memory grows only with the bytes that really arrive, and nothing may follow
//! the last tensor.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::io::Read;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::{ARCHITECTURE, dtype};
use crate::real::Real;

/// The longest header that the format allows.
const MOST_HEADER: u64 = 100_000_000;

/// A tensor that a file must hold.
#[derive(Clone)]
pub(super) struct Expected {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Expected {
    pub(super) fn new<T: Real>(name: String, shape: Vec<usize>) -> Self {
        Expected { name, dtype: dtype::<T>(), shape }
    }

    pub(super) fn words(name: &str, len: usize) -> Self {
        Expected { name: name.to_owned(), dtype: Dtype::U64, shape: vec![len] }
    }
}

/// Type and shape, as errors tell them.
struct Kind<'a>(Dtype, &'a [usize]);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0, self.1)
    }
}

/// A file whose header has been read.
pub(super) struct Reader<R> {
    header: Metadata,
    /// Where the tensors start.
    start: u64,
    rest: R,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(mut from: R) -> Result<Self, String> {
        let len = up_to(&mut from, 8)?;
        let len = <[u8; 8]>::try_from(len.as_slice())
            .map_err(|_| format!("ends after {} bytes, expected 8 and a header", len.len()))?;
        let len = u64::from_le_bytes(len);
        if len > MOST_HEADER {
            return Err(format!(
                "no safetensors file: a header of {len} bytes, expected at most {MOST_HEADER}"
            ));
        }
        let header = up_to(&mut from, len)?;
        if header.len() as u64 != len {
            let got = header.len();
            return Err(format!("ends after {got} bytes of a header, expected {len}"));
        }
        let header = serde_json::from_slice(&header)
            .map_err(|error| format!("no safetensors file: the header: {error}"))?;
        Ok(Reader { header, start: 8 + len, rest: from })
    }

    /// Compares what the file says of the layers, if it does, with those of the network.
    pub(super) fn check_architecture(&self, expected: &str) -> Result<(), String> {
        let about = self.header.metadata().as_ref();
        let Some(got) = about.and_then(|about| about.get(ARCHITECTURE)) else { return Ok(()) };
        let (mut got, mut expected) = (got.split('\n'), expected.split('\n'));
        loop {
            match (got.next(), expected.next()) {
                (None, None) => return Ok(()),
                (got, expected) if got == expected => {}
                (got, expected) => {
                    let line = |line: Option<&str>| {
                        line.map_or("the end".into(), |line| format!("{line:?}"))
                    };
                    return Err(format!(
                        "is of another network: {}, expected {}",
                        line(got),
                        line(expected)
                    ));
                }
            }
        }
    }

    pub(super) fn has(&self, tensor: &Expected) -> bool {
        self.header.info(&tensor.name).is_some()
    }

    /// Compares the tensors of the file with all that are expected, then reads them.
    pub(super) fn read(mut self, expected: &[Expected]) -> Result<Contents, String> {
        let mut places = HashMap::new();
        for Expected { name, dtype, shape } in expected {
            let wanted = Kind(*dtype, shape);
            let Some(info) = self.header.info(name) else {
                return Err(format!("lacks {name}, expected {wanted}"));
            };
            let TensorInfo { dtype, shape, data_offsets } = info;
            let found = Kind(*dtype, shape);
            if found.0 != wanted.0 || found.1 != wanted.1 {
                return Err(format!("{name} is {found}, expected {wanted}"));
            }
            places.insert(name.clone(), *data_offsets);
        }
        for name in self.header.offset_keys() {
            if let Some(TensorInfo { dtype, shape, .. }) =
                self.header.info(&name).filter(|_| !places.contains_key(&name))
            {
                let kind = Kind(*dtype, shape);
                return Err(format!("holds {name}, {kind}, expected no such tensor"));
            }
        }
        let len = self.header.data_len() as u64;
        let data = up_to(&mut self.rest, len.saturating_add(1))?;
        if data.len() as u64 != len {
            let end = self.start.saturating_add(len);
            return Err(match (data.len() as u64).checked_sub(len) {
                None => {
                    let got = self.start + data.len() as u64;
                    format!("ends after {got} bytes, expected {end}")
                }
                Some(_) => format!("goes on after {end} bytes, expected its end"),
            });
        }
        Ok(Contents { data, places })
    }
}

/// So many bytes, or as many as there are.
fn up_to(from: &mut impl Read, len: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    from.take(len).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The tensors of a file that holds what was expected.
pub(super) struct Contents {
    data: Vec<u8>,
    places: HashMap<String, (usize, usize)>,
}

impl Contents {
    fn bytes(&self, tensor: &Expected) -> &[u8] {
        let (start, end) = self.places[&tensor.name];
        &self.data[start..end]
    }

    pub(super) fn reals<T: Real>(&self, tensor: &Expected) -> impl Iterator<Item = T> {
        self.bytes(tensor).chunks_exact(size_of::<T>()).map(T::from_le)
    }

    pub(super) fn words(&self, tensor: &Expected) -> Vec<u64> {
        let words = self.bytes(tensor).chunks_exact(8);
        words.map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect()
    }
}
