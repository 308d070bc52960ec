//! Progress of training: a bar on a terminal, elsewhere one plain line an epoch.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{bar:20} {percent:>3} %  {msg}  {eta} left";

/// Shows where training is, on standard error.
pub struct Bar {
    /// None where standard error is not a terminal.
    bar: Option<ProgressBar>,
    epochs: usize,
    /// Epochs that have ended.
    done: usize,
    /// Mean of the last losses, each weighing less the longer ago it was.
    loss: Option<f64>,
    /// Of the last step.
    rate: f64,
    begin: Instant,
}

impl Bar {
    /// For so many epochs of so many steps.
    pub fn new(epochs: usize, steps: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(TEMPLATE);
            ProgressBar::new((epochs * steps) as u64)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Bar { bar, epochs, done: 0, loss: None, rate: 0.0, begin: Instant::now() }
    }

    /// A step has been done: its mean loss and learning rate.
    pub fn step(&mut self, loss: f64, rate: f64) {
        let before = self.loss.unwrap_or(loss);
        let smoothed = before + 0.05 * (loss - before);
        (self.loss, self.rate) = (Some(smoothed), rate);
        if let Some(bar) = &self.bar {
            bar.set_message(self.message(self.done + 1, smoothed));
            bar.inc(1);
        }
    }

    /// An epoch has ended: its mean loss.
    pub fn epoch(&mut self, loss: f64) {
        self.done += 1;
        match &self.bar {
            None => eprintln!("{}  {} left", self.message(self.done, loss), self.left()),
            Some(bar) if self.done == self.epochs => bar.finish_and_clear(),
            Some(_) => {}
        }
    }

    fn message(&self, epoch: usize, loss: f64) -> String {
        format!("epoch {epoch:>2}/{}  loss {loss:.5}  rate {:.6}", self.epochs, self.rate)
    }

    /// The rest of the time, as the epochs so far predict it.
    fn left(&self) -> String {
        let rest = (self.epochs - self.done) as f64 / self.done as f64;
        let seconds = (self.begin.elapsed().as_secs_f64() * rest) as u64;
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}
