//! The numbers of a run: for people, for programs, and the embedding itself.

use std::fmt::Write;

use drlim::{Cx, metrics};
use serde_json::json;

use crate::args::{Loss, Settings, Similarity, Step};
use crate::baselines::Baselines;
use crate::experiment::Trained;
use crate::shared::Failure;
use crate::shared::digits::{Digits, VOTERS};
use crate::shared::points::{knn_error, points};

/// Everything that `report.json` holds.
pub struct Report {
    /// 5-NN error in the embedding, test images against training images.
    pub knn_error: f64,
    /// The same of each training image against all others: what the defaults were chosen by.
    pub train_loo_error: f64,
    /// Of the classifier elsewhere.
    pub baselines: Baselines,
    /// Mean value of a pair in each epoch, with half of the weight on the similar ones.
    pub loss: Vec<f64>,
    /// Training alone.
    pub train_seconds: f64,
    /// Everything.
    pub seconds: f64,
    /// In training.
    pub pairs_per_second: f64,
    /// Of the pool.
    pub threads: usize,
    /// The instruction tier.
    pub isa: String,
    /// Of weights and pairs.
    pub seed: u64,
    /// Of the loss.
    pub loss_function: Loss,
    pub margin: f32,
    /// Rounds of training.
    pub epochs: usize,
    /// What made two images similar.
    pub similarity: Similarity,
    /// Which pairs a step was on.
    pub step: Step,
    /// The learning rate at the first step.
    pub rate: f64,
    /// Ascending.
    pub classes: Vec<u8>,
}

impl Report {
    /// Measures the embedding. The total time is for the caller to fill in.
    pub fn new(
        cx: &Cx,
        settings: &Settings,
        digits: &Digits,
        trained: &Trained,
        baselines: Baselines,
    ) -> Result<Self, Failure> {
        let (train, test) = (points(&trained.train)?, points(&trained.test)?);
        let labels = &digits.train.labels;
        Ok(Report {
            knn_error: knn_error(cx, digits, train, test)?,
            train_loo_error: metrics::knn_error_leave_one_out(cx, train, labels, VOTERS)?,
            baselines,
            loss: trained.losses.clone(),
            train_seconds: trained.seconds,
            seconds: 0.0,
            pairs_per_second: trained.pairs_per_second(),
            threads: cx.par.threads(),
            isa: cx.isa.to_string(),
            seed: settings.seed,
            loss_function: settings.loss,
            margin: settings.margin,
            epochs: settings.epochs,
            similarity: settings.similarity,
            step: settings.step,
            rate: settings.rate,
            classes: digits.classes.clone(),
        })
    }

    /// For programs.
    pub fn json(&self) -> String {
        let (pairs, neighbours) = match (self.similarity, self.step) {
            (Similarity::Neighbours(k), Step::Listed) => ("neighbors", Some(k)),
            (Similarity::Neighbours(k), Step::Batch(_)) => ("batch", Some(k)),
            (Similarity::Labels, Step::Listed) => ("labels", None),
            (Similarity::Labels, Step::Batch(_)) => ("batch-labels", None),
        };
        let value = json!({
            "knn_error": self.knn_error,
            "train_loo_error": self.train_loo_error,
            "pca_knn_error": self.baselines.pca,
            "raw_knn_error": self.baselines.raw,
            "loss": self.loss,
            "train_seconds": self.train_seconds,
            "seconds": self.seconds,
            "pairs_per_second": self.pairs_per_second,
            "threads": self.threads,
            "isa": self.isa,
            "seed": self.seed,
            "loss_function": match self.loss_function {
                Loss::Contrastive => "contrastive",
                Loss::Supcon => "supcon",
            },
            "margin": self.margin,
            "epochs": self.epochs,
            "pairs": pairs,
            "neighbors": neighbours,
            "rate": self.rate,
            "classes": self.classes,
        });
        format!("{value:#}\n")
    }

    /// For people: the embedding beside what it is to be compared with.
    pub fn table(&self, settings: &Settings, digits: &Digits) -> String {
        let mut text = format!(
            "\n5-NN error of {} test images against {} training images\n",
            digits.test.len(),
            digits.train.len()
        );
        let pixels = digits.side * digits.side;
        let mut line = |what: &str, numbers: usize, error: f64, how: &str| {
            let _ =
                writeln!(text, "  {what:<22} {numbers:>4} numbers {:>6.1} %{how}", 100.0 * error);
        };
        line("raw pixels", pixels, self.baselines.raw, "");
        line("PCA", 2, self.baselines.pca, "");
        line("this run", 2, self.knn_error, &format!("   after {}", epochs(self.epochs)));
        for (error, how) in references(settings, digits) {
            line("PyTorch, for reference", 2, *error, how);
        }
        let _ = writeln!(
            text,
            "Trained in {:.1} s at {:.0} pairs a second ({} on {} threads), {:.1} s in all. Wrote",
            self.train_seconds, self.pairs_per_second, self.isa, self.threads, self.seconds
        );
        text
    }
}

/// A number of epochs in words.
pub fn epochs(count: usize) -> String {
    format!("{count} epoch{}", if count == 1 { "" } else { "s" })
}

/// The same net, pairs and data in PyTorch, at a constant learning rate: measured once, on another
/// machine.
fn references(settings: &Settings, digits: &Digits) -> &'static [(f64, &'static str)] {
    let same_data = digits.embedded && digits.classes == [4, 9];
    let same = same_data && settings.step == Step::Listed;
    match settings.similarity {
        Similarity::Neighbours(5) if same => {
            &[(0.088, "   after 10 epochs, measured elsewhere"), (0.080, "   after 25")]
        }
        Similarity::Labels if same => {
            &[(0.009, "   after 2 epochs, measured elsewhere"), (0.007, "   after 6")]
        }
        _ => &[],
    }
}

/// All points: `split,index,label,z0,z1`. The numbers read back to the same bits.
pub fn csv(digits: &Digits, trained: &Trained) -> String {
    let mut text = String::from("split,index,label,z0,z1\n");
    let splits = [("train", &digits.train, &trained.train), ("test", &digits.test, &trained.test)];
    for (name, split, points) in splits {
        for (i, (label, [z0, z1])) in split.labels.iter().zip(points).enumerate() {
            let _ = writeln!(text, "{name},{i},{label},{z0},{z1}");
        }
    }
    text
}
