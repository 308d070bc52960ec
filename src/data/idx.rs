//! The IDX format of MNIST and its descendants, raw or gzip.
//!
//! ```text
//! byte 0   0, 0               always
//! byte 2   0x08 or 0x0c       the type of an element: u8, or i32, most significant byte first
//! byte 3   n                  the number of dimensions: 1 for labels, 2 for tables of them, 3 for images
//! byte 4   n times u32        the dimensions, most significant byte first
//! then     their product      the elements, the last dimension running fastest
//! ```
//!
//! | data set | is read by |
//! |---|---|
//! | MNIST, Fashion-MNIST, Kuzushiji-MNIST | [`Dataset::open`] |
//! | EMNIST: `emnist-letters-train-images-idx3-ubyte.gz` and so on | [`Dataset::named`] with `"emnist-letters"`, then [`Dataset::transposed`]: its images lie on their side |
//! | QMNIST: `qmnist-train-labels-idx2-int.gz` and so on | [`Dataset::named`] with `"qmnist"`; writers and the rest by [`read_table`] |
//!
//! A file is not trusted: its header is checked before anything that it announces is read, memory
//! grows only with the bytes that really arrive, and nothing may follow the last element but zeros that
//! pad a compressed file. Whether a file is compressed is seen from its first bytes, whatever it is
//! called. The offsets in errors count unpacked bytes.

#![forbid(unsafe_code)]

use std::io::Read;
use std::path::{Path, PathBuf};

use super::bytes::{Reason, exactly, file_error, read, take, unpacked};
use crate::error::{Error, Result};
use crate::simd::real::Real;

/// The code of the element type u8.
const UNSIGNED_BYTE: u8 = 0x08;

/// The code of the element type i32.
const INT: u8 = 0x0c;

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

    /// These images with rows and columns exchanged: EMNIST's files hold theirs on their side.
    ///
    /// ```
    /// use drlim::data::idx::parse_images;
    /// let bytes = [&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3][..], &[1, 2, 3, 4, 5, 6]].concat();
    /// let image = parse_images(&bytes)?.transposed(); // from 1 2 3 above 4 5 6
    /// assert_eq!((image.height(), image.width(), image.pixels()), (3, 2, &[1, 4, 2, 5, 3, 6][..]));
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn transposed(mut self) -> Self {
        let (height, width) = (self.height, self.width);
        let mut image = Vec::new();
        for pixels in self.pixels.chunks_exact_mut(height * width) {
            image.clear();
            image.extend_from_slice(pixels);
            for (at, pixel) in pixels.iter_mut().enumerate() {
                *pixel = image[at % height * width + at / height];
            }
        }
        Images { height: width, width: height, ..self }
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
    pub fn read(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self> {
        let (images, labels) = (images.as_ref(), labels.as_ref());
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

    /// With the rows and columns of each image exchanged: see [`Images::transposed`].
    pub fn transposed(self) -> Self {
        Labelled { images: self.images.transposed(), labels: self.labels }
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

/// Whole numbers in rows and columns: labels that say more than a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    rows: usize,
    columns: usize,
    values: Vec<i32>,
}

impl Table {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns; at least 1.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// `rows * columns` values, row after row.
    pub fn values(&self) -> &[i32] {
        &self.values
    }

    /// The values of one column, from the first row to the last.
    ///
    /// Refused where there is no such column.
    pub fn column(&self, at: usize) -> Result<impl Iterator<Item = i32>> {
        if at >= self.columns {
            let (got, expected) = (at as f64, "below the number of columns");
            return Err(Error::Value { arg: "at", got, expected });
        }
        Ok(self.values.iter().skip(at).step_by(self.columns).copied())
    }
}

/// A data set in four files: images and labels to train with, and to test with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The files that `train` is in the names of.
    pub train: Labelled,
    /// The files that `t10k`, or `test`, is in the names of.
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
    /// let digits = Dataset::open("data/mnist49")?;
    /// let nines = digits.test.select(&[9]);
    /// let rows = nines.images().padded::<f32>(32)?; // nines.labels().len() x 1024
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Dataset::of(dir.as_ref(), ["train", "t10k"], &["idx1-ubyte"])
    }

    /// Reads the four files in `dir` whose names begin with a name of their own, as those of EMNIST and
    /// QMNIST do: `NAME-train-images-idx3-ubyte`, `NAME-train-labels-idx1-ubyte` or else
    /// `NAME-train-labels-idx2-int`, and the same with `test`. Spelt and refused as by
    /// [`open`](Dataset::open).
    ///
    /// EMNIST has its images on their side: see [`transposed`](Dataset::transposed).
    ///
    /// ```no_run
    /// use drlim::data::idx::Dataset;
    /// let letters = Dataset::named("data/emnist", "emnist-letters")?.transposed();
    /// let digits = Dataset::named("data/qmnist", "qmnist")?;
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn named(dir: impl AsRef<Path>, name: &str) -> Result<Self> {
        let parts = ["train", "test"].map(|part| format!("{name}-{part}"));
        let parts = parts.each_ref().map(String::as_str);
        Dataset::of(dir.as_ref(), parts, &["idx1-ubyte", "idx2-int"])
    }

    /// With the rows and columns of each image exchanged: see [`Images::transposed`].
    pub fn transposed(self) -> Self {
        Dataset { train: self.train.transposed(), test: self.test.transposed() }
    }

    fn of(dir: &Path, parts: [&str; 2], labels: &[&str]) -> Result<Self> {
        let [train, test] = parts.map(|part| {
            let images = find(dir, &format!("{part}-images"), &["idx3-ubyte"])?;
            Labelled::read(images, find(dir, &format!("{part}-labels"), labels)?)
        });
        let read = Dataset { train: train?, test: test? };
        let [train, test] = [&read.train.images, &read.test.images];
        if [test.height, test.width] != [train.height, train.width] {
            let reason = format!(
                "images of {} are {}x{}, those of {} {}x{}",
                parts[1], test.height, test.width, parts[0], train.height, train.width
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
pub fn read_images(path: impl AsRef<Path>) -> Result<Images> {
    read(path.as_ref(), images)
}

/// Reads labels from a file: u8, or i32 as in QMNIST. Of a table, which only i32 may be, these are the
/// first column.
///
/// Refused as [`read_images`] is, and where an i32 is below 0 or above 255: such labels are for
/// [`read_table`].
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    read(path.as_ref(), labels)
}

/// Reads labels from a file as a table: those of u8, and i32 in one dimension, as a single column.
/// Refused as [`read_images`] is.
///
/// QMNIST's columns are the class, the series of forms, the writer, the number among the writer's digits,
/// the class as NIST encodes it, the number among all digits, and two that are 0.
///
/// ```no_run
/// use drlim::data::idx::read_table;
/// let table = read_table("data/qmnist/qmnist-train-labels-idx2-int.gz")?;
/// let writers: Vec<i64> = table.column(2)?.map(i64::from).collect();
/// let similar = drlim::Similar::Labels(&writers); // by one hand
/// # Ok::<(), drlim::Error>(())
/// ```
pub fn read_table(path: impl AsRef<Path>) -> Result<Table> {
    read(path.as_ref(), table)
}

/// [`read_images`] from memory; errors give the path as `bytes`.
pub fn parse_images(bytes: &[u8]) -> Result<Images> {
    images(bytes).map_err(|reason| file_error("bytes".as_ref(), reason))
}

/// [`read_labels`] from memory; errors give the path as `bytes`.
pub fn parse_labels(bytes: &[u8]) -> Result<Vec<u8>> {
    labels(bytes).map_err(|reason| file_error("bytes".as_ref(), reason))
}

/// [`read_table`] from memory; errors give the path as `bytes`.
pub fn parse_table(bytes: &[u8]) -> Result<Table> {
    table(bytes).map_err(|reason| file_error("bytes".as_ref(), reason))
}

/// The first of the spellings of a file that is there.
fn find(dir: &Path, what: &str, endings: &[&str]) -> Result<PathBuf> {
    let spelt = |ending: &&str| {
        [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")]
            .map(|(before, after)| format!("{what}{before}{ending}{after}"))
    };
    let names: Vec<String> = endings.iter().flat_map(spelt).collect();
    let there = names.iter().map(|name| dir.join(name)).find(|path| path.exists());
    there.ok_or_else(|| file_error(dir, format!("found none of {}", names.join(", "))))
}

fn images(source: impl Read) -> Reason<Images> {
    let contents = unpack(source, &[(UNSIGNED_BYTE, 3)])?;
    let [count, height, width] = contents.dimensions;
    Ok(Images { count, height, width, pixels: contents.data })
}

fn labels(source: impl Read) -> Reason<Vec<u8>> {
    let contents = unpack(source, &LABELS)?;
    if contents.of == UNSIGNED_BYTE {
        return Ok(contents.data);
    }
    let columns = contents.dimensions[1];
    let first = contents.ints().enumerate().step_by(columns);
    first
        .map(|(i, label)| {
            u8::try_from(label).map_err(|_| {
                let at = contents.header() + 4 * i;
                format!("byte {at}: a label of {label}, expected 0 to 255; read_table takes others")
            })
        })
        .collect()
}

fn table(source: impl Read) -> Reason<Table> {
    let contents = unpack(source, &LABELS)?;
    let [rows, columns, _] = contents.dimensions;
    let values = match contents.of {
        UNSIGNED_BYTE => contents.data.into_iter().map(i32::from).collect(),
        _ => contents.ints().collect(),
    };
    Ok(Table { rows, columns, values })
}

/// The types and numbers of dimensions that labels may have.
const LABELS: [(u8, usize); 3] = [(UNSIGNED_BYTE, 1), (INT, 1), (INT, 2)];

/// What a file holds.
struct Contents {
    /// The type of its elements.
    of: u8,
    /// How many dimensions it names; of the others one element is there.
    count: usize,
    dimensions: [usize; 3],
    data: Vec<u8>,
}

impl Contents {
    /// Where the elements start.
    fn header(&self) -> usize {
        4 + 4 * self.count
    }

    /// Elements of four bytes.
    fn ints(&self) -> impl Iterator<Item = i32> {
        let words = self.data.chunks_exact(4);
        words.map(|word| i32::from_be_bytes(word.try_into().expect("four bytes")))
    }
}

/// What raw or compressed bytes hold, of one of the given types and numbers of dimensions.
fn unpack(source: impl Read, expected: &[(u8, usize)]) -> Reason<Contents> {
    unpacked(source, |bytes| elements(bytes, expected))
}

/// What raw bytes hold.
fn elements(source: &mut dyn Read, expected: &[(u8, usize)]) -> Reason<Contents> {
    let magic = exactly(source, 4, 0, "magic number")?;
    let (of, count) = check_magic(&magic, expected)?;
    let header = 4 + 4 * count;
    let bytes = exactly(source, 4 * count, 4, "dimensions")?;
    let mut dimensions = [1; 3];
    for (dimension, bytes) in dimensions.iter_mut().zip(bytes.chunks_exact(4)) {
        *dimension = bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte));
    }
    let told = &dimensions[..count];
    if told[1..].contains(&0) {
        let (many, parts) = if count == 3 { ("images", "pixels") } else { ("rows", "elements") };
        return Err(format!("byte 8: {many} of {:?} {parts}", &told[1..]));
    }
    // The size of an image comes first, so that it fits even where there are no images.
    let size = if of == INT { 4 } else { 1 };
    let len = told.iter().rev().try_fold(size, |len: usize, &d| len.checked_mul(d));
    let end = len.and_then(|len| len.checked_add(header));
    let (Some(len), Some(end)) = (len, end) else {
        return Err(format!("byte 4: the product of dimensions {told:?} overflows"));
    };
    let data = exactly(source, len, header, "elements")?;
    if !take(source, 1, end)?.is_empty() {
        return Err(format!("byte {end}: more follows, though dimensions are {told:?}"));
    }
    Ok(Contents { of, count, dimensions, data })
}

/// The type and the number of dimensions.
fn check_magic(magic: &[u8], expected: &[(u8, usize)]) -> Reason<(u8, usize)> {
    if magic[..2] != [0, 0] {
        return Err(format!("byte 0: starts with {:02x?}, expected [00, 00]", &magic[..2]));
    }
    let (of, count) = (magic[2], usize::from(magic[3]));
    let counts = expected.iter().filter(|(expected, _)| *expected == of);
    let counts: Vec<String> = counts.map(|(_, count)| count.to_string()).collect();
    if counts.is_empty() {
        let ints = expected.iter().any(|(of, _)| *of == INT);
        let types = if ints { "0x08 (u8) or 0x0c (i32)" } else { "0x08 (u8)" };
        return Err(format!("byte 2: elements of type {of:#04x}, expected {types}"));
    }
    if !expected.contains(&(of, count)) {
        return Err(format!("byte 3: {count} dimensions, expected {}", counts.join(" or ")));
    }
    Ok((of, count))
}
