//! What is asked of a batch of pairs: a loss, how its values are added up, and which pairs are similar.

use std::collections::HashSet;

use arbitrary::Arbitrary;
use drlim::loss::{BlockLoss, Objective, Reduction};
use drlim::{Graph, Real, Similar};

use crate::Plain;
use crate::support::formulas::PairFormula;

/// A loss of pairs with its way of being added up.
#[derive(Arbitrary, Debug)]
pub struct Goal {
    /// Which loss, and its margins.
    loss: u8,
    margins: [Plain; 2],
    pub reduction: Reduce,
    /// In eighths.
    scale: i8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Reduce {
    Sum,
    Mean,
    MeanNonZero,
    Balanced,
    BalancedNonZero,
    Factors(Plain, Plain),
}

impl Reduce {
    pub fn reduction(self) -> Reduction {
        match self {
            Reduce::Sum => Reduction::Sum,
            Reduce::Mean => Reduction::Mean,
            Reduce::MeanNonZero => Reduction::MeanNonZero,
            Reduce::Balanced => Reduction::Balanced,
            Reduce::BalancedNonZero => Reduction::BalancedNonZero,
            Reduce::Factors(similar, dissimilar) => {
                Reduction::Factors { similar: similar.value(), dissimilar: dissimilar.value() }
            }
        }
    }
}

impl Goal {
    pub fn formula<T: Real>(&self) -> PairFormula {
        let [p, m] = self.margins.map(Plain::positive);
        PairFormula::all(p, m)[usize::from(self.loss) % 6].rounded::<T>()
    }

    pub fn scale<T: Real>(&self) -> T {
        T::from_f64(f64::from(self.scale) / 8.0)
    }

    pub fn objective<'l, T: Real>(&self, loss: &'l dyn BlockLoss<T>) -> Objective<'l, T> {
        Objective::sum(loss).reduced(self.reduction.reduction()).scaled(self.scale())
    }
}

/// Which rows of a batch are similar.
#[derive(Arbitrary, Debug)]
pub enum Kinds {
    /// Row i has one of these labels.
    Labels { labels: [i8; 5], step: u8, ignored: Option<i8> },
    /// Each row is a class of its own, and of every so many one is left out.
    Apart { left_out: u8 },
    /// Pairs of rows, repeated with both moved by so many each time.
    Graph { pairs: Vec<(u16, u16)>, moved: [u8; 2], times: u8 },
}

/// The same for so many rows.
#[derive(Default)]
pub struct Known {
    pub labels: Vec<i64>,
    pub ignored: Option<i64>,
    pub graph: Option<Graph>,
    /// What the graph was made of, in both orders.
    edges: HashSet<(u32, u32)>,
}

/// The ends of the labels are those of the type.
fn label(of: i8) -> i64 {
    match of {
        i8::MIN => i64::MIN,
        i8::MAX => i64::MAX,
        other => other.into(),
    }
}

impl Kinds {
    pub fn of(&self, rows: usize) -> Known {
        match self {
            Kinds::Labels { labels, step, ignored } => {
                let at = |i: usize| label(labels[i * (1 + usize::from(*step)) % 5]);
                let labels = (0..rows).map(at).collect();
                Known::labelled(labels, ignored.map(label))
            }
            Kinds::Apart { left_out } => {
                let out = |i: usize| i.is_multiple_of(2 + usize::from(*left_out));
                let labels = (0..rows).map(|i| if out(i) { -1 } else { i as i64 }).collect();
                Known::labelled(labels, Some(-1))
            }
            Kinds::Graph { pairs, moved, times } => {
                let most = rows.max(1);
                let edge = |round: usize, (i, j): (u16, u16)| {
                    let at = |of: u16, moved: u8| {
                        ((usize::from(of) + round * usize::from(moved)) % most) as u32
                    };
                    (at(i, moved[0]), at(j, moved[1]))
                };
                let rounds = 0..1 + usize::from(*times);
                let all = rounds.flat_map(|round| pairs.iter().map(move |&pair| edge(round, pair)));
                let edges: Vec<_> = all.filter(|(i, j)| i != j).take(4 * rows).collect();
                let graph = Graph::from_pairs(rows, &edges).unwrap();
                let edges = edges.into_iter().flat_map(|(i, j)| [(i, j), (j, i)]).collect();
                Known { graph: Some(graph), edges, ..Known::default() }
            }
        }
    }
}

impl Known {
    fn labelled(labels: Vec<i64>, ignored: Option<i64>) -> Self {
        Known { labels, ignored, ..Known::default() }
    }

    pub fn similar(&self) -> Similar<'_> {
        match (&self.graph, self.ignored) {
            (Some(graph), _) => Similar::Graph(graph),
            (None, None) => Similar::Labels(&self.labels),
            (None, Some(ignored)) => Similar::LabelsIgnoring { labels: &self.labels, ignored },
        }
    }

    /// Whether two rows are similar; none where one of them is left out. Said apart from the crate.
    pub fn kind(&self, i: usize, j: usize) -> Option<bool> {
        match &self.graph {
            Some(_) => Some(self.edges.contains(&(i as u32, j as u32))),
            None => {
                let [a, b] = [self.labels[i], self.labels[j]];
                let left_out = [a, b].iter().any(|&label| Some(label) == self.ignored);
                (!left_out).then_some(a == b)
            }
        }
    }

    /// Whether a row is in any pair.
    pub fn is_known(&self, i: usize) -> bool {
        self.graph.is_some() || self.ignored.is_none() || self.ignored != Some(self.labels[i])
    }
}
