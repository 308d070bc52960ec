//! The numbers of a run: for people, and for programs.

use std::fmt::Write;

use drlim::Cx;
use serde_json::{Value, json};

use crate::args::Args;
use crate::experiment::{Lle, SHIFTS, Trained};
use crate::shared::digits::Digits;

/// Everything that `report.json` holds.
pub struct Report<'a> {
    pub cx: &'a Cx,
    pub args: &'a Args,
    pub digits: &'a Digits,
    pub neighbours: &'a Trained,
    pub shifts: &'a Trained,
    pub lle: &'a Lle,
    /// Everything.
    pub seconds: f64,
}

impl Report<'_> {
    /// For programs.
    pub fn json(&self) -> String {
        let one = |trained: &Trained, epochs: usize| -> Value {
            json!({
                "digit_error": trained.measures.digit_error,
                "shift_error": trained.measures.shift_error,
                "own_over_random": trained.measures.own_over_random,
                "train_digit_error": trained.measures.train_digit_error,
                "train_shift_error": trained.measures.train_shift_error,
                "similar_pairs": trained.similar_pairs,
                "epochs": epochs,
                "steps": trained.steps,
                "train_seconds": trained.seconds,
            })
        };
        let value = json!({
            "neighbours": one(self.neighbours, self.args.neighbor_epochs),
            "shifts": one(self.shifts, self.args.shift_epochs),
            "lle": {
                "digit_error": self.lle.digit_error,
                "shift_error": self.lle.shift_error,
                "images": self.lle.images.len(),
            },
            "shift_chance": 1.0 - 1.0 / SHIFTS.len() as f64,
            "train_images": self.digits.train.len() * SHIFTS.len(),
            "test_images": self.digits.test.len() * SHIFTS.len(),
            "classes": self.digits.classes,
            "seed": self.args.seed,
            "margin": self.args.margin,
            "neighbors": self.args.neighbors,
            "rate": self.args.rate,
            "batch": self.args.batch,
            "threads": self.cx.par.threads(),
            "isa": self.cx.isa.to_string(),
            "seconds": self.seconds,
        });
        format!("{value:#}\n")
    }

    /// For people.
    pub fn table(&self) -> String {
        let (train, test) = (self.digits.train.len(), self.digits.test.len());
        let count = SHIFTS.len();
        let mut text = format!(
            "\n{test} test digits in {count} places, 5-NN error against {train} training digits in {count} places\n"
        );
        let _ = writeln!(
            text,
            "  {:<28} {:>7} {:>7}   own / random  trained in",
            "similar", "digit", "shift"
        );
        for (name, trained) in [
            ("neighbours in pixel space", self.neighbours),
            ("shifts, and neighbours'", self.shifts),
        ] {
            let m = &trained.measures;
            let _ = writeln!(
                text,
                "  {name:<28} {:>5.1} % {:>5.1} %   {:>12.3}  {:.1} s",
                100.0 * m.digit_error,
                100.0 * m.shift_error,
                m.own_over_random,
                trained.seconds
            );
        }
        let _ = writeln!(
            text,
            "  {:<28} {:>5.1} % {:>5.1} %   of {} test digits among themselves",
            "by LLE",
            100.0 * self.lle.digit_error,
            100.0 * self.lle.shift_error,
            self.lle.images.len()
        );
        let (isa, threads) = (self.cx.isa, self.cx.par.threads());
        let _ = writeln!(
            text,
            "own / random: how far an image is from its shifted copies, in distances of random images\n\
             of one shift. {:.1} s in all ({isa} on {threads} threads). Wrote",
            self.seconds
        );
        text
    }
}
