//! A figure, drawn twice: as SVG, and as pixels for PNG.
//!
//! Both canvases are [`UNIT`] times finer than the figure is shown, since plotters rounds every
//! place to whole dots. An SVG is scaled down by its reader, pixels are averaged here.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, TextStyle, register_font};

use super::Failure;
use super::sprites::{self, Placed};

/// Dots of the canvas in a point of the figure, in each direction.
pub const UNIT: i32 = 4;

/// Dots of the canvas that become one pixel of a PNG, in each direction.
const SHRINK: usize = 2;

/// The canvas of a backend.
pub type Canvas<DB> = DrawingArea<DB, Shift>;

/// Of text.
pub const INK: RGBColor = RGBColor(38, 42, 50);
/// Of what is said in passing.
pub const GREY: RGBColor = RGBColor(108, 114, 124);
/// Of the lines of a grid.
pub const PALE: RGBColor = RGBColor(230, 232, 236);

const FAMILY: &str = "sans-serif";

/// Something that can be drawn on any canvas.
pub trait Figure {
    /// Width and height in points.
    const SIZE: (i32, i32);

    /// Draws all but the images that lie on top, and returns these.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<Vec<Placed>, Failure>
    where
        DB::ErrorType: 'static;
}

/// The figure as text of an SVG.
pub fn svg<F: Figure>(figure: &F) -> Result<String, Failure> {
    register_fonts()?;
    let (width, height) = dots::<F>();
    let mut text = String::new();
    let placed = {
        let canvas = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        let placed = figure.draw(&canvas)?;
        canvas.present()?;
        placed
    };
    let fine = format!("width=\"{width}\" height=\"{height}\"");
    let shown = format!("width=\"{}\" height=\"{}\"", F::SIZE.0, F::SIZE.1);
    let mut text = text.replacen(&fine, &shown, 1);
    let end = text.rfind("</svg>").ok_or("the SVG has no end")?;
    text.insert_str(end, &sprites::svg(&placed)?);
    Ok(text)
}

/// The figure as bytes of a PNG, with two pixels a point.
pub fn png<F: Figure>(figure: &F) -> Result<Vec<u8>, Failure> {
    register_fonts()?;
    let (width, height) = dots::<F>();
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    let placed = {
        let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        let canvas = backend.into_drawing_area();
        let placed = figure.draw(&canvas)?;
        canvas.present()?;
        placed
    };
    sprites::blend(&placed, &mut pixels, width as usize);
    let small = shrink(&pixels, width as usize);
    encode(&small, width / SHRINK as u32, height / SHRINK as u32, png::ColorType::Rgb)
}

/// The bytes of a PNG with 8 bits a channel.
pub fn encode(
    pixels: &[u8],
    width: u32,
    height: u32,
    color: png::ColorType,
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(bytes)
}

/// Text of a size in points.
pub fn text(size: i32, color: RGBColor) -> TextStyle<'static> {
    styled(size, color, FontStyle::Normal)
}

/// Bold text of a size in points.
pub fn bold(size: i32, color: RGBColor) -> TextStyle<'static> {
    styled(size, color, FontStyle::Bold)
}

/// In one go: a font whose style is changed later is measured and drawn as before.
fn styled(size: i32, color: RGBColor, style: FontStyle) -> TextStyle<'static> {
    FontDesc::new(FAMILY.into(), f64::from(size * UNIT), style).color(&color)
}

/// Makes the font known by which text is measured, and drawn as pixels.
fn register_fonts() -> Result<(), Failure> {
    let regular = register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular());
    let bold = register_font(FAMILY, FontStyle::Bold, dejavu::sans::bold());
    regular.and(bold).map_err(|_| "the font cannot be read".into())
}

fn dots<F: Figure>() -> (u32, u32) {
    ((F::SIZE.0 * UNIT) as u32, (F::SIZE.1 * UNIT) as u32)
}

/// Means of squares of dots.
fn shrink(pixels: &[u8], width: usize) -> Vec<u8> {
    let (columns, rows) = (width / SHRINK, pixels.len() / 3 / width / SHRINK);
    let mut small = Vec::with_capacity(3 * columns * rows);
    for y in 0..rows {
        for x in 0..columns {
            for channel in 0..3 {
                let dots = (0..SHRINK * SHRINK).map(|dot| {
                    let (dy, dx) = (dot / SHRINK, dot % SHRINK);
                    let at = (y * SHRINK + dy) * width + x * SHRINK + dx;
                    u32::from(pixels[3 * at + channel])
                });
                small.push((dots.sum::<u32>() / (SHRINK * SHRINK) as u32) as u8);
            }
        }
    }
    small
}
