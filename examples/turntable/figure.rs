//! The views in space, from two sides: along the axis of the cylinder, in the colours of the azimuth, and from beside
//! it, in the colours of the elevation. Below, the same by LLE and by PCA.

use plotters::prelude::*;

use crate::experiment::Shares;
use crate::shared::Failure;
use crate::shared::figure::{Canvas, Figure, GREY, INK, UNIT, bold, png, svg, text};
use crate::shared::panel::{Panel, Picture, Place, hue, ramp};
use crate::shared::sprites::{Placed, Sprite};
use crate::views::{AZIMUTHS, ELEVATIONS, SIDE, Views};

/// The side of a view, in points of the figure.
const VIEW: f32 = 34.0;

/// An embedding in space, and what its neighbours have in common.
pub struct Embedding<'a> {
    pub name: &'a str,
    pub points: &'a [[f32; 3]],
    pub shares: Shares,
}

/// The figure as SVG and PNG.
pub fn draw(views: &Views, embeddings: &[Embedding]) -> Result<(String, Vec<u8>), Failure> {
    let figure = Cylinder { views, embeddings };
    Ok((svg(&figure)?, png(&figure)?))
}

struct Cylinder<'a> {
    views: &'a Views,
    /// The mapping, LLE and PCA.
    embeddings: &'a [Embedding<'a>],
}

impl Figure for Cylinder<'_> {
    const SIZE: (i32, i32) = (1280, 1330);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<Vec<Placed>, Failure>
    where
        DB::ErrorType: 'static,
    {
        canvas.fill(&WHITE)?;
        let views = self.views;
        let heading = format!("{} views of {}, mapped to space by a net", views.len(), views.what);
        canvas.draw_text(&heading, &bold(22, INK), (28 * UNIT, 16 * UNIT))?;
        let about = format!(
            "{AZIMUTHS} azimuths, {ELEVATIONS} elevations, 6 lights. Similar: at most one step apart, in any light. \
             The net saw {} of the views, whose frames are dark; those of the others are orange.",
            views.train
        );
        canvas.draw_text(&about, &text(14, GREY), (28 * UNIT, 50 * UNIT))?;
        if views.object.is_some() {
            let synthetic =
                "The object is synthetic: a few ellipsoids and boxes, rendered by this program.";
            canvas.draw_text(
                synthetic,
                &text(11, GREY),
                (28 * UNIT, (Self::SIZE.1 - 22) * UNIT),
            )?;
        }
        let mut placed = Vec::new();
        for (embedding, row) in self.embeddings.iter().zip([0, 1, 1]) {
            let [along, beside] = self.two_sides(embedding.points);
            let Shares { both, lighting, .. } = embedding.shares;
            let told = format!(
                "Nearest training view: within a step of the pose {:.0} %, same light {:.0} % (chance 17 %)",
                100.0 * both,
                100.0 * lighting
            );
            match row {
                0 => {
                    let place = |left| Place { left, top: 136, width: 600, height: 600 };
                    let name = format!("{}, seen along the axis; colour: azimuth", embedding.name);
                    let panel = self.panel(name, told, &along, true);
                    placed.extend(self.draw_panel(canvas, panel, place(28))?);
                    let name = format!("{}, seen from beside; colour: elevation", embedding.name);
                    let about = "Yellow from above (70 degrees), violet from the side (30 degrees)";
                    let panel = self.panel(name, about.to_owned(), &beside, false);
                    placed.extend(self.draw_panel(canvas, panel, place(652))?);
                }
                _ => {
                    let left = if embedding.name == "LLE" { 28 } else { 652 };
                    let place = |left| Place { left, top: 822, width: 290, height: 460 };
                    let name = format!("{}: azimuth", embedding.name);
                    let [both, lighting] = [both, lighting].map(|share| 100.0 * share);
                    let told = format!("Pose {both:.0} %, same light {lighting:.0} %");
                    let panel = self.panel(name, told, &along, true);
                    placed.extend(panel.draw(canvas, place(left))?);
                    let name = format!("{}: elevation", embedding.name);
                    let panel = self.panel(name, "From beside".to_owned(), &beside, false);
                    placed.extend(panel.draw(canvas, place(left + 310))?);
                }
            }
        }
        Ok(placed)
    }
}

impl Cylinder<'_> {
    /// Points seen along the direction in which the elevation grows, and from beside it.
    ///
    /// That direction is the gradient of the elevation's best linear function of the points.
    fn two_sides(&self, points: &[[f32; 3]]) -> [Vec<[f32; 2]>; 2] {
        let n = points.len() as f64;
        let mean = |of: &dyn Fn(usize) -> f64| (0..points.len()).map(of).sum::<f64>() / n;
        let center = [0, 1, 2].map(|k| mean(&|i| f64::from(points[i][k])));
        let at = |i: usize, k: usize| f64::from(points[i][k]) - center[k];
        let height = |i: usize| self.views.poses[i].elevation as f64;
        let middle = mean(&height);
        let covariance = nalgebra::Matrix3::from_fn(|a, b| mean(&|i| at(i, a) * at(i, b)));
        let with_height =
            nalgebra::Vector3::from_fn(|a, _| mean(&|i| at(i, a) * (height(i) - middle)));
        let gradient =
            covariance.try_inverse().map_or(with_height, |inverse| inverse * with_height);
        let axis = gradient.try_normalize(0.0).unwrap_or(nalgebra::Vector3::z());
        // Two directions across the axis.
        let other =
            if axis.x.abs() < 0.7 { nalgebra::Vector3::x() } else { nalgebra::Vector3::y() };
        let across = axis.cross(&other).normalize();
        let second = axis.cross(&across);
        let point = |i: usize| nalgebra::Vector3::new(at(i, 0), at(i, 1), at(i, 2));
        let seen = |right: nalgebra::Vector3<f64>, up: nalgebra::Vector3<f64>| {
            let view = |i: usize| [point(i).dot(&right) as f32, point(i).dot(&up) as f32];
            (0..points.len()).map(view).collect::<Vec<_>>()
        };
        [seen(across, second), seen(across, axis)]
    }

    fn color(&self, i: usize, by_azimuth: bool) -> RGBColor {
        let pose = &self.views.poses[i];
        match by_azimuth {
            true => hue(pose.azimuth as f64 / AZIMUTHS as f64),
            false => ramp(pose.elevation as f64 / (ELEVATIONS - 1) as f64),
        }
    }

    fn panel<'a>(
        &self,
        heading: String,
        about: String,
        points: &'a [[f32; 2]],
        by_azimuth: bool,
    ) -> Panel<'a> {
        Panel {
            heading,
            about,
            points,
            colors: (0..points.len()).map(|i| self.color(i, by_azimuth)).collect(),
            legend: Vec::new(),
            picture: None,
            radius: 2.4,
            same_scale: true,
        }
    }

    fn draw_panel<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        panel: Panel,
        place: Place,
    ) -> Result<Vec<Placed>, Failure>
    where
        DB::ErrorType: 'static,
    {
        let picture = |i: usize| -> Picture {
            let color = if i < self.views.train { INK } else { RGBColor(213, 94, 0) };
            (Sprite::photo(self.views.view(i), SIDE, color), VIEW)
        };
        Panel { picture: Some(&picture), ..panel }.draw(canvas, place)
    }
}
