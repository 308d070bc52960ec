//! Loss and gradient of every pair of a batch, in memory proportional to the batch.

#![forbid(unsafe_code)]

use super::blocks::{kinks, offsets, run_blocks};
use super::classes::{ClassMeans, places_of};
use super::gradient::Gradient;
use super::packed_rows::{ALL_ROWS, PackedRows, center};
use super::passes::{self, Pass, Walk};
use crate::batch::blocking::{block_rows, serial_if_small};
use crate::error::{Result, check_len, check_shape};
use crate::kernel::pairwise::block::Batch;
use crate::kernel::pairwise::gradient::StartGradient;
use crate::kernel::pairwise::pack::NO_CLASS;
use crate::kernel::pairwise::similarity::{Classes, Similarity};
use crate::loss::{KindSums, Objective, Outcome, Reduction, Sums};
use crate::memory::aligned::Aligned;
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks, rows_of_block};
use crate::simd::real::{Real, compiled};
use crate::similar::graph::{Similar, check_samples};

/// Working memory of [`all_pairs`]: it grows to what the largest batch needs and is then used again. That is
/// 3 B D elements, up to an eighth of them more for the means of classes, some 24 bytes a row, and a block of
/// 128 x 144 slopes for each thread.
///
/// One call uses it at a time. Inside tasks of rayon, hold no lock on it over a call: see
/// [`Par`](crate::Par#from-within-tasks-of-rayon).
#[derive(Clone, Debug, Default)]
pub struct AllPairsScratch<T> {
    set: PackedRows<T>,
    classes: ClassMeans<T>,
    gradient: Gradient<T>,
    slopes: Aligned<T>,
}

impl<T: Real> AllPairsScratch<T> {
    /// An empty scratch, which calls make as large as they need.
    pub fn new() -> Self {
        AllPairsScratch::default()
    }
}

/// Loss and gradient of all B (B - 1) / 2 pairs of the rows of `z`, B x D, each once.
///
/// `similar` says which pairs are similar, by labels or by a graph; all others are dissimilar. With
/// slopes and factors as for [`rows`](crate::batch::rows()):
///
/// ```text
/// value = reduction of l_ij over i < j         grad_i = sum over j of f_ij slope_ij (z_i - z_j)
/// ```
///
/// Nothing of size B x B exists at any time. Distances are computed from products of rows where that keeps a
/// distance within 1e-4 of itself (in `f64` 2e-13), and from differences of rows elsewhere: close pairs keep
/// their relative precision, and equal rows are at distance 0. Pairs so near a
/// [kink](crate::loss::PairLoss::kinks) of the loss, such as its margin, that a product cannot tell the side
/// are measured by differences too, so that a pair exactly at the margin is not counted as active. The
/// gradient is a product of slopes and rows, with rounding relative to the rows' distances r from a point
/// near the batch's mean: the part of a pair at distance d is within some eps r/d of itself. Pairs closer
/// than about r/1000 are added by their differences instead, and lose nothing.
///
/// # Accuracy
///
/// Value: each d² is off by at most 2e-4 (in `f64` 4e-13) of itself, and the value by what that makes of it;
/// the errors found are less than a hundredth of that. Gradient: element k of row i is off by at most
/// (B/2 + 8) eps of the sum over j of |slope_ij| (|z_ik - m_k| + |z_jk - m_k|), where m is that point, beside
/// what such errors of d² make of the slopes.
///
/// # Skipping
///
/// A pair whose slope is 0 contributes nothing to the gradient, also where a row is infinite (by rows and
/// lists, 0 times infinity is the NaN that it is in IEEE arithmetic). Pairs beyond the
/// [`reach`](crate::loss::PairLoss::reach) of the loss may be skipped, which changes no bit. Where the loss
/// [pulls](crate::loss::PairLoss::similar_slope) similar pairs by a constant, the pairs of a class may be
/// added up by its mean.
///
/// `grad` is B x D and overwritten, where it is given. Refused where a shape does not match or B
/// does not fit in a `u32`; nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{AllPairsScratch, all_pairs};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut, Similar};
///
/// let z = [0.0_f32, 0.0, /**/ 3.0, 4.0, /**/ 0.3, 0.4];
/// let labels = [7, 7, 3];
/// let loss = Contrastive::new(1.0)?;
/// let mut grad = [0.0; 6];
/// let outcome = all_pairs(
///     &Cx::default(),
///     &Objective::sum(&loss),
///     Mat::new(&z, 3, 2)?,
///     Similar::Labels(&labels),
///     Some(MatMut::new(&mut grad, 3, 2)?),
///     &mut AllPairsScratch::new(),
/// )?;
/// assert!((outcome.value - 12.625).abs() < 1e-6); // 5²/2 and (1 - 0.5)²/2; the third is far apart
/// assert_eq!((outcome.pairs, outcome.similar), (3, 1));
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn all_pairs<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    z: Mat<T>,
    similar: Similar,
    grad: Option<MatMut<T>>,
    scratch: &mut AllPairsScratch<T>,
) -> Result<Outcome> {
    check_samples(z.rows())?;
    check_len("all_pairs", "similar", similar.samples(), z.rows(), "the rows of z")?;
    if let Some(grad) = &grad {
        check_shape("all_pairs", "grad", grad.shape(), z.shape(), "as z")?;
    }
    if z.rows() == 0 {
        return Ok(Outcome::new(objective.reduction, Sums::default())); // of any number of columns
    }
    let grad = grad.filter(|_| z.cols() > 0); // rows without elements have none
    let cx = &serial_if_small(cx, z.rows().saturating_mul(z.rows()), z.cols());
    let call = Call { cx, objective, z, similar, pull: None, pulled: Sums::default() };
    Ok(run(call, grad, scratch))
}
compiled!(all_pairs::<T>);

fn run<T: Real>(
    mut call: Call<T>,
    grad: Option<MatMut<T>>,
    scratch: &mut AllPairsScratch<T>,
) -> Outcome {
    call.prepare(grad.is_some(), scratch);
    let reduction = call.objective.reduction;
    let Some(grad) = grad else {
        return Outcome::new(reduction, call.run(Pass::values(), scratch));
    };
    let counted = match reduction {
        Reduction::Sum | Reduction::Factors { .. } => Sums::default(),
        _ => count(call.similar, &scratch.set.classes),
    };
    let has_kinds = call.pull.is_none();
    let (sums, scale) =
        passes::run(call.objective, counted, has_kinds, &mut (&call, &mut *scratch));
    let AllPairsScratch { set, gradient, .. } = scratch;
    gradient.finish(call.cx, set, block_rows(grad.rows()), scale, grad);
    Outcome::new(reduction, sums)
}

/// A call whose arguments have been checked.
struct Call<'c, 'o, T> {
    cx: &'c Cx,
    objective: &'c Objective<'o, T>,
    z: Mat<'c, T>,
    similar: Similar<'c>,
    /// The loss's constant slope of similar pairs, where whole classes are pulled by their means; and the
    /// sums of those classes.
    pull: Option<T>,
    pulled: Sums,
}

impl<T: Real> Call<'_, '_, T> {
    /// Fills the scratch with everything that blocks read.
    fn prepare(&mut self, gradient: bool, scratch: &mut AllPairsScratch<T>) {
        let AllPairsScratch { set, classes, .. } = scratch;
        let (cx, z, loss) = (self.cx, self.z, self.objective.loss);
        classes.clear();
        let count = set.order_of(&self.similar);
        // A factor that is infinite or NaN turns a slope of 0 into NaN: no pair may be skipped then.
        self.pull = loss.similar_slope_block().filter(|_| count > 0 && self.objective.is_finite());
        if count > 0 && (loss.reach_block().is_some() || self.pull.is_some()) {
            let rows = set.rows(z);
            self.pulled = classes.measure(cx, rows, &set.classes, count, self.pull);
        }
        let mean = center(cx, [(&*set, z)], ALL_ROWS);
        set.prepare_pairs(cx, z, &mean, gradient);
    }

    /// Sets the gradient's sums to the pull of whole classes.
    fn start(&self, [factor, _]: [T; 2], scratch: &mut AllPairsScratch<T>) {
        let AllPairsScratch { set, classes, gradient, .. } = scratch;
        let [n, d] = self.z.shape();
        gradient.sums.resize(n * d);
        gradient.slopes.clear(n);
        let pull = factor * self.pull.unwrap_or(T::ZERO);
        // By class.
        let pulls: Vec<Option<T>> = (classes.pulled.iter().enumerate())
            .map(|(class, pulled)| {
                let rows = places_of(&set.classes, class).len();
                pulled.then(|| pull * T::from_f64(rows as f64))
            })
            .collect();
        let pulled = |place: usize| {
            let class = *set.classes.get(place)? as usize;
            let pull = (*pulls.get(class)?)?;
            Some((pull, [&classes.centers[class * d..][..d], &classes.residuals[class * d..][..d]]))
        };
        let (height, rows) = (block_rows(n), set.rows(self.z));
        let grad = Chunks(&mut gradient.sums, height * d);
        for_blocks(self.cx.par, n.div_ceil(height), grad, |block, grad| {
            let places = rows_of_block(block, height, n);
            let start = StartGradient { rows, places, pulled: &pulled, grad };
            T::dispatch(self.cx.isa, start);
        });
    }

    /// Walks over all pairs but those of classes that are pulled as a whole. In a pass for gradients, adds to
    /// the sums in the scratch, from which [`Gradient::finish`] makes the gradient.
    fn run(&self, pass: Pass<T>, scratch: &mut AllPairsScratch<T>) -> Sums {
        let AllPairsScratch { set, classes, gradient, slopes } = scratch;
        let d = self.z.cols();
        let side = set.side(self.z);
        let reach = self.objective.loss.reach_block().filter(|_| self.objective.is_finite());
        let spheres = classes.spheres(d).zip(reach);
        let kinds = match self.similar {
            Similar::Graph(graph) => Similarity::Graph { graph, first: [0; 2] },
            _ => Similarity::Classes(Classes {
                of: [&set.classes; 2],
                spheres: spheres.map(|(spheres, reach)| ([spheres; 2], reach)),
                pulled: &classes.pulled,
                own: None,
            }),
        };
        let batch = Batch {
            isa: self.cx.isa,
            loss: self.objective.loss,
            sides: [side; 2],
            kinds,
            kinks: &kinks(self.objective.loss),
            factors: pass.factors,
            similar_only: pass.similar_only,
            totals: false,
            offsets: &offsets::<T>(self.cx, d),
        };
        let out = if pass.gradient { gradient.out() } else { None };
        self.pulled + run_blocks(self.cx, &batch, true, [out, None], slopes).0
    }
}

impl<T: Real> Walk<T> for (&Call<'_, '_, T>, &mut AllPairsScratch<T>) {
    fn start(&mut self, factors: [T; 2]) {
        self.0.start(factors, self.1);
    }

    fn run(&mut self, pass: Pass<T>) -> Sums {
        self.0.run(pass, self.1)
    }
}

/// The numbers of similar and of dissimilar pairs.
pub(crate) fn count(similar: Similar, classes: &[u32]) -> Sums {
    let pairs = |n: u64| n * n.saturating_sub(1) / 2;
    let (all, alike) = match similar {
        Similar::Graph(graph) => (graph.samples() as u64, graph.edges() as u64),
        _ => {
            let known = || classes.iter().filter(|&&class| class != NO_CLASS);
            let mut sizes = vec![0_u64; known().max().map_or(0, |&class| class as usize + 1)];
            known().for_each(|&class| sizes[class as usize] += 1);
            (sizes.iter().sum(), sizes.iter().map(|&size| pairs(size)).sum())
        }
    };
    let of = |pairs| KindSums { pairs, ..KindSums::default() };
    Sums { similar: of(alike), dissimilar: of(pairs(all) - alike) }
}
