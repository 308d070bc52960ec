//! The test images in the plane: each a point in the colour of its class, some as themselves.

use drlim::Rng;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::args::{Loss, Settings, Similarity, Step};
use crate::report::Report;
use crate::shared::Failure;
use crate::shared::digits::{Digits, FRAME, Split};
use crate::shared::figure::{Canvas, Figure, GREY, INK, PALE, UNIT, bold, png, svg, text};
use crate::shared::panel::COLORS;
use crate::shared::sprites::{Placed, Sprite};

/// Points of the figure that a full frame of a digit would take.
const FRAME_POINTS: f32 = 38.0;

/// Points of the figure between two digits.
const GAP: i32 = 9;

/// What stands above the figure and below it.
pub struct Title {
    heading: String,
    lines: [String; 2],
    classes: Vec<u8>,
    credit: &'static str,
}

impl Title {
    /// Says what was learnt, from what, and how well.
    pub fn new(settings: &Settings, digits: &Digits, report: &Report) -> Self {
        let similar = match settings.similarity {
            Similarity::Neighbours(k) => {
                format!("Similar: {k} nearest neighbours in pixel space, no labels")
            }
            Similarity::Labels => "Similar: of the same class".to_owned(),
        };
        let margin = settings.margin;
        let loss = match (settings.loss, settings.step) {
            (Loss::Supcon, _) => "SupCon of the images of a batch, on the circle".to_owned(),
            (_, Step::Listed) => format!("Contrastive loss, margin {margin}"),
            (_, Step::Batch(_)) => {
                format!("Contrastive loss of all pairs of a batch, margin {margin}")
            }
        };
        let count = digits.test.len();
        let epochs = crate::report::epochs(settings.epochs);
        Title {
            heading: format!("{count} test digits, mapped to the plane by a net"),
            lines: [
                format!("{similar}. {loss}, {epochs}."),
                format!(
                    "5-NN error {:.1} % in this plane, {:.1} % after PCA, {:.1} % on raw pixels.",
                    100.0 * report.knn_error,
                    100.0 * report.baselines.pca,
                    100.0 * report.baselines.raw
                ),
            ],
            classes: digits.classes.clone(),
            credit: if digits.embedded {
                "Digits: MNIST, © Y. LeCun and C. Cortes, CC BY-SA 3.0"
            } else {
                ""
            },
        }
    }
}

/// The figure as SVG and PNG.
pub fn draw(
    title: &Title,
    digits: &Split,
    points: &[[f32; 2]],
) -> Result<(String, Vec<u8>), Failure> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    // So that no class lies above another one.
    Rng::new(1).shuffle(&mut order);
    let figure = Embedding { title, digits, points, order };
    Ok((svg(&figure)?, png(&figure)?))
}

struct Embedding<'a> {
    title: &'a Title,
    digits: &'a Split,
    points: &'a [[f32; 2]],
    /// In which the points are drawn.
    order: Vec<usize>,
}

impl Figure for Embedding<'_> {
    const SIZE: (i32, i32) = (960, 900);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<Vec<Placed>, Failure>
    where
        DB::ErrorType: 'static,
    {
        canvas.fill(&WHITE)?;
        self.draw_title(canvas)?;
        let area = canvas.margin(108 * UNIT, 26 * UNIT, 8 * UNIT, 24 * UNIT);
        let (x_labels, y_labels) = (48 * UNIT, 60 * UNIT);
        let (width, height) = area.dim_in_pixel();
        let [x, y] = self.ranges([width - y_labels as u32, height - x_labels as u32]);
        // Enough to tell a tenth of the axis from the next one.
        let decimals = (1.0 - (x.end - x.start).log10()).ceil().max(1.0) as usize;
        let mut chart = ChartBuilder::on(&area)
            .x_label_area_size(x_labels)
            .y_label_area_size(y_labels)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(PALE.stroke_width(UNIT as u32))
            .axis_style(GREY.stroke_width(UNIT as u32))
            .set_all_tick_mark_size(4 * UNIT)
            .label_style(text(13, GREY))
            .axis_desc_style(text(14, INK))
            .x_labels(9)
            .y_labels(9)
            .x_label_formatter(&|z| format!("{z:.decimals$}"))
            .y_label_formatter(&|z| format!("{z:.decimals$}"))
            .x_desc("first output, z0")
            .y_desc("second output, z1")
            .draw()?;
        let radius = if self.points.len() > 4000 { 6 } else { 10 } * UNIT / 4;
        let dots = self.order.iter().map(|&i| {
            let [x, y] = self.points[i];
            Circle::new((x, y), radius, self.color(i).mix(0.5).filled())
        });
        chart.draw_series(dots)?;
        let plane = chart.plotting_area();
        let (columns, rows) = plane.get_pixel_range();
        let places = self.points.iter().map(|&[x, y]| plane.map_coordinate(&(x, y))).collect();
        Ok(self.some_digits(places, [columns, rows]))
    }
}

impl Embedding<'_> {
    fn color(&self, i: usize) -> RGBColor {
        let label = self.digits.labels[i];
        let class = self.title.classes.iter().position(|&class| i64::from(class) == label);
        COLORS[class.unwrap_or(0) % COLORS.len()]
    }

    fn draw_title<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Failure>
    where
        DB::ErrorType: 'static,
    {
        let left = 68 * UNIT;
        let title = self.title;
        canvas.draw_text(&title.heading, &bold(23, INK), (left, 16 * UNIT))?;
        for (line, y) in title.lines.iter().zip([52, 74]) {
            canvas.draw_text(line, &text(15, GREY), (left, y * UNIT))?;
        }
        let right = (Self::SIZE.0 - 24) * UNIT;
        self.draw_legend(canvas, right, 82 * UNIT)?;
        let style = text(11, GREY).pos(Pos::new(HPos::Right, VPos::Bottom));
        canvas.draw_text(title.credit, &style, (right, (Self::SIZE.1 - 8) * UNIT))?;
        Ok(())
    }

    /// Which colour is which class, ending at `x`; nothing where there are more classes than colours.
    fn draw_legend<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        mut x: i32,
        y: i32,
    ) -> Result<(), Failure>
    where
        DB::ErrorType: 'static,
    {
        if self.title.classes.len() > COLORS.len() {
            return Ok(());
        }
        for (class, color) in self.title.classes.iter().zip(COLORS).rev() {
            let (name, style) = (class.to_string(), bold(17, color));
            let style = style.pos(Pos::new(HPos::Right, VPos::Center));
            canvas.draw_text(&name, &style, (x, y))?;
            x -= (8 + 12 * name.len() as i32) * UNIT;
            // Digits stand a little above the middle of their line.
            canvas.draw(&Circle::new((x, y - 2 * UNIT), 5 * UNIT, color.filled()))?;
            x -= 18 * UNIT;
        }
        Ok(())
    }

    /// Axes that hold all points with some room around, with the same scale in both directions: the
    /// net was taught distances.
    fn ranges(&self, dots: [u32; 2]) -> [std::ops::Range<f32>; 2] {
        let ends = [0, 1].map(|axis| {
            let along = self.points.iter().map(|point| point[axis]);
            (along.clone().fold(f32::INFINITY, f32::min), along.fold(f32::NEG_INFINITY, f32::max))
        });
        let room = 1.0 + 2.0 * FRAME_POINTS * UNIT as f32 / dots[0].min(dots[1]) as f32;
        let scales = [0, 1].map(|axis| (ends[axis].1 - ends[axis].0) * room / dots[axis] as f32);
        let scale = scales[0].max(scales[1]).max(f32::MIN_POSITIVE.sqrt());
        [0, 1].map(|axis| {
            let middle = 0.5 * (ends[axis].0 + ends[axis].1);
            let half = 0.5 * scale * dots[axis] as f32;
            middle - half..middle + half
        })
    }

    /// As many digits as there is room for, none touching another: all over the plane, as far as
    /// the points reach.
    fn some_digits(
        &self,
        places: Vec<(i32, i32)>,
        inside: [std::ops::Range<i32>; 2],
    ) -> Vec<Placed> {
        let scale = FRAME_POINTS * UNIT as f32 / FRAME as f32 * 28.0 / self.digits.side as f32;
        let mut taken: Vec<[i32; 4]> = Vec::new();
        let mut placed = Vec::new();
        for &i in &self.order {
            let sprite = Sprite::new(self.digits.image(i), self.digits.side, self.color(i));
            let size = [sprite.width, sprite.height].map(|n| (n as f32 * scale) as i32);
            let (x, y) = places[i];
            let (left, top) = (x - size[0] / 2, y - size[1] / 2);
            let frame = [left, top, left + size[0], top + size[1]];
            let gap = GAP * UNIT;
            let touches = |other: &[i32; 4]| {
                (0..2).all(|axis| {
                    frame[axis] < other[axis + 2] + gap && other[axis] < frame[axis + 2] + gap
                })
            };
            let fits = (0..2).all(|axis| {
                inside[axis].start <= frame[axis] && frame[axis + 2] <= inside[axis].end
            });
            if fits && !taken.iter().any(touches) {
                taken.push(frame);
                placed.push(Placed { sprite, corner: (left, top), scale });
            }
        }
        placed
    }
}
