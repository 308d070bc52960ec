//! A panel of a figure: points in the plane in colours, some of them as the images that they are.

use drlim::Rng;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Failure;
use super::figure::{Canvas, GREY, INK, PALE, UNIT, bold, text};
use super::sprites::{Placed, Sprite};

/// Told apart with any kind of colour vision: Okabe and Ito's, without their yellow and black,
/// which are lost on white and on text, and three more for many classes.
pub const COLORS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
    RGBColor(136, 34, 85),
    RGBColor(153, 153, 51),
    RGBColor(51, 34, 136),
];

/// Points of the figure between two images.
const GAP: f32 = 7.0;

/// Points of the figure between the frame of a panel and what is in it.
const INSIDE: f32 = 14.0;

/// Where a panel lies, in points of the figure: left, top, width, height. Its two lines of text stand above.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub left: i32,
    pub top: i32,
    pub width: i32,
    pub height: i32,
}

/// An image and its side in points of the figure.
pub type Picture = (Sprite, f32);

/// The points of a panel, and what is said of them.
pub struct Panel<'a> {
    pub heading: String,
    pub about: String,
    pub points: &'a [[f32; 2]],
    /// Of each point.
    pub colors: Vec<RGBColor>,
    /// What each colour stands for; nothing where a picture says it.
    pub legend: Vec<(String, RGBColor)>,
    /// Points that are drawn as images, where there is room.
    pub picture: Option<&'a dyn Fn(usize) -> Picture>,
    /// The radius of a point, in points of the figure.
    pub radius: f32,
    /// Whether both directions have the same scale: where distances mean something.
    pub same_scale: bool,
}

impl Panel<'_> {
    /// Draws the panel, and returns the images that lie on top.
    pub fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        place: Place,
    ) -> Result<Vec<Placed>, Failure>
    where
        DB::ErrorType: 'static,
    {
        let dots = |points: i32| points * UNIT;
        let (left, top) = (dots(place.left), dots(place.top));
        canvas.draw_text(&self.heading, &bold(16, INK), (left, top - dots(44)))?;
        canvas.draw_text(&self.about, &text(12, GREY), (left, top - dots(20)))?;
        self.draw_legend(canvas, place)?;
        let corner = (left + dots(place.width), top + dots(place.height));
        canvas.draw(&Rectangle::new([(left, top), corner], PALE.stroke_width(UNIT as u32)))?;
        let places = self.places(place);
        // In a random order, so that no colour lies above another one.
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        Rng::new(1).shuffle(&mut order);
        let radius = (self.radius * UNIT as f32).round() as i32;
        for &i in &order {
            let dot = Circle::new(places[i], radius, self.colors[i].mix(0.55).filled());
            canvas.draw(&dot)?;
        }
        Ok(self.pictures(&order, &places, [left, top, corner.0, corner.1]))
    }

    /// The dot of the canvas at which each point lies.
    fn places(&self, place: Place) -> Vec<(i32, i32)> {
        let room = [place.width, place.height].map(|side| side as f32 - 2.0 * INSIDE);
        let ends = [0, 1].map(|axis| {
            let along = self.points.iter().map(|point| point[axis]);
            (along.clone().fold(f32::INFINITY, f32::min), along.fold(f32::NEG_INFINITY, f32::max))
        });
        let mut scales =
            [0, 1].map(|axis| room[axis] / (ends[axis].1 - ends[axis].0).max(f32::MIN_POSITIVE));
        if self.same_scale {
            scales = [scales[0].min(scales[1]); 2];
        }
        let at = |point: &[f32; 2], axis: usize| {
            scales[axis] * (point[axis] - 0.5 * (ends[axis].0 + ends[axis].1))
        };
        let unit = UNIT as f32;
        let middle = [
            (place.left as f32 + 0.5 * place.width as f32) * unit,
            (place.top as f32 + 0.5 * place.height as f32) * unit,
        ];
        let place = |point: &[f32; 2]| {
            let x = middle[0] + unit * at(point, 0);
            let y = middle[1] - unit * at(point, 1);
            (x.round() as i32, y.round() as i32)
        };
        self.points.iter().map(place).collect()
    }

    /// As many images as there is room for, none touching another.
    fn pictures(&self, order: &[usize], places: &[(i32, i32)], inside: [i32; 4]) -> Vec<Placed> {
        let Some(picture) = self.picture else { return Vec::new() };
        let gap = (GAP * UNIT as f32) as i32;
        let mut taken: Vec<[i32; 4]> = Vec::new();
        let mut placed = Vec::new();
        for &i in order {
            let (sprite, side) = picture(i);
            let scale = side * UNIT as f32 / sprite.width.max(sprite.height) as f32;
            let size = [sprite.width, sprite.height].map(|n| (n as f32 * scale) as i32);
            let (left, top) = (places[i].0 - size[0] / 2, places[i].1 - size[1] / 2);
            let frame = [left, top, left + size[0], top + size[1]];
            let touches = |other: &[i32; 4]| {
                (0..2).all(|axis| {
                    frame[axis] < other[axis + 2] + gap && other[axis] < frame[axis + 2] + gap
                })
            };
            let fits = (0..2)
                .all(|axis| inside[axis] <= frame[axis] && frame[axis + 2] <= inside[axis + 2]);
            if fits && !taken.iter().any(touches) {
                taken.push(frame);
                placed.push(Placed { sprite, corner: (left, top), scale });
            }
        }
        placed
    }

    /// Colours and what they stand for, at the upper right.
    fn draw_legend<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        place: Place,
    ) -> Result<(), Failure>
    where
        DB::ErrorType: 'static,
    {
        let mut x = (place.left + place.width) * UNIT;
        let y = (place.top - 12) * UNIT;
        for (name, color) in self.legend.iter().rev() {
            let style = text(12, INK).pos(Pos::new(HPos::Right, VPos::Center));
            canvas.draw_text(name, &style, (x, y))?;
            let (width, _) = canvas.estimate_text_size(name, &style)?;
            x -= width as i32 + 8 * UNIT;
            canvas.draw(&Circle::new((x, y), 4 * UNIT, color.filled()))?;
            x -= 12 * UNIT;
        }
        Ok(())
    }
}

/// A colour of a circle of hues, from 0 to 1 around: equal steps look about equally far apart.
pub fn hue(around: f64) -> RGBColor {
    let channel = |shift: f64| {
        let wave = (std::f64::consts::TAU * (around - shift)).cos();
        (255.0 * (0.48 + 0.40 * wave)).round() as u8
    };
    RGBColor(channel(0.0), channel(1.0 / 3.0), channel(2.0 / 3.0))
}

/// A colour from dark blue through green to yellow, from 0 to 1.
pub fn ramp(at: f64) -> RGBColor {
    const ENDS: [[f64; 3]; 4] =
        [[68.0, 1.0, 84.0], [49.0, 104.0, 142.0], [53.0, 183.0, 121.0], [235.0, 205.0, 40.0]];
    let along = at.clamp(0.0, 1.0) * 3.0;
    let from = (along.floor() as usize).min(2);
    let part = along - from as f64;
    let [r, g, b] = [0, 1, 2]
        .map(|c| (ENDS[from][c] + part * (ENDS[from + 1][c] - ENDS[from][c])).round() as u8);
    RGBColor(r, g, b)
}
