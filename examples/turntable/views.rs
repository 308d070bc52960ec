//! The views of one object: images with their poses, some to train with and the others to test with.

use std::path::Path;

use drlim::data::norb::{CATEGORIES, Norb, Part, View};
use drlim::{Error, Graph, Mat, Rng};

use crate::args::Args;
use crate::render::{self, Object};
use crate::shared::Failure;

/// Pixels of a view in each direction.
pub const SIDE: usize = 96;

/// Steps around the object, of 20 degrees.
pub const AZIMUTHS: usize = 18;

/// Heights of the camera: 30 to 70 degrees by 5.
pub const ELEVATIONS: usize = 9;

/// Conditions of light.
pub const LIGHTINGS: usize = 6;

/// Views that are learnt from, of 972, as in the paper.
const TRAIN: usize = 660;

/// How a view was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pose {
    pub azimuth: usize,
    pub elevation: usize,
    pub lighting: usize,
}

impl Pose {
    /// At most one step apart around the object.
    pub fn azimuth_within_a_step(&self, other: &Pose) -> bool {
        let apart = self.azimuth.abs_diff(other.azimuth);
        apart.min(AZIMUTHS - apart) <= 1
    }

    /// At most one step apart in height.
    pub fn elevation_within_a_step(&self, other: &Pose) -> bool {
        self.elevation.abs_diff(other.elevation) <= 1
    }

    /// The paper's rule: similar whatever the light.
    pub fn is_similar(&self, other: &Pose) -> bool {
        self.azimuth_within_a_step(other) && self.elevation_within_a_step(other)
    }
}

/// The views of an object, those to train with first.
pub struct Views {
    /// From 0 to 1, view after view.
    pub pixels: Vec<f32>,
    pub poses: Vec<Pose>,
    /// How many of them are to train with.
    pub train: usize,
    /// The name of the object, for titles.
    pub what: String,
    /// The object, where it is rendered.
    pub object: Option<Object>,
}

impl Views {
    /// Renders the views, or reads those of one toy from NORB's files, and parts them at random by the seed.
    pub fn load(args: &Args) -> Result<Self, Failure> {
        if let Some(dir) = &args.data {
            return Views::of_norb(dir, args);
        }
        let (pixels, poses) = render::render(args.object, args.seed);
        let what = match args.object {
            Object::Airplane => "a synthetic airplane",
            Object::Car => "a synthetic car",
        };
        Ok(Views::parted(pixels, poses, args.seed, what.to_owned(), Some(args.object)))
    }

    /// The views of a toy by the first camera.
    fn of_norb(dir: &Path, args: &Args) -> Result<Self, Failure> {
        // Each part has five of the ten instances of a category.
        let part = match args.instance {
            4 | 6..=9 => Part::Training,
            _ => Part::Testing,
        };
        let wanted = |view: &View| (view.category, view.instance) == (args.category, args.instance);
        let toy = Norb::open(dir, part)?.select(wanted);
        if [toy.height(), toy.width()] != [SIDE, SIDE] {
            let (height, width) = (toy.height(), toy.width());
            return Err(format!("images are {height}x{width}, expected {SIDE}x{SIDE}").into());
        }
        if toy.count() < 6 {
            let (instance, category) = (args.instance, args.category);
            let count = toy.count();
            return Err(format!(
                "{count} views of instance {instance} of category {category}, expected 6 or more"
            )
            .into());
        }
        let pose = |view: &View| Pose {
            azimuth: usize::from(view.azimuth),
            elevation: usize::from(view.elevation),
            lighting: usize::from(view.lighting),
        };
        let poses = toy.views().iter().map(pose).collect();
        let category = CATEGORIES[usize::from(args.category)];
        let what = format!("toy {} of NORB's {category}", args.instance);
        Ok(Views::parted(toy.pixels(0)?, poses, args.seed, what, None))
    }

    fn parted(
        pixels: Vec<f32>,
        poses: Vec<Pose>,
        seed: u64,
        what: String,
        object: Option<Object>,
    ) -> Self {
        let mut order: Vec<usize> = (0..poses.len()).collect();
        Rng::stream(seed, 4).shuffle(&mut order);
        let image = |&i: &usize| &pixels[i * SIDE * SIDE..][..SIDE * SIDE];
        Views {
            pixels: order.iter().flat_map(image).copied().collect(),
            poses: order.iter().map(|&i| poses[i]).collect(),
            train: TRAIN.min(poses.len() * TRAIN / 972),
            what,
            object,
        }
    }

    /// The number of views.
    pub fn len(&self) -> usize {
        self.poses.len()
    }

    /// A row of pixels for each view.
    pub fn rows(&self) -> Result<Mat<'_, f32>, Error> {
        Mat::new(&self.pixels, self.len(), SIDE * SIDE)
    }

    /// The pixels of one view.
    pub fn view(&self, i: usize) -> &[f32] {
        &self.pixels[i * SIDE * SIDE..][..SIDE * SIDE]
    }

    /// Which views to train with are similar.
    pub fn similar(&self) -> Result<Graph, Error> {
        Graph::from_rule(&self.poses[..self.train], Pose::is_similar)
    }
}
