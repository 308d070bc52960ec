//! Transformations of images in a frame: exact shifts, and random shifts with a rotation.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::simd::real::Real;

/// How far an image is moved, in pixels; against the direction where negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// Rows.
    pub down: isize,
    /// Columns.
    pub right: isize,
}

/// A random shift and a random rotation around the middle of the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter {
    shift: usize,
    radians: f64,
}

impl Jitter {
    /// By up to `shift` pixels in each direction, a whole number of them, and by up to `degrees` either way, all
    /// equally probable.
    ///
    /// A sample of a turned image lies between pixels and is interpolated linearly; an image that is not turned is
    /// moved exactly. Refused where `degrees` is negative, infinite or NaN.
    pub fn new(shift: usize, degrees: f64) -> Result<Self> {
        if !(0.0..f64::INFINITY).contains(&degrees) {
            let expected = "finite and not negative";
            return Err(Error::Value { arg: "degrees", got: degrees, expected });
        }
        // Beyond any frame alike.
        Ok(Jitter { shift: shift.min(1 << 30), radians: degrees.to_radians() })
    }

    /// Writes a random version of an image of several planes.
    pub(super) fn write<T: Real>(
        &self,
        image: &[T],
        frame: [usize; 2],
        fill: T,
        rng: &mut Rng,
        to: &mut [T],
    ) {
        let mut along = || rng.below(2 * self.shift as u64 + 1) as isize - self.shift as isize;
        let by = Shift { down: along(), right: along() };
        let angle = self.radians * (2.0 * rng.uniform() - 1.0);
        if self.radians == 0.0 {
            return shift(image, frame, by, fill, to);
        }
        turn(image, frame, by, angle, fill, to);
    }
}

/// Refuses samples that are no whole number of planes of a frame.
pub(super) fn check_planes(cols: usize, [height, width]: [usize; 2]) -> Result<()> {
    let plane = height.checked_mul(width).ok_or(Error::Overflow { what: "a frame" })?;
    if plane == 0 || !cols.is_multiple_of(plane) {
        let like = "planes of the frame";
        let (call, arg) = ("samples", "originals");
        return Err(Error::Length { call, arg, got: cols, expected: plane, like });
    }
    Ok(())
}

/// Writes each plane of an image moved by whole pixels: to(y, x) = image(y - down, x - right), `fill` where that
/// lies outside.
pub(super) fn shift<T: Copy>(
    image: &[T],
    [height, width]: [usize; 2],
    by: Shift,
    fill: T,
    to: &mut [T],
) {
    to.fill(fill);
    // The part of the frame that the image covers after it has moved, from where it lies in the image.
    let covered = |len: usize, by: isize| {
        let far = by.unsigned_abs().min(len);
        let (from, at) = if by < 0 { (far, 0) } else { (0, far) };
        (from, at, len - far)
    };
    let (from_row, at_row, rows) = covered(height, by.down);
    let (from_col, at_col, cols) = covered(width, by.right);
    let plane = height * width;
    for (image, to) in image.chunks_exact(plane).zip(to.chunks_exact_mut(plane)) {
        for y in 0..rows {
            let from = (from_row + y) * width + from_col;
            let at = (at_row + y) * width + at_col;
            to[at..at + cols].copy_from_slice(&image[from..from + cols]);
        }
    }
}

/// Writes each plane of an image turned by an angle around its middle, then moved.
///
/// The pixel at p of the result is the image at m + R⁻¹ (p - m - by), m the middle, between pixels linearly.
fn turn<T: Real>(
    image: &[T],
    [height, width]: [usize; 2],
    by: Shift,
    angle: f64,
    fill: T,
    to: &mut [T],
) {
    let (sin, cos) = angle.sin_cos();
    let middle = [0.5 * (height as f64 - 1.0), 0.5 * (width as f64 - 1.0)];
    let plane = height * width;
    for (image, to) in image.chunks_exact(plane).zip(to.chunks_exact_mut(plane)) {
        let pixel = |y: f64, x: f64| {
            let inside = (0.0..height as f64).contains(&y) && (0.0..width as f64).contains(&x);
            if inside { image[y as usize * width + x as usize] } else { fill }.to_f64()
        };
        for (at, to) in to.iter_mut().enumerate() {
            let y = (at / width) as f64 - middle[0] - by.down as f64;
            let x = (at % width) as f64 - middle[1] - by.right as f64;
            let (y, x) = (middle[0] + cos * y - sin * x, middle[1] + sin * y + cos * x);
            let (top, left) = (y.floor(), x.floor());
            let (down, right) = (y - top, x - left);
            let above = (1.0 - right) * pixel(top, left) + right * pixel(top, left + 1.0);
            let below =
                (1.0 - right) * pixel(top + 1.0, left) + right * pixel(top + 1.0, left + 1.0);
            *to = T::from_f64((1.0 - down) * above + down * below);
        }
    }
}
