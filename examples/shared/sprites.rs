//! Small pictures that lie on a figure: digits in the colour of their class, with a pale rim that parts them from
//! what lies below, and grey photographs in a frame.

use std::fmt::Write;

use plotters::style::RGBColor;

use super::Failure;
use super::figure::encode;

/// Width of the rim, in pixels of the digit.
const RIM: usize = 2;

/// Pixels with colour and opacity.
pub struct Sprite {
    pub width: usize,
    pub height: usize,
    /// Red, green, blue and opacity of each, from 0 to 1; the colours multiplied by the opacity.
    pixels: Vec<[f32; 4]>,
}

/// A sprite in its place.
pub struct Placed {
    /// The picture.
    pub sprite: Sprite,
    /// The dot of the canvas at its upper left.
    pub corner: (i32, i32),
    /// Dots of the canvas in a pixel of the sprite.
    pub scale: f32,
}

impl Sprite {
    /// The part of a square image that holds ink, with a rim.
    pub fn new(image: &[f32], side: usize, color: RGBColor) -> Self {
        let ink = |x: usize, y: usize| image[y * side + x];
        let inked_row = |&y: &usize| (0..side).any(|x| ink(x, y) > 0.0);
        let inked_column = |&x: &usize| (0..side).any(|y| ink(x, y) > 0.0);
        let (left, right) = ends(side, inked_column);
        let (top, bottom) = ends(side, inked_row);
        let (width, height) = (right - left + 2 * RIM, bottom - top + 2 * RIM);
        // The image around the sprite's pixel (x, y); nothing outside of it.
        let at = |x: isize, y: isize| {
            let (x, y) = (x + left as isize - RIM as isize, y + top as isize - RIM as isize);
            let inside = |v: isize| (0..side as isize).contains(&v);
            if inside(x) && inside(y) { ink(x as usize, y as usize) } else { 0.0 }
        };
        let paint = [color.0, color.1, color.2].map(|c| f32::from(c) / 255.0);
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height as isize {
            for x in 0..width as isize {
                let opaque = at(x, y);
                let reach = RIM as isize;
                let around = (-reach..=reach).flat_map(|dy| {
                    (-reach..=reach).map(move |dx| (dx, dy, 1.4 / (1 + dx * dx + dy * dy) as f32))
                });
                let rim = around.map(|(dx, dy, w)| w * at(x + dx, y + dy)).sum::<f32>().min(0.94);
                let white = rim * (1.0 - opaque);
                let [r, g, b] = paint.map(|c| c * opaque + white);
                pixels.push([r, g, b, opaque + white]);
            }
        }
        Sprite { width, height, pixels }
    }

    /// A square grey image from 0 to 1, as it is, in a thin frame of a colour.
    pub fn photo(image: &[f32], side: usize, color: RGBColor) -> Self {
        let rim = (side / 24).max(1);
        let paint = [color.0, color.1, color.2].map(|c| f32::from(c) / 255.0);
        let at = |i: usize| {
            let (x, y) = (i % side, i / side);
            let inside = |v: usize| (rim..side - rim).contains(&v);
            let grey = image[i].clamp(0.0, 1.0);
            let [r, g, b] = if inside(x) && inside(y) { [grey; 3] } else { paint };
            [r, g, b, 1.0]
        };
        Sprite { width: side, height: side, pixels: (0..side * side).map(at).collect() }
    }

    /// Between the middles of pixels, linearly; transparent outside.
    fn at(&self, x: f32, y: f32) -> [f32; 4] {
        let (x0, y0) = (x.floor(), y.floor());
        let mut mean = [0.0; 4];
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let weight = (if dx == 1 { x - x0 } else { 1.0 - x + x0 })
                * (if dy == 1 { y - y0 } else { 1.0 - y + y0 });
            let (column, row) = (x0 as isize + dx, y0 as isize + dy);
            let inside = |v: isize, len: usize| (0..len as isize).contains(&v);
            if inside(column, self.width) && inside(row, self.height) {
                let pixel = self.pixels[row as usize * self.width + column as usize];
                mean.iter_mut().zip(pixel).for_each(|(m, p)| *m += weight * p);
            }
        }
        mean
    }

    /// The bytes of a PNG, whose colours are not multiplied by the opacity.
    fn png(&self) -> Result<Vec<u8>, Failure> {
        let bytes: Vec<u8> = self
            .pixels
            .iter()
            .flat_map(|&[r, g, b, a]| {
                let plain = |c: f32| if a > 0.0 { c / a } else { 0.0 };
                [plain(r), plain(g), plain(b), a].map(|v| (255.0 * v).round() as u8)
            })
            .collect();
        encode(&bytes, self.width as u32, self.height as u32, png::ColorType::Rgba)
    }
}

/// The first index that qualifies and the one behind the last; everything where none does.
fn ends(len: usize, qualifies: impl Fn(&usize) -> bool) -> (usize, usize) {
    let first = (0..len).find(&qualifies).unwrap_or(0);
    let last = (0..len).rev().find(&qualifies).unwrap_or(len - 1);
    (first, last + 1)
}

/// The sprites as elements of an SVG.
pub fn svg(placed: &[Placed]) -> Result<String, Failure> {
    let mut text = String::new();
    for Placed { sprite, corner: (x, y), scale } in placed {
        let (width, height) = (sprite.width as f32 * scale, sprite.height as f32 * scale);
        let data = base64(&sprite.png()?);
        writeln!(
            text,
            "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
             href=\"data:image/png;base64,{data}\"/>"
        )?;
    }
    Ok(text)
}

/// Lays the sprites over pixels of three channels.
pub fn blend(placed: &[Placed], canvas: &mut [u8], canvas_width: usize) {
    for Placed { sprite, corner: (left, top), scale } in placed {
        let (width, height) = (sprite.width as f32 * scale, sprite.height as f32 * scale);
        for y in 0..height.ceil() as i32 {
            for x in 0..width.ceil() as i32 {
                let middle = |dot: i32| (dot as f32 + 0.5) / scale - 0.5;
                let [r, g, b, a] = sprite.at(middle(x), middle(y));
                let (column, row) = ((left + x) as usize, (top + y) as usize);
                if column >= canvas_width {
                    continue;
                }
                let at = 3 * (row * canvas_width + column);
                if let Some(dot) = canvas.get_mut(at..at + 3) {
                    for (below, above) in dot.iter_mut().zip([r, g, b]) {
                        *below = (255.0 * above + f32::from(*below) * (1.0 - a)).round() as u8;
                    }
                }
            }
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| chunk.get(i).map_or(0, |&byte| u32::from(byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
