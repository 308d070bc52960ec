//! Who takes part, and how they are timed: one call of each in turn, so that all see the same machine.

use std::time::{Duration, Instant};

use crate::table::{self, Line};

/// Something to compute, with what is right.
pub trait Work {
    fn name(&self) -> &'static str;
    /// Rows and columns of the input, and what else the work's size is.
    fn shape(&self) -> &[usize];
    /// Which rows of the answer are held against the right ones.
    fn rows_to_check(&self) -> Vec<usize> {
        few_of(self.shape()[0]).collect()
    }
    /// In scalar f64. Row `i` of the answer, for each of `rows`.
    fn expected(&self, rows: &[usize]) -> Expected;
}

/// A few of so many rows, and the first of them.
pub fn few_of(n: usize) -> impl Iterator<Item = usize> {
    (0..n).step_by(n.div_ceil(8).max(1))
}

pub struct Expected {
    pub value: Option<f64>,
    pub rows: Vec<Row>,
}

/// One row of an answer.
pub struct Row {
    pub elements: Vec<f64>,
    /// What rounding errors are relative to: the sum of the sizes of the terms.
    pub size: f64,
}

/// What a call leaves.
pub trait Output {
    /// The loss, where the work has one.
    fn value(&self) -> Option<f64> {
        None
    }
    fn row(&self, i: usize) -> Vec<f64>;
}

/// A library that does a work.
pub trait Entrant {
    /// The crate's name.
    fn library(&self) -> &'static str;
    /// Which of its ways, where it has several.
    fn way(&self) -> &'static str;
    fn run(&mut self);
    fn output(&self) -> &dyn Output;
}

struct Call<O, F> {
    library: &'static str,
    way: &'static str,
    out: O,
    run: F,
}

impl<O: Output, F: FnMut(&mut O)> Entrant for Call<O, F> {
    fn library(&self) -> &'static str {
        self.library
    }

    fn way(&self) -> &'static str {
        self.way
    }

    fn run(&mut self) {
        (self.run)(&mut self.out);
    }

    fn output(&self) -> &dyn Output {
        &self.out
    }
}

/// `run` writes `out`, and may keep what else it needs from call to call.
pub fn entrant<'w, O: Output + 'w>(
    library: &'static str,
    way: &'static str,
    out: O,
    run: impl FnMut(&mut O) + 'w,
) -> Box<dyn Entrant + 'w> {
    Box::new(Call { library, way, out, run })
}

/// What has been found out, work after work.
pub struct Contest {
    budget: Option<Duration>,
    lines: Vec<Line>,
}

impl Contest {
    /// Time for each work; without it answers are checked alone.
    pub fn new(budget: Option<Duration>) -> Self {
        Contest { budget, lines: Vec::new() }
    }

    pub fn hold(&mut self, work: &dyn Work, mut entrants: Vec<Box<dyn Entrant + '_>>) {
        let rows = work.rows_to_check();
        let expected = work.expected(&rows);
        for entrant in &mut entrants {
            entrant.run();
            check(work.name(), &**entrant, &rows, &expected);
        }
        let Some(budget) = self.budget else {
            let mut libraries: Vec<&str> = entrants.iter().map(|one| one.library()).collect();
            libraries.dedup();
            println!("{}: {} agree with f64", work.name(), libraries.join(", "));
            return;
        };
        let mut seconds = vec![Vec::new(); entrants.len()];
        let start = Instant::now();
        while seconds[0].len() < 3 || start.elapsed() < budget {
            for (entrant, seconds) in entrants.iter_mut().zip(&mut seconds) {
                let start = Instant::now();
                entrant.run();
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        for (entrant, mut seconds) in entrants.iter().zip(seconds) {
            seconds.sort_by(f64::total_cmp);
            self.lines.push(Line {
                work: work.name(),
                shape: table::shape(work.shape()),
                library: entrant.library(),
                way: entrant.way(),
                best: seconds[0],
                median: seconds[seconds.len() / 2],
            });
        }
    }

    pub fn print(&self) {
        if self.budget.is_some() {
            table::print(&self.lines);
        }
    }
}

/// Holds an entrant's answer against the right one, within what rounding of f32 explains.
fn check(work: &str, entrant: &dyn Entrant, rows: &[usize], expected: &Expected) {
    const TOLERANCE: f64 = 4e-5;
    let (library, output) = (entrant.library(), entrant.output());
    if let Some(expected) = expected.value {
        let value = output.value().expect("a loss");
        let error = (value - expected).abs();
        assert!(error <= TOLERANCE * expected, "{work}, {library}: {value}, expected {expected}");
    }
    for (&i, expected) in rows.iter().zip(&expected.rows) {
        let row = output.row(i);
        assert_eq!(row.len(), expected.elements.len(), "{work}, {library}: elements of row {i}");
        for (k, (got, right)) in row.iter().zip(&expected.elements).enumerate() {
            let error = (got - right).abs();
            let wrong = error.is_nan() || error > TOLERANCE * expected.size;
            assert!(!wrong, "{work}, {library}: {got} in row {i} at {k}, expected {right}");
        }
    }
}
