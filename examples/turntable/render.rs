//! A turntable of our own: an object of ellipsoids and boxes, seen from every side, from several heights, in
//! several lights. It stands in for the photographs of NORB, which may not be passed on; every picture that is
//! made of it says so.
//!
//! ```text
//! for each pixel, by rays that are parallel:
//!     the nearest surface along the ray, with its normal n
//!     brightness = albedo (ambient + diffuse max(0, n · light))
//! ```

use drlim::Rng;
use rayon::prelude::*;

use crate::views::{AZIMUTHS, ELEVATIONS, LIGHTINGS, Pose, SIDE};

/// Half of the width of what the camera sees; objects are about 2 long.
const REACH: f64 = 1.25;

/// Rays in a pixel, in each direction.
const RAYS: usize = 2;

/// The brightness of what is behind the object.
const BACKGROUND: f64 = 0.62;

/// What can be rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Object {
    Airplane,
    Car,
}

/// A convex part of an object, axes along those of the object: x to its front, y to its left, z up.
#[derive(Clone, Copy)]
struct Part {
    shape: Shape,
    middle: [f64; 3],
    /// Half of the extent along each axis.
    half: [f64; 3],
    albedo: f64,
}

#[derive(Clone, Copy)]
enum Shape {
    Ellipsoid,
    Box,
}

use Shape::{Box as Cuboid, Ellipsoid};

const fn part(shape: Shape, middle: [f64; 3], half: [f64; 3], albedo: f64) -> Part {
    Part { shape, middle, half, albedo }
}

const AIRPLANE: [Part; 8] = [
    part(Ellipsoid, [0.0, 0.0, 0.0], [1.0, 0.14, 0.15], 0.85),
    part(Ellipsoid, [0.62, 0.0, 0.10], [0.22, 0.10, 0.10], 0.35),
    part(Cuboid, [0.12, 0.0, -0.02], [0.20, 0.98, 0.025], 0.75),
    part(Cuboid, [-0.86, 0.0, 0.06], [0.11, 0.38, 0.02], 0.75),
    part(Cuboid, [-0.86, 0.0, 0.24], [0.13, 0.02, 0.20], 0.55),
    part(Ellipsoid, [0.24, 0.42, -0.10], [0.20, 0.08, 0.08], 0.45),
    part(Ellipsoid, [0.24, -0.42, -0.10], [0.20, 0.08, 0.08], 0.45),
    part(Cuboid, [0.12, 0.0, -0.16], [0.30, 0.06, 0.05], 0.60),
];

const CAR: [Part; 8] = [
    part(Cuboid, [0.0, 0.0, 0.0], [0.95, 0.42, 0.16], 0.80),
    part(Cuboid, [-0.28, 0.0, 0.28], [0.46, 0.36, 0.14], 0.40),
    part(Cuboid, [0.66, 0.0, 0.17], [0.26, 0.38, 0.03], 0.60),
    part(Ellipsoid, [0.55, 0.42, -0.16], [0.20, 0.08, 0.20], 0.25),
    part(Ellipsoid, [0.55, -0.42, -0.16], [0.20, 0.08, 0.20], 0.25),
    part(Ellipsoid, [-0.55, 0.42, -0.16], [0.20, 0.08, 0.20], 0.25),
    part(Ellipsoid, [-0.55, -0.42, -0.16], [0.20, 0.08, 0.20], 0.25),
    part(Cuboid, [-0.98, 0.0, 0.02], [0.04, 0.40, 0.06], 0.95),
];

/// Azimuth from the camera, height and brightness of each light.
const LIGHTS: [[f64; 3]; LIGHTINGS] = [
    [0.0, 60.0, 0.75],
    [-70.0, 35.0, 0.80],
    [70.0, 35.0, 0.80],
    [-35.0, 20.0, 0.95],
    [35.0, 20.0, 0.60],
    [180.0, 70.0, 0.70],
];

const AMBIENT: f64 = 0.25;

/// All views of an object, each of [`SIDE`] x [`SIDE`] pixels from 0 to 1. The seed varies the object's
/// proportions by up to 5 %, and is that of the noise of the camera, whose standard deviation is half a percent.
pub fn render(object: Object, seed: u64) -> (Vec<f32>, Vec<Pose>) {
    let mut rng = Rng::stream(seed, 3);
    let mut parts = match object {
        Object::Airplane => AIRPLANE,
        Object::Car => CAR,
    };
    for part in &mut parts {
        for half in &mut part.half {
            *half *= 0.95 + 0.1 * rng.uniform();
        }
    }
    let mut poses = Vec::new();
    for elevation in 0..ELEVATIONS {
        for azimuth in 0..AZIMUTHS {
            poses.extend((0..LIGHTINGS).map(|lighting| Pose { azimuth, elevation, lighting }));
        }
    }
    let mut pixels = vec![0.0; poses.len() * SIDE * SIDE];
    let views = pixels.par_chunks_mut(SIDE * SIDE).zip(&poses).enumerate();
    views.for_each(|(i, (view, pose))| {
        let mut noise = Rng::stream(seed, 1000 + i as u64);
        draw(&parts, *pose, &mut noise, view);
    });
    (pixels, poses)
}

fn draw(parts: &[Part], pose: Pose, noise: &mut Rng, view: &mut [f32]) {
    let azimuth = f64::from(pose.azimuth as u32) * std::f64::consts::TAU / AZIMUTHS as f64;
    let elevation = (30.0 + 5.0 * pose.elevation as f64).to_radians();
    // From the object to the camera, and the camera's right and up.
    let to_camera = direction(azimuth, elevation);
    let right = [-azimuth.sin(), azimuth.cos(), 0.0];
    let up = cross(to_camera, right);
    let [around, height, brightness] = LIGHTS[pose.lighting];
    let light = direction(azimuth + around.to_radians(), height.to_radians());
    for (at, pixel) in view.iter_mut().enumerate() {
        let (row, column) = (at / SIDE, at % SIDE);
        let mut sum = 0.0;
        for ray in 0..RAYS * RAYS {
            let along = |cell: usize, ray: usize| {
                let cell = cell as f64 + (ray as f64 + 0.5) / RAYS as f64;
                REACH * (2.0 * cell / SIDE as f64 - 1.0)
            };
            let (x, y) = (along(column, ray % RAYS), -along(row, ray / RAYS));
            let from = [0, 1, 2].map(|k| 4.0 * to_camera[k] + x * right[k] + y * up[k]);
            let hits = parts.iter().filter_map(|part| part.hit(from, to_camera.map(|k| -k)));
            let nearest = hits.min_by(|a, b| a.0.total_cmp(&b.0));
            sum += nearest.map_or(BACKGROUND, |(_, normal, albedo)| {
                albedo * (AMBIENT + brightness * dot(normal, light).max(0.0))
            });
        }
        // The sum of twelve uniform numbers is as good as normal.
        let normal = (0..12).map(|_| noise.uniform()).sum::<f64>() - 6.0;
        let brightness = sum / (RAYS * RAYS) as f64 + 0.005 * normal;
        *pixel = brightness.clamp(0.0, 1.0) as f32;
    }
}

impl Part {
    /// The distance along a ray at which it enters the part, the normal there, and the part's albedo.
    fn hit(&self, from: [f64; 3], along: [f64; 3]) -> Option<(f64, [f64; 3], f64)> {
        // In coordinates in which the ellipsoid is the unit ball, and the box the unit cube.
        let from = [0, 1, 2].map(|k| (from[k] - self.middle[k]) / self.half[k]);
        let along = [0, 1, 2].map(|k| along[k] / self.half[k]);
        let (t, normal) = match self.shape {
            Ellipsoid => {
                let (a, b, c) = (dot(along, along), dot(from, along), dot(from, from) - 1.0);
                let root = b * b - a * c;
                if root < 0.0 {
                    return None;
                }
                let t = (-b - root.sqrt()) / a;
                (t, [0, 1, 2].map(|k| from[k] + t * along[k]))
            }
            Cuboid => {
                let (mut enter, mut leave, mut side) = (f64::NEG_INFINITY, f64::INFINITY, 0);
                for k in 0..3 {
                    let (a, b) = ((-1.0 - from[k]) / along[k], (1.0 - from[k]) / along[k]);
                    if a.min(b) > enter {
                        (enter, side) = (a.min(b), k);
                    }
                    leave = leave.min(a.max(b));
                }
                if enter > leave {
                    return None;
                }
                let mut normal = [0.0; 3];
                normal[side] = -along[side].signum();
                (enter, normal)
            }
        };
        let normal = [0, 1, 2].map(|k| normal[k] / self.half[k]);
        let length = dot(normal, normal).sqrt();
        Some((t, normal.map(|n| n / length), self.albedo))
    }
}

fn direction(azimuth: f64, elevation: f64) -> [f64; 3] {
    let flat = elevation.cos();
    [flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
