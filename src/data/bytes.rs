//! Bytes of a file that is not trusted, raw or gzip: what the readers beside this file share.
//!
//! A reader asks for as many bytes as its format announces. Memory grows with those that really arrive, and a
//! reason that it gives for a refusal names the byte, counted after unpacking; [`read`] adds the path.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::error::{Error, Result};

/// The first bytes of every gzip member.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The reason alone: the caller knows the path.
pub(super) type Reason<T> = std::result::Result<T, String>;

/// What is read from a file that is there.
pub(super) fn read<R>(path: &Path, reader: impl FnOnce(File) -> Reason<R>) -> Result<R> {
    let file = File::open(path).map_err(|error| error.to_string());
    file.and_then(reader).map_err(|reason| file_error(path, reason))
}

pub(super) fn file_error(path: &Path, reason: String) -> Error {
    Error::File { path: path.display().to_string(), reason }
}

/// What a reader makes of bytes once they are unpacked. Whether they are packed is seen from the first two,
/// and said in the reason for a refusal.
pub(super) fn unpacked<R>(
    mut source: impl Read,
    reader: impl FnOnce(&mut dyn Read) -> Reason<R>,
) -> Reason<R> {
    let start = take(&mut source, GZIP.len(), 0)?;
    let mut whole = start.chain(source);
    if start == GZIP {
        let mut members = Members(Some(GzDecoder::new(BufReader::new(whole))));
        reader(&mut members).map_err(|reason| format!("unpacked: {reason}"))
    } else {
        reader(&mut whole)
    }
}

/// The unpacked bytes of all members of a gzip file, which zeros may pad: what was on a tape, or came in
/// blocks. `gunzip` drops them too.
struct Members<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(to)?;
            if read > 0 || to.is_empty() {
                return Ok(read);
            }
            // A member has ended.
            let rest = member.get_mut();
            self.0 = match rest.fill_buf()?.first() {
                None => None,
                Some(0) => {
                    skip_zeros(rest)?;
                    None
                }
                Some(_) => self.0.take().map(|member| GzDecoder::new(member.into_inner())),
            };
        }
        Ok(0)
    }
}

/// Reads zeros up to the end, and nothing else.
fn skip_zeros(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|&byte| byte != 0) {
            let reason = "more follows the zeros after a gzip member";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let len = bytes.len();
        from.consume(len);
    }
}

/// The `len` bytes that stand at byte `at`.
pub(super) fn exactly(source: &mut dyn Read, len: usize, at: usize, what: &str) -> Reason<Vec<u8>> {
    let bytes = take(source, len, at)?;
    if bytes.len() < len {
        let found = bytes.len();
        return Err(format!("byte {}: ends after {found} of {len} bytes of {what}", at + found));
    }
    Ok(bytes)
}

/// Up to `len` bytes; memory grows with what arrives, not with `len`.
pub(super) fn take(source: &mut dyn Read, len: usize, at: usize) -> Reason<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = source.take(len as u64).read_to_end(&mut bytes);
    read.map_err(|error| format!("byte {}: {error}", at + bytes.len()))?;
    Ok(bytes)
}
