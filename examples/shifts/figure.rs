//! The test images in the plane, twice: by neighbours alone in the colours of their shifts, and by prior knowledge in
//! the colours of their classes. Some are drawn as themselves, where they lie in their frame.

use plotters::prelude::*;

use crate::experiment::{Lle, Measures, SHIFTS, Trained};
use crate::shared::Failure;
use crate::shared::digits::Digits;
use crate::shared::figure::{Canvas, Figure, GREY, INK, UNIT, bold, png, svg, text};
use crate::shared::panel::{COLORS, Panel, Picture, Place};
use crate::shared::sprites::{Placed, Sprite};

/// The side of a digit, in points of the figure.
const DIGIT: f32 = 26.0;

/// The colour of each shift.
fn shift_legend() -> Vec<(String, RGBColor)> {
    let name = |by: isize| if by == 0 { "0".to_owned() } else { format!("{by:+}") };
    SHIFTS.iter().zip(COLORS).map(|(&by, color)| (name(by), color)).collect()
}

/// The figure as SVG and PNG.
pub fn draw(
    digits: &Digits,
    neighbours: &Trained,
    shifts: &Trained,
) -> Result<(String, Vec<u8>), Failure> {
    let figure = Planes { digits, neighbours, shifts };
    Ok((svg(&figure)?, png(&figure)?))
}

/// What LLE makes of some of the images, as SVG and PNG.
pub fn draw_lle(digits: &Digits, lle: &Lle) -> Result<(String, Vec<u8>), Failure> {
    let figure = LlePlane { digits, lle };
    Ok((svg(&figure)?, png(&figure)?))
}

struct LlePlane<'a> {
    digits: &'a Digits,
    lle: &'a Lle,
}

impl Figure for LlePlane<'_> {
    const SIZE: (i32, i32) = (680, 740);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<Vec<Placed>, Failure>
    where
        DB::ErrorType: 'static,
    {
        canvas.fill(&WHITE)?;
        let (lle, count) = (self.lle, SHIFTS.len());
        let color = |i: usize| COLORS[i % count];
        let picture = |i: usize| -> Picture {
            let image = self.digits.test.image(lle.images[i / count]);
            (Sprite::new(image, self.digits.side, color(i)), DIGIT)
        };
        let panel = Panel {
            heading: format!("LLE of {} of the digits, each in five places", lle.images.len()),
            about: format!(
                "Colour: shift. Neighbours in the plane tell it with an error of {:.1} %, chance 80 %.",
                100.0 * lle.shift_error
            ),
            points: &lle.points,
            colors: (0..lle.points.len()).map(color).collect(),
            legend: shift_legend(),
            picture: Some(&picture),
            radius: 1.8,
            same_scale: false,
        };
        panel.draw(canvas, Place { left: 28, top: 84, width: 624, height: 620 })
    }
}

struct Planes<'a> {
    digits: &'a Digits,
    neighbours: &'a Trained,
    shifts: &'a Trained,
}

impl Figure for Planes<'_> {
    const SIZE: (i32, i32) = (1280, 800);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<Vec<Placed>, Failure>
    where
        DB::ErrorType: 'static,
    {
        canvas.fill(&WHITE)?;
        let heading = format!(
            "{} test digits, each in five places, mapped to the plane by a net",
            self.digits.test.len()
        );
        canvas.draw_text(&heading, &bold(22, INK), (28 * UNIT, 16 * UNIT))?;
        let about = "Each digit is moved to the right by -6, -3, 0, 3 and 6 pixels. The net never saw these digits.";
        canvas.draw_text(about, &text(14, GREY), (28 * UNIT, 50 * UNIT))?;
        if self.digits.embedded {
            let credit = "Digits: MNIST, © Y. LeCun and C. Cortes, CC BY-SA 3.0";
            canvas.draw_text(credit, &text(11, GREY), (28 * UNIT, (Self::SIZE.1 - 22) * UNIT))?;
        }
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let of_shift = |i: usize| COLORS[i % SHIFTS.len()];
        let Measures { shift_error, .. } = self.neighbours.measures;
        let by_neighbours = self.panel(
            self.neighbours,
            &of_shift,
            "Similar: nearest neighbours in pixel space",
            format!(
                "Colour: shift. Neighbours in the plane tell it with an error of {}.",
                percent(shift_error)
            ),
            shift_legend(),
        );
        let classes = &self.digits.classes;
        let of_class = |i: usize| {
            let label = self.digits.test.labels[i / SHIFTS.len()];
            let class = classes.iter().position(|&class| i64::from(class) == label);
            COLORS[class.unwrap_or(0) % COLORS.len()]
        };
        let Measures { shift_error, digit_error, .. } = self.shifts.measures;
        let legend = classes.iter().zip(COLORS).map(|(class, color)| (class.to_string(), color));
        let by_shifts = self.panel(
            self.shifts,
            &of_class,
            "Similar: also a digit's own shifts, and those of its neighbours",
            format!(
                "Colour: class, error {}. Of the shift nothing is left: error {}, chance 80 %.",
                percent(digit_error),
                percent(shift_error)
            ),
            if classes.len() <= COLORS.len() { legend.collect() } else { Vec::new() },
        );
        let place = |left| Place { left, top: 136, width: 600, height: 630 };
        let mut placed = self.draw_panel(canvas, by_neighbours, &of_shift, place(28))?;
        placed.extend(self.draw_panel(canvas, by_shifts, &of_class, place(652))?);
        Ok(placed)
    }
}

impl Planes<'_> {
    fn panel<'a>(
        &self,
        trained: &'a Trained,
        color: &dyn Fn(usize) -> RGBColor,
        heading: &str,
        about: String,
        legend: Vec<(String, RGBColor)>,
    ) -> Panel<'a> {
        let points = &trained.test;
        Panel {
            heading: heading.to_owned(),
            about,
            points,
            colors: (0..points.len()).map(color).collect(),
            legend,
            picture: None,
            radius: 1.1,
            same_scale: true,
        }
    }

    fn draw_panel<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        panel: Panel,
        color: &dyn Fn(usize) -> RGBColor,
        place: Place,
    ) -> Result<Vec<Placed>, Failure>
    where
        DB::ErrorType: 'static,
    {
        let picture = |i: usize| -> Picture {
            let image = self.digits.test.image(i / SHIFTS.len());
            (Sprite::new(image, self.digits.side, color(i)), DIGIT)
        };
        Panel { picture: Some(&picture), ..panel }.draw(canvas, place)
    }
}
