//! The images of the run: those of the chosen classes, as rows of numbers and in frames for the net.

use std::path::Path;

use drlim::data::idx::{Dataset, Labelled};
use drlim::{Error, Mat};

use super::Failure;

/// The fours and nines that come with the crate.
const EMBEDDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist49");

/// The side of the frame that the net takes.
pub const FRAME: usize = 32;

/// Neighbours that vote on the class of a point.
pub const VOTERS: usize = 5;

/// Training and test images of the same classes and the same size.
pub struct Digits {
    /// Ascending.
    pub classes: Vec<u8>,
    /// Whether they are the ones that come with the crate.
    pub embedded: bool,
    /// Pixels of an image in each direction, at most [`FRAME`].
    pub side: usize,
    /// What is learnt from.
    pub train: Split,
    /// What the net never sees in training.
    pub test: Split,
}

/// Images and their labels.
pub struct Split {
    /// Pixels of an image in each direction.
    pub side: usize,
    /// One image after another, from 0 to 1.
    pub pixels: Vec<f32>,
    /// The same in the middle of frames of zeros.
    pub frames: Vec<f32>,
    /// The class of each.
    pub labels: Vec<i64>,
}

impl Digits {
    /// Reads a folder, or what comes with the crate, and keeps the given classes, or all.
    pub fn load(dir: Option<&Path>, classes: Option<&[u8]>) -> Result<Self, Failure> {
        let all = Dataset::open(dir.unwrap_or(EMBEDDED.as_ref()))?;
        let mut known = all.train.labels().to_vec();
        known.sort_unstable();
        known.dedup();
        let classes = classes.map_or(known.clone(), <[u8]>::to_vec);
        if let Some(class) = classes.iter().find(|class| !known.contains(class)) {
            return Err(
                format!("no training image is of class {class}: there are {known:?}").into()
            );
        }
        if classes.len() < 2 {
            return Err(format!("two classes or more are needed, there are {known:?}").into());
        }
        let (height, side) = (all.train.images().height(), all.train.images().width());
        if height != side || side > FRAME {
            return Err(format!(
                "images are {height}x{side} pixels, expected square ones of up to {FRAME}x{FRAME}"
            )
            .into());
        }
        let train = Split::new(&all.train.select(&classes))?;
        let test = Split::new(&all.test.select(&classes))?;
        if train.len() <= VOTERS || test.len() == 0 {
            return Err(format!(
                "{} training and {} test images of classes {classes:?}, expected at least {} and 1",
                train.len(),
                test.len(),
                VOTERS + 1
            )
            .into());
        }
        Ok(Digits { classes, embedded: dir.is_none(), side, train, test })
    }
}

impl Split {
    fn new(images: &Labelled) -> Result<Self, Error> {
        let side = images.images().width();
        Ok(Split {
            side,
            pixels: images.images().padded(side)?,
            frames: images.images().padded(FRAME)?,
            labels: images.labels().iter().map(|&label| i64::from(label)).collect(),
        })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// A row of pixels for each image.
    pub fn pixels(&self) -> Result<Mat<'_, f32>, Error> {
        Mat::new(&self.pixels, self.len(), self.side * self.side)
    }

    /// A row of pixels for each frame.
    pub fn frames(&self) -> Result<Mat<'_, f32>, Error> {
        Mat::new(&self.frames, self.len(), FRAME * FRAME)
    }

    /// The pixels of one image.
    pub fn image(&self, i: usize) -> &[f32] {
        let len = self.side * self.side;
        &self.pixels[i * len..][..len]
    }
}
