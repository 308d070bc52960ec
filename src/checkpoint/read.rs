//! Reads a safetensors file: its header is compared with the tensors expected before the data are read.
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

use super::{ARCHITECTURE, Load, dtype};
use crate::simd::real::Real;

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

/// The most names of tensors that an error lists.
const LISTED: usize = 6;

/// The most characters of a name that an error tells.
const TOLD: usize = 80;

/// A file whose header has been read.
pub(super) struct Reader<'a, R> {
    header: Metadata,
    /// The differences that are allowed.
    load: Load<'a>,
    /// Where the tensors start.
    start: u64,
    rest: R,
}

impl<'a, R: Read> Reader<'a, R> {
    pub(super) fn new(mut from: R, load: Load<'a>) -> Result<Self, String> {
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
        Ok(Reader { header, load, start: 8 + len, rest: from })
    }

    /// Compares the layers that the file names, if it does, with those of the network.
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
        self.header.info(&self.in_file(&tensor.name)).is_some()
    }

    /// The name of a tensor in the file.
    fn in_file(&self, name: &str) -> String {
        format!("{}{name}", self.load.prefix)
    }

    /// The part of an error that lists the tensors of the file. If all that are expected are there with a
    /// prefix, it says how they are loaded.
    fn holds(&self, expected: &[Expected]) -> String {
        let names = self.header.offset_keys();
        let has = |prefix: &str, tensor: &Expected| {
            self.header.info(&format!("{prefix}{}", tensor.name)).is_some()
        };
        let first = expected.first().map_or("", |tensor| &tensor.name);
        let mut prefixes = names.iter().filter_map(|name| name.strip_suffix(first));
        if let Some(prefix) = prefixes.find(|prefix| expected.iter().all(|one| has(prefix, one))) {
            let prefix = told(prefix);
            return format!("the file's names begin with it: see Load::prefix({prefix:?})");
        }
        match names.as_slice() {
            [] => "the file holds no tensor".to_owned(),
            names => {
                let listed: Vec<String> =
                    names.iter().take(LISTED).map(|name| told(name)).collect();
                let more = match names.len().saturating_sub(LISTED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("the file holds {}{more}", listed.join(", "))
            }
        }
    }

    /// Compares the tensors of the file with all that are expected, then reads them.
    pub(super) fn read(mut self, expected: &[Expected]) -> Result<Contents, String> {
        let mut places = HashMap::new();
        for tensor in expected {
            let Expected { name, dtype, shape } = tensor;
            let wanted = Kind(*dtype, shape);
            let Some(info) = self.header.info(&self.in_file(name)) else {
                let name = told(&self.in_file(name));
                return Err(format!("lacks {name}, expected {wanted}; {}", self.holds(expected)));
            };
            let TensorInfo { dtype, shape, data_offsets } = info;
            let found = Kind(*dtype, shape);
            let as_it_is = found.0 == wanted.0;
            let wider = widens(found.0, wanted.0);
            if found.1 != wanted.1 || !(as_it_is || wider && self.load.widened) {
                let way =
                    if found.1 == wanted.1 && wider { "; Load::widened takes it" } else { "" };
                return Err(format!("{name} is {found}, expected {wanted}{way}"));
            }
            places.insert(name.clone(), (found.0, *data_offsets));
        }
        for name in self.header.offset_keys() {
            let without = name.strip_prefix(self.load.prefix);
            if let Some(TensorInfo { dtype, shape, .. }) = self
                .header
                .info(&name)
                .filter(|_| without.is_none_or(|of| !places.contains_key(of)))
            {
                let (name, kind) = (told(&name), Kind(*dtype, shape));
                return Err(match without {
                    Some(_) => format!("holds {name}, {kind}, expected no such tensor"),
                    None => format!(
                        "holds {name}, {kind}, expected names that begin with {:?}",
                        self.load.prefix
                    ),
                });
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

/// Reads `len` bytes, or as many as there are.
fn up_to(from: &mut impl Read, len: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    from.take(len).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A name, cut off after [`TOLD`] characters.
fn told(name: &str) -> String {
    match name.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

/// Whether every number of the type `narrow` is also one of the type `wide`.
fn widens(narrow: Dtype, wide: Dtype) -> bool {
    matches!(
        (narrow, wide),
        (Dtype::F16 | Dtype::BF16, Dtype::F32 | Dtype::F64) | (Dtype::F32, Dtype::F64)
    )
}

/// The tensors of a file that holds what was expected.
pub(super) struct Contents {
    data: Vec<u8>,
    /// The type of each tensor, and its range of bytes.
    places: HashMap<String, (Dtype, (usize, usize))>,
}

impl Contents {
    fn bytes(&self, tensor: &Expected) -> (Dtype, &[u8]) {
        let (dtype, (start, end)) = self.places[&tensor.name];
        (dtype, &self.data[start..end])
    }

    pub(super) fn reals<T: Real>(&self, tensor: &Expected) -> impl Iterator<Item = T> {
        let (from, bytes) = self.bytes(tensor);
        let size = match from {
            Dtype::F16 | Dtype::BF16 => 2,
            Dtype::F32 => 4,
            _ => size_of::<T>(),
        };
        bytes.chunks_exact(size).map(move |bytes| match (from, bytes) {
            (Dtype::F16, &[low, high]) => T::from_f64(from_f16(u16::from_le_bytes([low, high]))),
            (Dtype::BF16, &[low, high]) => {
                T::from_f64(f32::from_le_bytes([0, 0, low, high]).into())
            }
            (_, bytes) if size == size_of::<T>() => T::from_le(bytes),
            (_, bytes) => T::from_f64(f32::from_le(bytes).into()),
        })
    }

    pub(super) fn words(&self, tensor: &Expected) -> Vec<u64> {
        let words = self.bytes(tensor).1.chunks_exact(8);
        words.map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect()
    }
}

/// A number of IEEE's binary16: a sign, five bits of exponent, ten of the fraction.
fn from_f16(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let size = match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * f64::powi(2.0, -24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1024.0 + fraction) * f64::powi(2.0, exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}
