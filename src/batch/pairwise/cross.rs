//! Loss and gradients of every row of one batch against every row of another.

#![forbid(unsafe_code)]

use super::blocks::{kinks, offsets, run_blocks};
use super::classes::ClassMeans;
use super::gradient::Gradient;
use super::packed_rows::{ALL_ROWS, PackedRows, center, number_classes};
use super::passes::{self, Pass, Walk};
use crate::batch::blocking::{block_rows, serial_if_small};
use crate::error::{Error, Result, check_len, check_shape};
use crate::kernel::pairwise::block::Batch;
use crate::kernel::pairwise::pack::NO_CLASS;
use crate::kernel::pairwise::similarity::{Classes, SelfPairs, Similarity};
use crate::loss::{KindSums, Objective, Outcome, Reduction, SlopeTotals, Sums};
use crate::memory::aligned::Aligned;
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::simd::real::{Real, compiled};
use crate::similar::graph::{Graph, check_samples};

/// Which pairs of a query and a key are similar; all others are dissimilar.
#[derive(Clone, Copy, Debug)]
pub enum CrossSimilar<'a> {
    /// A query and a key are similar if they have the same label.
    Labels {
        /// A label for each query; any value is a class.
        queries: &'a [i64],
        /// A label for each key.
        keys: &'a [i64],
        /// A label that stands for no class, if there is one: a row that has it is in no pair.
        ignored: Option<i64>,
    },
    /// Key `first_key + i` alone is similar to query i.
    Position {
        /// The key of the first query.
        first_key: usize,
    },
    /// A query and a key are similar if they are neighbours in a graph that holds both. A sample that is
    /// among both makes no pair with itself.
    Graph {
        /// The graph: that of the whole batch, say, of which this process holds the queries and another one
        /// the keys.
        graph: &'a Graph,
        /// Query i is sample `first_query + i`.
        first_query: usize,
        /// Key j is sample `first_key + j`.
        first_key: usize,
    },
}

impl<'a> CrossSimilar<'a> {
    /// Labels of N queries and M keys that say the same as a position does.
    pub(crate) fn position_labels(&self, n: usize, m: usize) -> Option<[Vec<i64>; 2]> {
        let CrossSimilar::Position { first_key } = *self else { return None };
        let first = first_key as i64;
        Some([(0..n as i64).collect(), (-first..m as i64 - first).collect()])
    }

    /// The rule as kernels know it. `labels` are those of a position, if it is one.
    pub(crate) fn rule<'b>(self, labels: &'b Option<[Vec<i64>; 2]>) -> CrossRule<'b>
    where
        'a: 'b,
    {
        match (self, labels) {
            (_, Some([queries, keys])) => CrossRule::Labels { queries, keys, ignored: None },
            (CrossSimilar::Labels { queries, keys, ignored }, _) => {
                CrossRule::Labels { queries, keys, ignored }
            }
            (CrossSimilar::Graph { graph, first_query, first_key }, _) => {
                CrossRule::Graph { graph, first: [first_query, first_key] }
            }
            (CrossSimilar::Position { .. }, None) => {
                CrossRule::Labels { queries: &[], keys: &[], ignored: None }
            }
        }
    }
}

/// A [`CrossSimilar`] whose position, if it was one, has become labels.
#[derive(Clone, Copy)]
pub(crate) enum CrossRule<'a> {
    Labels { queries: &'a [i64], keys: &'a [i64], ignored: Option<i64> },
    Graph { graph: &'a Graph, first: [usize; 2] },
}

/// The gradients that [`cross`] writes, each if it is given.
#[derive(Debug, Default)]
pub struct CrossOut<'a, T> {
    /// N x D, overwritten.
    pub grad_queries: Option<MatMut<'a, T>>,
    /// M x D, overwritten.
    pub grad_keys: Option<MatMut<'a, T>>,
    /// Sums of the slopes of all pairs, overwritten by `cross`: for derivatives by parameters of the loss.
    pub slope_totals: Option<&'a mut SlopeTotals>,
}

impl<'a, T: Real> CrossOut<'a, T> {
    /// No gradient: `cross` returns the outcome alone.
    pub fn none() -> Self {
        CrossOut { grad_queries: None, grad_keys: None, slope_totals: None }
    }

    /// The gradient of the queries alone, where the keys are a memory bank, or held by another process that
    /// computes theirs.
    pub fn grad_queries(grad: MatMut<'a, T>) -> Self {
        CrossOut { grad_queries: Some(grad), ..CrossOut::none() }
    }

    /// Both gradients.
    pub fn grads(queries: MatMut<'a, T>, keys: MatMut<'a, T>) -> Self {
        CrossOut { grad_queries: Some(queries), grad_keys: Some(keys), slope_totals: None }
    }
}

/// Working memory of [`cross`], kept for the next call: three times that of both batches, and for classes and
/// slopes what [`AllPairsScratch`](crate::batch::AllPairsScratch) says.
///
/// One call uses it at a time. Inside tasks of rayon, hold no lock on it over a call: see
/// [`Par`](crate::Par#from-within-tasks-of-rayon).
#[derive(Clone, Debug, Default)]
pub struct CrossScratch<T> {
    sets: [PackedRows<T>; 2],
    classes: [ClassMeans<T>; 2],
    gradients: [Gradient<T>; 2],
    own: Vec<u32>,
    slopes: Aligned<T>,
}

impl<T: Real> CrossScratch<T> {
    /// An empty scratch, which calls make as large as they need.
    pub fn new() -> Self {
        CrossScratch::default()
    }
}

/// Loss and gradients of all N M pairs of a row of `queries`, N x D, with a row of `keys`, M x D.
///
/// ```text
/// value = reduction of l_ij over i and j
/// grad_queries_i =  sum over j of f_ij slope_ij (q_i - k_j)
/// grad_keys_j    = -sum over i of f_ij slope_ij (q_i - k_j)
/// ```
///
/// With `own`, key `own + i` is query i itself, and the two make no pair. Precision, memory and skipping are
/// those of [`all_pairs`](crate::batch::all_pairs()).
///
/// A batch in two parts A and B has the pairs of A, the pairs of B, and the pairs of A with B. Add up the
/// [`Outcome::sums`] of the three calls, and for each row the gradients from the two calls that it is in. For
/// reductions other than the sum, take [`Reduction::factors`] of the total first.
///
/// # Accuracy
///
/// The bounds are those of [`all_pairs`](crate::batch::all_pairs()) with B = N + M.
///
/// # Errors
///
/// Refused where a shape does not match, `own` or a first sample points past the end, or rows of either side
/// do not fit in a `u32`; nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut};
///
/// let (queries, keys) = ([0.0_f32, 0.0], [3.0_f32, 4.0, /**/ 0.3, 0.4]);
/// let similar = CrossSimilar::Labels { queries: &[7], keys: &[7, 3], ignored: None };
/// let loss = Contrastive::new(1.0)?;
/// let mut grad = [0.0; 2];
/// let outcome = cross(
///     &Cx::default(),
///     &Objective::sum(&loss),
///     Mat::new(&queries, 1, 2)?,
///     Mat::new(&keys, 2, 2)?,
///     similar,
///     None,
///     CrossOut::grad_queries(MatMut::new(&mut grad, 1, 2)?),
///     &mut CrossScratch::new(),
/// )?;
/// assert_eq!(outcome.value, 12.5 + 0.125);
/// assert!((grad[0] - (-3.0 + 0.3)).abs() < 1e-6);
/// # Ok(()) }
/// ```
#[allow(clippy::too_many_arguments, reason = "each is one thing that a caller decides")]
#[inline(never)]
pub fn cross<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    queries: Mat<T>,
    keys: Mat<T>,
    similar: CrossSimilar,
    own: Option<usize>,
    out: CrossOut<T>,
    scratch: &mut CrossScratch<T>,
) -> Result<Outcome> {
    check("cross", queries, keys, similar, own, &out)?;
    let (n, m, d) = (queries.rows(), keys.rows(), queries.cols());
    let labels = similar.position_labels(n, m);
    let similar = similar.rule(&labels);
    if n == 0 && m == 0 {
        if let Some(totals) = out.slope_totals {
            *totals = SlopeTotals::default();
        }
        return Ok(Outcome::new(objective.reduction, Sums::default())); // of any number of columns
    }
    let cx = &serial_if_small(cx, n.saturating_mul(m), d);
    // Rows without elements have no gradient.
    let grads = [out.grad_queries, out.grad_keys].map(|grad| grad.filter(|_| d > 0));
    let wanted = grads.each_ref().map(Option::is_some);
    let totals = out.slope_totals.is_some();
    let call = Call { cx, objective, z: [queries, keys], similar, own, wanted, totals };
    let (outcome, totals) = run(call, grads, scratch);
    if let Some(to) = out.slope_totals {
        *to = totals;
    }
    Ok(outcome)
}
compiled!(cross::<T>);

fn run<T: Real>(
    call: Call<T>,
    grads: [Option<MatMut<T>>; 2],
    scratch: &mut CrossScratch<T>,
) -> (Outcome, SlopeTotals) {
    call.prepare(scratch);
    let reduction = call.objective.reduction;
    if call.wanted == [false; 2] && !call.totals {
        let (sums, totals) = call.run(Pass::values(), scratch);
        return (Outcome::new(reduction, sums), totals);
    }
    let counted = match reduction {
        Reduction::Sum | Reduction::Factors { .. } => Sums::default(),
        _ => call.count(scratch),
    };
    let mut walk =
        CrossWalk { call: &call, scratch: &mut *scratch, totals: SlopeTotals::default() };
    let (sums, scale) = passes::run(call.objective, counted, true, &mut walk);
    let totals = walk.totals.scaled(scale.to_f64());
    let CrossScratch { sets, gradients, .. } = scratch;
    for ((set, gradient), grad) in sets.iter_mut().zip(gradients).zip(grads) {
        if let Some(grad) = grad {
            gradient.finish(call.cx, set, block_rows(grad.rows()), scale, grad);
        }
    }
    (Outcome::new(reduction, sums), totals)
}

/// Refuses arguments that do not fit together.
pub(crate) fn check<T: Real>(
    call: &'static str,
    queries: Mat<T>,
    keys: Mat<T>,
    similar: CrossSimilar,
    own: Option<usize>,
    out: &CrossOut<T>,
) -> Result<()> {
    let (n, m) = (queries.rows(), keys.rows());
    check_samples(n)?;
    check_samples(m)?;
    let expected = [m, queries.cols()];
    check_shape(call, "keys", keys.shape(), expected, "the columns of queries")?;
    if let Some(grad) = &out.grad_queries {
        check_shape(call, "grad_queries", grad.shape(), queries.shape(), "as queries")?;
    }
    if let Some(grad) = &out.grad_keys {
        check_shape(call, "grad_keys", grad.shape(), keys.shape(), "as keys")?;
    }
    let last = |first: usize, rows: usize| first.checked_add(rows);
    if let Some(own) = own
        && last(own, n).is_none_or(|end| end > m)
    {
        return Err(Error::Index { arg: "own", at: 0, index: own, len: (m + 1).saturating_sub(n) });
    }
    match similar {
        CrossSimilar::Labels { queries: of_queries, keys: of_keys, .. } => {
            check_len(call, "queries' labels", of_queries.len(), n, "the rows of queries")?;
            check_len(call, "keys' labels", of_keys.len(), m, "the rows of keys")
        }
        CrossSimilar::Position { first_key } => match last(first_key, n) {
            Some(end) if end <= m => Ok(()),
            _ => {
                let len = (m + 1).saturating_sub(n);
                Err(Error::Index { arg: "first_key", at: 0, index: first_key, len })
            }
        },
        CrossSimilar::Graph { graph, first_query, first_key } => {
            for (arg, first, rows) in [("first_query", first_query, n), ("first_key", first_key, m)]
            {
                if last(first, rows).is_none_or(|end| end > graph.samples()) {
                    let len = (graph.samples() + 1).saturating_sub(rows);
                    return Err(Error::Index { arg, at: 0, index: first, len });
                }
            }
            if own.is_some_and(|own| first_key.checked_add(own) != Some(first_query)) {
                let reason = "own says that other keys are the queries than the graph does".into();
                return Err(Error::Pairs { reason });
            }
            Ok(())
        }
    }
}

/// A call whose arguments have been checked.
struct Call<'c, 'o, T> {
    cx: &'c Cx,
    objective: &'c Objective<'o, T>,
    z: [Mat<'c, T>; 2],
    similar: CrossRule<'c>,
    own: Option<usize>,
    wanted: [bool; 2],
    totals: bool,
}

impl<T: Real> Call<'_, '_, T> {
    /// Fills the scratch with everything that blocks read.
    fn prepare(&self, scratch: &mut CrossScratch<T>) {
        let CrossScratch { sets: [i, j], classes, own, .. } = scratch;
        let (cx, [queries, keys]) = (self.cx, self.z);
        classes.iter_mut().for_each(ClassMeans::clear);
        own.clear();
        match self.similar {
            CrossRule::Labels { queries: of_i, keys: of_j, ignored } => {
                i.order_by_label(of_i, ignored);
                j.order_by_label(of_j, ignored);
                let count = number_classes([&mut *i, &mut *j], [of_i, of_j], ignored);
                if self.objective.loss.reach_block().is_some() && self.objective.is_finite() {
                    for (side, (classes, set)) in classes.iter_mut().zip([&*i, &*j]).enumerate() {
                        let rows = set.rows(self.z[side]);
                        classes.measure(cx, rows, &set.classes, count, None);
                    }
                }
                if let Some(first) = self.own {
                    j.find_places();
                    own.extend(i.order.iter().map(|&row| j.places[first + row as usize]));
                }
            }
            CrossRule::Graph { .. } => {
                i.keep_order(queries.rows());
                j.keep_order(keys.rows());
            }
        }
        let mean = center(cx, [(&*i, queries), (&*j, keys)], ALL_ROWS);
        // A gradient needs products with the rows of the other side, and the side's own rows times their
        // slopes.
        let products = self.wanted.contains(&true);
        i.prepare_pairs(cx, queries, &mean, products);
        j.prepare_pairs(cx, keys, &mean, products);
    }

    /// The numbers of similar and of dissimilar pairs.
    fn count(&self, scratch: &CrossScratch<T>) -> Sums {
        let [i, j] = &scratch.sets;
        let (all, alike) = match self.similar {
            CrossRule::Labels { .. } => {
                let known =
                    |set: &PackedRows<T>| set.classes.partition_point(|&class| class != NO_CLASS);
                let (of_i, of_j) = (&i.classes[..known(i)], &j.classes[..known(j)]);
                let mut alike = 0;
                for class in of_i.chunk_by(|a, b| a == b) {
                    let others = of_j.partition_point(|&other| other <= class[0])
                        - of_j.partition_point(|&other| other < class[0]);
                    alike += class.len() as u64 * others as u64;
                }
                let own = scratch.own.iter().zip(&i.classes);
                let own = own.filter(|&(&own, &class)| {
                    class != NO_CLASS && j.classes[own as usize] != NO_CLASS
                });
                let (own_alike, own_all) = own.fold((0, 0), |(alike, all), (&own, &class)| {
                    (alike + u64::from(j.classes[own as usize] == class), all + 1)
                });
                (of_i.len() as u64 * of_j.len() as u64 - own_all, alike - own_alike)
            }
            CrossRule::Graph { graph, first: [first_query, first_key] } => {
                let (n, m) = (i.order.len(), j.order.len());
                let keys = first_key..first_key + m;
                let samples = first_query..first_query + n;
                let own = samples.clone().filter(|sample| keys.contains(sample)).count();
                let alike = samples.map(|sample| {
                    let neighbours = graph.neighbours(sample);
                    let before = |end| neighbours.partition_point(|&j| (j as usize) < end);
                    (before(keys.end) - before(keys.start)) as u64
                });
                (n as u64 * m as u64 - own as u64, alike.sum())
            }
        };
        let of = |pairs| KindSums { pairs, ..KindSums::default() };
        Sums { similar: of(alike), dissimilar: of(all - alike) }
    }

    /// Walks over all pairs. In a pass for gradients, adds to the sums in the scratch, from which
    /// [`Gradient::finish`] makes the gradients that are wanted.
    fn run(&self, pass: Pass<T>, scratch: &mut CrossScratch<T>) -> (Sums, SlopeTotals) {
        let CrossScratch { sets: [i, j], classes, gradients, own, slopes } = scratch;
        let d = self.z[0].cols();
        let kinds = match self.similar {
            CrossRule::Graph { graph, first } => Similarity::Graph { graph, first },
            CrossRule::Labels { .. } => {
                let spheres = classes[0].spheres(d).zip(classes[1].spheres(d));
                let reach = self.objective.loss.reach_block();
                Similarity::Classes(Classes {
                    of: [&i.classes, &j.classes],
                    spheres: spheres.map(|(i, j)| [i, j]).zip(reach),
                    pulled: &[],
                    own: self.own.map(|_| SelfPairs { places: own }),
                })
            }
        };
        let batch = Batch {
            isa: self.cx.isa,
            loss: self.objective.loss,
            sides: [i.side(self.z[0]), j.side(self.z[1])],
            kinds,
            kinks: &kinks(self.objective.loss),
            factors: pass.factors,
            similar_only: pass.similar_only,
            totals: self.totals && pass.gradient,
            offsets: &offsets::<T>(self.cx, d),
        };
        let [of_i, of_j] = gradients;
        let wanted = self.wanted.map(|wanted| wanted && pass.gradient);
        let out =
            [wanted[0].then(|| of_i.out()).flatten(), wanted[1].then(|| of_j.out()).flatten()];
        run_blocks(self.cx, &batch, false, out, slopes)
    }
}

/// The walks of a call, and the totals of slopes of those for gradients.
struct CrossWalk<'w, 'c, 'o, T> {
    call: &'w Call<'c, 'o, T>,
    scratch: &'w mut CrossScratch<T>,
    totals: SlopeTotals,
}

impl<T: Real> Walk<T> for CrossWalk<'_, '_, '_, T> {
    fn start(&mut self, _: [T; 2]) {
        self.totals = SlopeTotals::default();
        let wanted = self.scratch.gradients.iter_mut().zip(self.call.z).zip(self.call.wanted);
        for ((gradient, z), _) in wanted.filter(|(_, wanted)| *wanted) {
            gradient.clear(z.shape());
        }
    }

    fn run(&mut self, pass: Pass<T>) -> Sums {
        let (sums, totals) = self.call.run(pass, self.scratch);
        self.totals = self.totals + totals;
        sums
    }
}
