//! The numbers of a run: for people, and for programs.

use std::fmt::Write;

use drlim::Cx;
use serde_json::{Value, json};

use crate::args::Args;
use crate::experiment::{Shares, Trained};
use crate::figure::Embedding;
use crate::views::Views;

/// Everything that `report.json` holds.
pub struct Report<'a> {
    pub cx: &'a Cx,
    pub args: &'a Args,
    pub views: &'a Views,
    pub trained: &'a Trained,
    /// The mapping, LLE and PCA.
    pub embeddings: &'a [Embedding<'a>],
    /// The nearest other view of each training view, in the mapping.
    pub training: Shares,
    /// Everything.
    pub seconds: f64,
}

fn shares(shares: &Shares) -> Value {
    json!({
        "azimuth_within_a_step": shares.azimuth,
        "elevation_within_a_step": shares.elevation,
        "both_within_a_step": shares.both,
        "lighting_equal": shares.lighting,
    })
}

impl Report<'_> {
    /// For programs.
    pub fn json(&self) -> String {
        let [mapping, lle, pca] = [0, 1, 2].map(|i| shares(&self.embeddings[i].shares));
        let value = json!({
            "mapping": mapping,
            "training": shares(&self.training),
            "lle": lle,
            "pca": pca,
            "lighting_chance": 1.0 / 6.0,
            "what": self.views.what,
            "synthetic": self.views.object.is_some(),
            "train_views": self.views.train,
            "test_views": self.views.len() - self.views.train,
            "similar_pairs": self.trained.similar_pairs,
            "dissimilar_pairs": self.trained.dissimilar_pairs,
            "train_seconds": self.trained.seconds,
            "seconds": self.seconds,
            "steps": self.args.steps,
            "seed": self.args.seed,
            "margin": self.args.margin,
            "rate": self.args.rate,
            "threads": self.cx.par.threads(),
            "isa": self.cx.isa.to_string(),
        });
        format!("{value:#}\n")
    }

    /// For people.
    pub fn table(&self) -> String {
        let (train, test) = (self.views.train, self.views.len() - self.views.train);
        let mut text = format!(
            "\nThe nearest of {train} training views to each of {test} test views of {}\n",
            self.views.what
        );
        let _ = writeln!(
            text,
            "  {:<12} {:>16} {:>18} {:>8} {:>11}",
            "", "azimuth in a step", "elevation in a step", "both", "same light"
        );
        for Embedding { name, shares, .. } in self.embeddings {
            let percent =
                [shares.azimuth, shares.elevation, shares.both, shares.lighting].map(|s| 100.0 * s);
            let [azimuth, elevation, both, light] = percent;
            let _ = writeln!(
                text,
                "  {name:<12} {azimuth:>15.1} % {elevation:>17.1} % {both:>6.1} % {light:>9.1} %"
            );
        }
        let Report { trained, cx, .. } = self;
        let _ = writeln!(
            text,
            "(chance of the same light: 16.7 %). Trained in {:.1} s on {} similar and {} dissimilar pairs a step\n\
             ({} on {} threads), {:.1} s in all. Wrote",
            trained.seconds,
            trained.similar_pairs,
            trained.dissimilar_pairs,
            cx.isa,
            cx.par.threads(),
            self.seconds
        );
        text
    }
}
