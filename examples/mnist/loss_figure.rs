//! The loss over the epochs.

use plotters::prelude::*;

use crate::experiment::Trained;
use crate::shared::Failure;
use crate::shared::figure::{Canvas, Figure, GREY, INK, PALE, UNIT, bold, svg, text};
use crate::shared::sprites::Placed;

const COLOR: RGBColor = RGBColor(0, 114, 178);

/// Points of the finer curve: each the mean of as many steps.
const FINE: usize = 200;

/// The figure as SVG.
pub fn draw(trained: &Trained) -> Result<String, Failure> {
    let steps = &trained.step_losses;
    let each = steps.len().div_ceil(FINE);
    let per_epoch = steps.len() as f64 / trained.losses.len() as f64;
    let fine = steps.chunks(each).enumerate().map(|(i, chunk)| {
        let middle = (i * each) as f64 + 0.5 * chunk.len() as f64;
        (middle / per_epoch, chunk.iter().sum::<f64>() / chunk.len() as f64)
    });
    // The mean of an epoch stands in its middle.
    let epochs = (0..).zip(&trained.losses).map(|(epoch, &loss)| (f64::from(epoch) + 0.5, loss));
    svg(&Loss { fine: fine.collect(), epochs: epochs.collect() })
}

struct Loss {
    /// Epochs gone by and the mean value of a pair around then.
    fine: Vec<(f64, f64)>,
    /// The same over each epoch, in its middle.
    epochs: Vec<(f64, f64)>,
}

impl Figure for Loss {
    const SIZE: (i32, i32) = (760, 440);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<Vec<Placed>, Failure>
    where
        DB::ErrorType: 'static,
    {
        canvas.fill(&WHITE)?;
        canvas.draw_text("Contrastive loss in training", &bold(18, INK), (76 * UNIT, 14 * UNIT))?;
        let about =
            "Mean value of a pair, similar ones counting half: of each epoch, and as it went along";
        canvas.draw_text(about, &text(13, GREY), (76 * UNIT, 40 * UNIT))?;
        let area = canvas.margin(68 * UNIT, 8 * UNIT, 4 * UNIT, 24 * UNIT);
        let highest = self.fine.iter().chain(&self.epochs).map(|point| point.1).fold(0.0, f64::max);
        let top = if highest > 0.0 { 1.05 * highest } else { 1.0 };
        let mut chart = ChartBuilder::on(&area)
            .x_label_area_size(46 * UNIT)
            .y_label_area_size(72 * UNIT)
            .build_cartesian_2d(0.0..self.epochs.len() as f64, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .bold_line_style(PALE.stroke_width(UNIT as u32))
            .axis_style(GREY.stroke_width(UNIT as u32))
            .set_all_tick_mark_size(4 * UNIT)
            .label_style(text(13, GREY))
            .axis_desc_style(text(14, INK))
            .x_labels(self.epochs.len().min(16) + 1)
            .y_labels(6)
            .x_label_formatter(&|epoch| format!("{epoch}"))
            .y_label_formatter(&|loss| format!("{loss:.3}"))
            .x_desc("epochs")
            .y_desc("loss")
            .draw()?;
        let thin = COLOR.mix(0.35).stroke_width(UNIT as u32);
        chart.draw_series(LineSeries::new(self.fine.iter().copied(), thin))?;
        let thick = COLOR.stroke_width(2 * UNIT as u32);
        chart.draw_series(LineSeries::new(self.epochs.iter().copied(), thick))?;
        let dot = |&point: &(f64, f64)| Circle::new(point, 4 * UNIT, COLOR.filled());
        chart.draw_series(self.epochs.iter().map(dot))?;
        Ok(Vec::new())
    }
}
