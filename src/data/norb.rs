//! The small NORB set as its authors wrote it: toys seen from many sides, by two cameras, under six lights
//! (LeCun, Huang, Bottou 2004). Raw or gzip.
//!
//! ```text
//! byte 0   i32                0x1e3d4c55 where elements are bytes, 0x1e3d4c54 where they are i32
//! byte 4   i32                n, the number of dimensions
//! byte 8   max(n, 3) i32      the dimensions; those beyond the n-th are 1
//! then     their product      the elements, the last dimension running fastest
//! ```
//!
//! All numbers have their least significant byte first. A part of the set is three files:
//!
//! | file | elements | dimensions | holds |
//! |---|---|---|---|
//! | `-dat.mat` | bytes | images x 2 x 96 x 96 | the pixels that each of two cameras saw, row after row |
//! | `-cat.mat` | i32 | images | the category, 0 to 4: see [`CATEGORIES`] |
//! | `-info.mat` | i32 | images x 4 | instance 0 to 9, elevation 0 to 8, azimuth 0, 2, .. 34, lighting 0 to 5 |
//!
//! Images may have any size. No file is trusted: its head is checked before anything that it announces is
//! read, memory grows only with the bytes that really arrive, and nothing may follow the last element but
//! zeros that pad a compressed file. Whether a file is compressed is seen from its first bytes, whatever it
//! is called. The offsets in errors count unpacked bytes.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::bytes::{Reason, exactly, file_error, read, take, unpacked};
use crate::error::{Error, Result};
use crate::memory::reserve::try_with_capacity;
use crate::simd::real::Real;

/// What the toys of each category are.
pub const CATEGORIES: [&str; 5] =
    ["four-legged animals", "human figures", "airplanes", "trucks", "cars"];

/// Of a file whose elements are bytes.
const BYTES: u32 = 0x1e3d_4c55;

/// Of a file whose elements are i32.
const INTS: u32 = 0x1e3d_4c54;

/// Both cameras saw each image.
const CAMERAS: usize = 2;

/// What a column of an `-info.mat` file holds: its name, the largest number, and the step between numbers.
const COLUMNS: [(&str, u8, u8); 4] =
    [("an instance", 9, 1), ("an elevation", 8, 1), ("an azimuth", 34, 2), ("a lighting", 5, 1)];

/// The half of the set that is to be learnt from, or the one to test with. They have no toy in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Instances 4, 6, 7, 8 and 9 of each category.
    Training,
    /// Instances 0, 1, 2, 3 and 5 of each category.
    Testing,
}

impl Part {
    /// How the names of its files end, before `-dat.mat`.
    fn ending(self) -> &'static str {
        match self {
            Part::Training => "-training",
            Part::Testing => "-testing",
        }
    }

    /// How the names of its files begin, as the authors gave them out.
    fn official(self) -> &'static str {
        match self {
            Part::Training => "smallnorb-5x46789x9x18x6x2x96x96-training",
            Part::Testing => "smallnorb-5x01235x9x18x6x2x96x96-testing",
        }
    }
}

/// Which toy an image shows, from where, and under which light. All numbers count steps from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// What kind of toy: an index into [`CATEGORIES`].
    pub category: u8,
    /// Which toy of its category: 0 to 9.
    pub instance: u8,
    /// How high the cameras stood: 0 to 8, from 30 to 70 degrees above the table in steps of 5.
    pub elevation: u8,
    /// How far the table was turned: 0 to 17, in steps of 20 degrees; 17 is beside 0. (Files hold twice
    /// this number.)
    pub azimuth: u8,
    /// Which of the six lightings: 0 to 5.
    pub lighting: u8,
}

/// Images of toys, and what each of them shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Norb {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    views: Vec<View>,
}

impl Norb {
    /// Reads the three files of a part in `dir`, each raw or with `.gz` at the end of its name.
    ///
    /// Their names are those that the authors gave them:
    /// `smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat` and the same with `-cat.mat` and `-info.mat`, or
    /// `smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat` and so on. Where no such `-dat.mat` is in `dir`,
    /// the only other one that ends in `-training-dat.mat` (or `-testing-dat.mat`) is taken, and the two
    /// files whose names begin like its own. Of a raw file and a packed one of the same name, the raw one is
    /// read.
    ///
    /// Refused where a file is missing, where several could be meant, and as by [`read`](Norb::read).
    ///
    /// ```no_run
    /// use drlim::data::norb::{Norb, Part, View};
    /// use drlim::{Graph, Similar};
    ///
    /// // One airplane, as the first camera saw it: 972 rows of 9216 values.
    /// let all = Norb::open("data/smallnorb", Part::Training)?;
    /// let plane = all.select(|view| view.category == 2 && view.instance == 4);
    /// let rows = plane.pixels::<f32>(0)?;
    ///
    /// // Similar is what lies at most one step apart in each direction, whatever the light.
    /// let close = |a: &View, b: &View| {
    ///     let around = a.azimuth.abs_diff(b.azimuth);
    ///     around.min(18 - around) <= 1 && a.elevation.abs_diff(b.elevation) <= 1
    /// };
    /// let views = plane.views();
    /// let pairs: Vec<(u32, u32)> = (0..views.len())
    ///     .flat_map(|i| (0..i).map(move |j| (i, j)))
    ///     .filter(|&(i, j)| close(&views[i], &views[j]))
    ///     .map(|(i, j)| (i as u32, j as u32))
    ///     .collect();
    /// let graph = Graph::from_pairs(views.len(), &pairs)?;
    /// let similar = Similar::Graph(&graph);
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn open(dir: impl AsRef<Path>, part: Part) -> Result<Self> {
        let dir = dir.as_ref();
        let begin = begin(dir, part)?;
        let [dat, cat, info] =
            ["dat", "cat", "info"].map(|what| raw_or_packed(dir, &format!("{begin}-{what}.mat")));
        Norb::read(dat?, cat?, info?)
    }

    /// Reads three files that belong together: pixels, categories, and the rest of what is known.
    ///
    /// Refused, by an error that names the file and the byte, where one of them cannot be opened or unpacked,
    /// has another magic number or number of dimensions, other numbers of cameras or columns, dimensions whose
    /// product overflows, images without pixels, or fewer or more bytes than its head announces; where a
    /// number is none of those in the table [above](self); and where counts of images differ.
    pub fn read(
        dat: impl AsRef<Path>,
        cat: impl AsRef<Path>,
        info: impl AsRef<Path>,
    ) -> Result<Self> {
        let paths = [dat.as_ref(), cat.as_ref(), info.as_ref()];
        // The largest file comes last.
        let (cats, infos) = (read(paths[1], categories)?, read(paths[2], rest_of_views)?);
        Norb::joined(paths, read(paths[0], images)?, cats, infos)
    }

    /// [`read`](Norb::read) from memory; errors give the paths as `dat`, `cat` and `info`.
    ///
    /// ```
    /// use drlim::data::norb::{Norb, View};
    ///
    /// let file = |magic: u32, dimensions: &[i32], elements: &[u8]| {
    ///     let mut bytes = magic.to_le_bytes().to_vec();
    ///     dimensions.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    ///     [&bytes, elements].concat()
    /// };
    /// // One car on 1 x 2 pixels, from 35 degrees above the table, under light 3.
    /// let dat = file(0x1e3d4c55, &[4, /**/ 1, 2, 1, 2], &[0, 51, 102, 255]);
    /// let cat = file(0x1e3d4c54, &[1, /**/ 1, 1, 1], &4_i32.to_le_bytes());
    /// let of_one = [7_i32, 1, 0, 3].map(i32::to_le_bytes).concat();
    /// let info = file(0x1e3d4c54, &[2, /**/ 1, 4, 1], &of_one);
    ///
    /// let norb = Norb::parse(&dat, &cat, &info)?;
    /// let view = View { category: 4, instance: 7, elevation: 1, azimuth: 0, lighting: 3 };
    /// assert_eq!(norb.views(), [view]);
    /// assert_eq!(norb.image(0, 1)?, [102, 255]);
    /// assert_eq!(norb.pixels::<f32>(0)?, [0.0, 0.2]);
    ///
    /// let short = Norb::parse(&dat[..27], &cat, &info).unwrap_err();
    /// assert_eq!(short.to_string(), "dat: byte 27: ends after 3 of 4 bytes of elements");
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn parse(dat: &[u8], cat: &[u8], info: &[u8]) -> Result<Self> {
        let paths = ["dat", "cat", "info"].map(Path::new);
        let named = |file: usize| move |reason| file_error(paths[file], reason);
        let cats = categories(cat).map_err(named(1))?;
        let infos = rest_of_views(info).map_err(named(2))?;
        Norb::joined(paths, images(dat).map_err(named(0))?, cats, infos)
    }

    /// The contents of three files, whose counts must be the same.
    fn joined(
        paths: [&Path; 3],
        images: Images,
        categories: Vec<u8>,
        infos: Vec<[u8; 4]>,
    ) -> Result<Self> {
        let Images { count, height, width, pixels } = images;
        for (path, what, found) in
            [(paths[1], "categories", categories.len()), (paths[2], "rows", infos.len())]
        {
            if found != count {
                let dat = paths[0].display();
                let reason = format!("byte 8: {found} {what}, but {dat} has {count} images");
                return Err(file_error(path, reason));
            }
        }
        let view = |(category, [instance, elevation, azimuth, lighting]): (u8, [u8; 4])| View {
            category,
            instance,
            elevation,
            azimuth,
            lighting,
        };
        let views = categories.into_iter().zip(infos).map(view).collect();
        Ok(Norb { height, width, pixels, views })
    }

    /// The number of images that each camera saw.
    pub fn count(&self) -> usize {
        self.views.len()
    }

    /// Rows of pixels in each image; at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels in each row; at least 1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Image `i` as camera 0 or camera 1 saw it: `height * width` pixels, row after row.
    ///
    /// Refused where there is no such image or camera.
    pub fn image(&self, i: usize, camera: usize) -> Result<&[u8]> {
        check_camera(camera)?;
        self.check_image(i)?;
        let size = self.height * self.width;
        Ok(&self.pixels[(CAMERAS * i + camera) * size..][..size])
    }

    /// What image `i` shows. Refused where there is no such image.
    pub fn view(&self, i: usize) -> Result<View> {
        self.check_image(i)?;
        Ok(self.views[i])
    }

    /// The category of image `i`: an index into [`CATEGORIES`]. Refused where there is no such image.
    pub fn category(&self, i: usize) -> Result<u8> {
        Ok(self.view(i)?.category)
    }

    /// What each image shows, from the first to the last.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// The images whose views are `wanted`, in the order in which they stand here.
    pub fn select(&self, mut wanted: impl FnMut(&View) -> bool) -> Self {
        let (mut pixels, mut views) = (Vec::new(), Vec::new());
        let pairs = self.pixels.chunks_exact(CAMERAS * self.height * self.width);
        for (pair, view) in pairs.zip(&self.views) {
            if wanted(view) {
                pixels.extend_from_slice(pair);
                views.push(*view);
            }
        }
        Norb { pixels, views, ..*self }
    }

    /// What one camera saw, as `count` rows of `height * width` values between 0 and 1.
    ///
    /// Refused where there is no such camera, 0 or 1, or no memory for the rows.
    pub fn pixels<T: Real>(&self, camera: usize) -> Result<Vec<T>> {
        check_camera(camera)?;
        let mut values = try_with_capacity("the pixels", self.pixels.len() / CAMERAS)?;
        let images = self.pixels.chunks_exact(self.height * self.width);
        for image in images.skip(camera).step_by(CAMERAS) {
            values.extend(image.iter().map(|&pixel| T::from_f64(f64::from(pixel) / 255.0)));
        }
        Ok(values)
    }

    fn check_image(&self, i: usize) -> Result<()> {
        let (got, expected) = (i as f64, "below the number of images");
        if i < self.count() { Ok(()) } else { Err(Error::Value { arg: "i", got, expected }) }
    }
}

fn check_camera(camera: usize) -> Result<()> {
    let (got, expected) = (camera as f64, "0 or 1");
    if camera < CAMERAS { Ok(()) } else { Err(Error::Value { arg: "camera", got, expected }) }
}

/// What the names of a part's files in `dir` begin with.
fn begin(dir: &Path, part: Part) -> Result<String> {
    let official = part.official();
    let dat = format!("{official}-dat.mat");
    if raw_or_packed(dir, &dat).is_ok() {
        return Ok(official.into());
    }
    let failed = |error: std::io::Error| file_error(dir, error.to_string());
    let ending = format!("{}-dat.mat", part.ending());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // A name that is no text does not end as it should.
        let Some(name) = name.to_str() else { continue };
        let name = name.strip_suffix(".gz").unwrap_or(name);
        if name.ends_with(&ending) {
            found.push(name.strip_suffix("-dat.mat").unwrap_or(name).to_owned());
        }
    }
    found.sort();
    found.dedup();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            Err(file_error(dir, format!("found none of {dat}, {dat}.gz, *{ending}, *{ending}.gz")))
        }
        several => Err(file_error(
            dir,
            format!("several files end in {ending}, expected one: {}", several.join(", ")),
        )),
    }
}

/// A file that is there, by its name or with `.gz` behind it.
fn raw_or_packed(dir: &Path, name: &str) -> Result<PathBuf> {
    let names = [name.to_owned(), format!("{name}.gz")];
    let there = names.iter().map(|name| dir.join(name)).find(|path| path.exists());
    there.ok_or_else(|| file_error(dir, format!("found none of {}", names.join(", "))))
}

/// What a `-dat.mat` file holds.
struct Images {
    count: usize,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

fn images(source: impl Read) -> Reason<Images> {
    unpacked(source, |source| {
        let head = Head::read(source, BYTES, 4)?;
        head.expect(1, CAMERAS, "cameras")?;
        let [count, _, height, width] = head.dimensions;
        if height == 0 || width == 0 {
            return Err(format!("byte 16: images of {height}x{width} pixels"));
        }
        Ok(Images { count, height, width, pixels: head.elements(source)? })
    })
}

fn categories(source: impl Read) -> Reason<Vec<u8>> {
    unpacked(source, |source| {
        let head = Head::read(source, INTS, 1)?;
        let bytes = head.elements(source)?;
        ints(&bytes)
            .enumerate()
            .map(|(i, value)| step(head.end() + 4 * i, value, ("a category", 4, 1)))
            .collect()
    })
}

/// Instance, elevation, azimuth and lighting of each image.
fn rest_of_views(source: impl Read) -> Reason<Vec<[u8; 4]>> {
    unpacked(source, |source| {
        let head = Head::read(source, INTS, 2)?;
        head.expect(1, COLUMNS.len(), "columns")?;
        let bytes = head.elements(source)?;
        let row = |(i, row): (usize, &[u8])| {
            let mut steps = [0; COLUMNS.len()];
            for (k, (value, column)) in ints(row).zip(COLUMNS).enumerate() {
                steps[k] = step(head.end() + 4 * (COLUMNS.len() * i + k), value, column)?;
            }
            Ok(steps)
        };
        bytes.chunks_exact(4 * COLUMNS.len()).enumerate().map(row).collect()
    })
}

fn ints(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes.chunks_exact(4).map(|word| i32::from_le_bytes(word.try_into().expect("four bytes")))
}

/// How many steps the number at byte `at` stands for.
fn step(at: usize, value: i32, (what, most, step): (&str, u8, u8)) -> Reason<u8> {
    match u8::try_from(value) {
        Ok(value) if value <= most && value.is_multiple_of(step) => Ok(value / step),
        _ => {
            let numbers = if step == 2 { "an even number from 0" } else { "0" };
            Err(format!("byte {at}: {what} of {value}, expected {numbers} to {most}"))
        }
    }
}

/// The head of a file.
struct Head {
    /// Bytes of an element.
    size: usize,
    /// How many dimensions it has.
    rank: usize,
    /// The dimensions, and 1 for those that it does not have.
    dimensions: [usize; 4],
}

impl Head {
    fn read(source: &mut dyn Read, magic: u32, rank: usize) -> Reason<Head> {
        let found = words(source, 1, 0, "magic number")?[0] as u32;
        if found != magic {
            let of = if magic == BYTES { "bytes" } else { "i32" };
            return Err(format!(
                "byte 0: magic number {found:#010x}, expected {magic:#010x}, of a file of {of}"
            ));
        }
        let announced = words(source, 1, 4, "number of dimensions")?[0];
        if usize::try_from(announced) != Ok(rank) {
            return Err(format!("byte 4: {announced} dimensions, expected {rank}"));
        }
        let mut dimensions = [1; 4];
        let stored = words(source, rank.max(3), 8, "dimensions")?;
        for (k, (dimension, stored)) in dimensions.iter_mut().zip(stored).enumerate() {
            let at = 8 + 4 * k;
            *dimension = usize::try_from(stored)
                .map_err(|_| format!("byte {at}: a dimension of {stored}"))?;
            if k >= rank && stored != 1 {
                return Err(format!("byte {at}: an unused dimension of {stored}, expected 1"));
            }
        }
        Ok(Head { size: if magic == BYTES { 1 } else { 4 }, rank, dimensions })
    }

    /// Refuses a dimension that is another one.
    fn expect(&self, k: usize, expected: usize, what: &str) -> Reason<()> {
        match self.dimensions[k] {
            found if found == expected => Ok(()),
            found => Err(format!("byte {}: {found} {what}, expected {expected}", 8 + 4 * k)),
        }
    }

    /// Where the elements start.
    fn end(&self) -> usize {
        8 + 4 * self.rank.max(3)
    }

    /// The elements, behind which the file ends.
    fn elements(&self, source: &mut dyn Read) -> Reason<Vec<u8>> {
        let told = &self.dimensions[..self.rank];
        // The size of an image comes first, so that it fits even where there are no images.
        let len = told.iter().rev().try_fold(self.size, |len, &d| len.checked_mul(d));
        let end = len.and_then(|len| len.checked_add(self.end()));
        let (Some(len), Some(end)) = (len, end) else {
            return Err(format!("byte 8: the product of dimensions {told:?} overflows"));
        };
        let bytes = exactly(source, len, self.end(), "elements")?;
        if !take(source, 1, end)?.is_empty() {
            return Err(format!("byte {end}: more follows, though dimensions are {told:?}"));
        }
        Ok(bytes)
    }
}

/// The i32 that stand at byte `at`.
fn words(source: &mut dyn Read, count: usize, at: usize, what: &str) -> Reason<Vec<i32>> {
    Ok(ints(&exactly(source, 4 * count, at, what)?).collect())
}
