//! The IDX format of MNIST and its descendants, raw or gzip.
//!
//! ```text
//! byte 0   0, 0               always
//! byte 2   0x08               the type of an element: u8, the only one read here
//! byte 3   n                  the number of dimensions: 1 for labels, 3 for images
//! byte 4   n times u32        the dimensions, most significant byte first
//! then     their product      the elements, the last dimension running fastest
//! ```
//!
//! A file is not trusted: its header is checked before anything that it announces is read, memory
//! grows only with the bytes that really arrive, and nothing may follow the last element. Whether a
//! file is compressed is seen from its first bytes, whatever it is called. The offsets in errors
//! count unpacked bytes.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::real::Real;

/// The first bytes of every gzip member.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The code of the element type u8.
const UNSIGNED_BYTE: u8 = 0x08;

/// Grey images of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    count: usize,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

impl Images {
    /// The number of images.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Rows of pixels in each image; at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels in each row; at least 1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `count * height * width` pixels, image after image, row after row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The images as rows of `side * side` values between 0 and 1, each in the middle of a frame
    /// of zeros; where the frame cannot be even, its wider part lies below and to the right.
    ///
    /// Refused where the images are not square, or larger than `side`.
    pub fn padded<T: Real>(&self, side: usize) -> Result<Vec<T>> {
        let (height, width) = (self.height, self.width);
        if height != width || height > side {
            return Err(Error::Shape {
                call: "padded",
                arg: "image",
                got: [height, width],
                expected: [side, side],
                like: "at most, and square",
            });
        }
        let overflow = Error::Overflow { what: "the padded images" };
        let len = side.checked_mul(side).and_then(|frame| frame.checked_mul(self.count));
        let len = len.ok_or(overflow.clone())?;
        let mut rows = Vec::new();
        rows.try_reserve_exact(len).map_err(|_| overflow)?;
        rows.resize(len, T::ZERO);
        let before = (side - height) / 2;
        for (i, line) in self.pixels.chunks_exact(width).enumerate() {
            let (image, y) = (i / height, i % height);
            let start = (image * side + before + y) * side + before;
            for (value, &pixel) in rows[start..start + width].iter_mut().zip(line) {
                *value = T::from_f64(f64::from(pixel) / 255.0);
            }
        }
        Ok(rows)
    }
}

/// Images and the class of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    images: Images,
    labels: Vec<u8>,
}

impl Labelled {
    /// Reads two files that belong together.
    ///
    /// Refused where one of them cannot be read, or their counts differ.
    pub fn read(images: &Path, labels: &Path) -> Result<Self> {
        let read = Labelled { images: read_images(images)?, labels: read_labels(labels)? };
        let (count, announced) = (read.images.count, read.labels.len());
        if count != announced {
            let reason =
                format!("byte 4: {announced} labels, but {} has {count} images", images.display());
            return Err(file_error(labels, reason));
        }
        Ok(read)
    }

    /// The images.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// What belongs to one of `classes`, in the order in which it stands here.
    pub fn select(&self, classes: &[u8]) -> Self {
        let Images { height, width, .. } = self.images;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for (image, &label) in self.images.pixels.chunks_exact(height * width).zip(&self.labels) {
            if classes.contains(&label) {
                pixels.extend_from_slice(image);
                labels.push(label);
            }
        }
        Labelled { images: Images { count: labels.len(), height, width, pixels }, labels }
    }
}

/// A data set in the four files of MNIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The files whose names begin with `train`.
    pub train: Labelled,
    /// The files whose names begin with `t10k`.
    pub test: Labelled,
}

impl Dataset {
    /// Reads the four files in `dir`: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the
    /// same with `t10k`. Each may be spelt with a dot before `idx` and may end in `.gz`.
    ///
    /// Refused where a file is missing or cannot be read, where counts of images and labels
    /// differ, or where test images are of another size than training images.
    ///
    /// ```no_run
    /// use drlim::data::idx::Dataset;
    /// let digits = Dataset::open("data/mnist49".as_ref())?;
    /// let nines = digits.test.select(&[9]);
    /// let rows = nines.images().padded::<f32>(32)?; // nines.labels().len() x 1024
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn open(dir: &Path) -> Result<Self> {
        let [train, test] = ["train", "t10k"].map(|part| {
            Labelled::read(&find(dir, part, "images", 3)?, &find(dir, part, "labels", 1)?)
        });
        let read = Dataset { train: train?, test: test? };
        let [train, test] = [&read.train.images, &read.test.images];
        if [test.height, test.width] != [train.height, train.width] {
            let reason = format!(
                "images of t10k are {}x{}, those of train {}x{}",
                test.height, test.width, train.height, train.width
            );
            return Err(file_error(dir, reason));
        }
        Ok(read)
    }
}

/// Reads images from a file.
///
/// Refused, by an error that names the file and the byte, where it cannot be opened or unpacked,
/// has another magic number or number of dimensions, dimensions whose product overflows, images
/// without pixels, or fewer or more bytes than its header announces.
pub fn read_images(path: &Path) -> Result<Images> {
    open(path).and_then(images).map_err(|reason| file_error(path, reason))
}

/// Reads labels from a file. Refused as [`read_images`] is.
pub fn read_labels(path: &Path) -> Result<Vec<u8>> {
    open(path).and_then(labels).map_err(|reason| file_error(path, reason))
}

/// [`read_images`] from memory; errors give the path as `bytes`.
pub fn parse_images(bytes: &[u8]) -> Result<Images> {
    images(bytes).map_err(|reason| file_error("bytes".as_ref(), reason))
}

/// [`read_labels`] from memory; errors give the path as `bytes`.
pub fn parse_labels(bytes: &[u8]) -> Result<Vec<u8>> {
    labels(bytes).map_err(|reason| file_error("bytes".as_ref(), reason))
}

fn file_error(path: &Path, reason: String) -> Error {
    Error::File { path: path.display().to_string(), reason }
}

/// The first of the four spellings of a file that is there.
fn find(dir: &Path, part: &str, kind: &str, dimensions: usize) -> Result<PathBuf> {
    let names = [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")]
        .map(|(before, after)| format!("{part}-{kind}{before}idx{dimensions}-ubyte{after}"));
    let there = names.iter().map(|name| dir.join(name)).find(|path| path.exists());
    there.ok_or_else(|| file_error(dir, format!("found none of {}", names.join(", "))))
}

/// The reason alone: the caller knows the path.
type Reason<T> = std::result::Result<T, String>;

fn open(path: &Path) -> Reason<File> {
    File::open(path).map_err(|error| error.to_string())
}

fn images(source: impl Read) -> Reason<Images> {
    let ([count, height, width], pixels) = unpack(source)?;
    Ok(Images { count, height, width, pixels })
}

fn labels(source: impl Read) -> Reason<Vec<u8>> {
    unpack::<1>(source).map(|(_, labels)| labels)
}

/// Dimensions and elements of raw or compressed bytes.
fn unpack<const N: usize>(mut source: impl Read) -> Reason<([usize; N], Vec<u8>)> {
    let start = take(&mut source, GZIP.len(), 0)?;
    let mut whole = start.chain(source);
    if start == GZIP {
        elements(&mut MultiGzDecoder::new(whole)).map_err(|reason| format!("unpacked: {reason}"))
    } else {
        elements(&mut whole)
    }
}

/// Dimensions and elements of raw bytes.
fn elements<const N: usize>(source: &mut dyn Read) -> Reason<([usize; N], Vec<u8>)> {
    let magic = exactly(source, 4, 0, "magic number")?;
    check_magic(&magic, N)?;
    let header = 4 + 4 * N;
    let bytes = exactly(source, 4 * N, 4, "dimensions")?;
    let mut dimensions = [0; N];
    for (dimension, bytes) in dimensions.iter_mut().zip(bytes.chunks_exact(4)) {
        *dimension = bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte));
    }
    if dimensions[1..].contains(&0) {
        return Err(format!("byte 8: images of {:?} pixels", &dimensions[1..]));
    }
    // The size of an image comes first, so that it fits even where there are no images.
    let len = dimensions.iter().rev().try_fold(1, |len: usize, &d| len.checked_mul(d));
    let end = len.and_then(|len| len.checked_add(header));
    let (Some(len), Some(end)) = (len, end) else {
        return Err(format!("byte 4: the product of dimensions {dimensions:?} overflows"));
    };
    let data = exactly(source, len, header, "elements")?;
    if !take(source, 1, end)?.is_empty() {
        return Err(format!("byte {end}: more follows, though dimensions are {dimensions:?}"));
    }
    Ok((dimensions, data))
}

fn check_magic(magic: &[u8], dimensions: usize) -> Reason<()> {
    if magic[..2] != [0, 0] {
        return Err(format!("byte 0: starts with {:02x?}, expected [00, 00]", &magic[..2]));
    }
    if magic[2] != UNSIGNED_BYTE {
        return Err(format!("byte 2: elements of type {:#04x}, expected 0x08 (u8)", magic[2]));
    }
    if usize::from(magic[3]) != dimensions {
        return Err(format!("byte 3: {} dimensions, expected {dimensions}", magic[3]));
    }
    Ok(())
}

/// The `len` bytes that stand at byte `at`.
fn exactly(source: &mut dyn Read, len: usize, at: usize, what: &str) -> Reason<Vec<u8>> {
    let bytes = take(source, len, at)?;
    if bytes.len() < len {
        let found = bytes.len();
        return Err(format!("byte {}: ends after {found} of {len} bytes of {what}", at + found));
    }
    Ok(bytes)
}

/// Up to `len` bytes; memory grows with what arrives, not with `len`.
fn take(source: &mut dyn Read, len: usize, at: usize) -> Reason<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = source.take(len as u64).read_to_end(&mut bytes);
    read.map_err(|error| format!("byte {}: {error}", at + bytes.len()))?;
    Ok(bytes)
}
