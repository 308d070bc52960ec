//! Loss and gradient of every pair of a batch, in memory proportional to the batch.

#![forbid(unsafe_code)]

use std::ops::Add;

use super::task_rows;
use crate::cx::Cx;
use crate::error::{Result, check_len, check_shape};
use crate::graph::{Similar, check_samples};
use crate::kernel::all_pairs::{
    BLOCK_OF_SLOPES, Batch, BlockOffsets, BlockOut, BlockPair, Kinds, MOST_ROWS, NO_CLASS,
    tile_cols,
};
use crate::kernel::all_pairs_planar::PlanarBlockPair;
use crate::kernel::planar::WIDEST;
use crate::loss::{Kind, Objective, Outcome, Reduction, Sums};
use crate::mat::{Mat, MatMut};
use crate::par::{Chunks, for_blocks, sum_blocks};
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// Memory that [`all_pairs`] uses on the way: it grows to what the largest batch needs, at most
/// 3 B D elements and 256 bytes in `f32` or 512 in `f64` a row, and is then used again.
#[derive(Clone, Debug, Default)]
pub struct AllPairsScratch<T> {
    panels: Vec<T>,
    centered: Vec<T>,
    norms: Vec<T>,
    slope_sums: Vec<T>,
    slopes: Vec<T>,
    grad: Vec<T>,
    classes: Vec<u32>,
    order: Vec<u32>,
}

impl<T: Real> AllPairsScratch<T> {
    /// Empty.
    pub fn new() -> Self {
        AllPairsScratch::default()
    }
}

/// Loss and gradient of all B (B - 1) / 2 pairs of the rows of `z`, B x D, each once.
///
/// `similar` says which pairs are similar, by labels or by a graph; all others are dissimilar. With
/// slopes and factors as for [`rows`](super::rows()):
///
/// ```text
/// value = reduction of l_ij over i < j         grad_i = sum over j of f_ij slope_ij (z_i - z_j)
/// ```
///
/// Nothing of size B x B exists at any time. Distances are formed by subtraction, so close pairs
/// keep their relative precision, and so do their parts of the gradient.
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
    number_classes(similar, &mut scratch.classes, &mut scratch.order);
    pack_panels(cx, z, &mut scratch.panels);
    let (call, reduction) = (Call { cx, objective, z, similar }, objective.reduction);
    // Rows without elements have no gradient.
    let Some(mut grad) = grad.filter(|_| z.cols() > 0) else {
        return Ok(Outcome::new(reduction, call.run([T::ONE; 2], None, scratch)));
    };
    let counted = match reduction {
        Reduction::Sum | Reduction::Factors { .. } => Sums::default(),
        Reduction::Mean | Reduction::Balanced => count(similar, &scratch.classes),
        Reduction::MeanNonZero | Reduction::BalancedNonZero => call.run([T::ONE; 2], None, scratch),
    };
    let factors = objective.factors(&counted);
    if z.cols() > WIDEST {
        center(cx, z, scratch);
    }
    if let Some(grad) = grad.as_mut_slice() {
        return Ok(Outcome::new(reduction, call.run(factors, Some(grad), scratch)));
    }
    let mut dense = std::mem::take(&mut scratch.grad);
    dense.resize(z.rows() * z.cols(), T::ZERO);
    let sums = call.run(factors, Some(&mut dense), scratch);
    for (i, row) in dense.chunks_exact(z.cols()).enumerate() {
        grad.row_mut(i).copy_from_slice(row);
    }
    scratch.grad = dense;
    Ok(Outcome::new(reduction, sums))
}

/// A call whose arguments have been checked.
struct Call<'c, 'o, T> {
    cx: &'c Cx,
    objective: &'c Objective<'o, T>,
    z: Mat<'c, T>,
    similar: Similar<'c>,
}

impl<T: Real> Call<'_, '_, T> {
    /// Each pair of blocks once, in rounds whose tasks touch disjoint rows: a round-robin tournament.
    /// Rounds come one after another, so the order of addition does not depend on threads.
    fn run(
        &self,
        factors: [T; 2],
        mut grad: Option<&mut [T]>,
        scratch: &mut AllPairsScratch<T>,
    ) -> Sums {
        let (n, d) = (self.z.rows(), self.z.cols());
        let AllPairsScratch { panels, centered, norms, slope_sums, slopes, classes, .. } = scratch;
        let height = block_rows(n);
        let blocks = n.div_ceil(height);
        let rows = |block: usize| block * height..((block + 1) * height).min(n);
        if let Some(grad) = &mut grad {
            grad.fill(T::ZERO);
            slope_sums.clear();
            slope_sums.resize(n, T::ZERO);
            slopes.resize(blocks.div_ceil(2) * BLOCK_OF_SLOPES, T::ZERO);
        }
        let batch = Batch {
            isa: self.cx.isa,
            loss: self.objective.loss,
            z: self.z,
            kinds: match self.similar {
                Similar::Graph(graph) => Kinds::Graph(graph),
                _ => Kinds::Classes(classes),
            },
            factors,
            panels,
            centered,
            norms,
            offsets: &BlockOffsets::new(n, d),
        };
        let run = |_: usize, task: Chunks<Option<BlockPair<T>>>| match task.0 {
            [task] => task.take().map_or(Sums::default(), |pair| self.pair(pair)),
            _ => unreachable!("one pair of blocks a task"),
        };
        let mut sums = Sums::default();
        for round in 0..rounds(blocks) {
            let mut parts: Vec<Option<BlockOut<T>>> = match &mut grad {
                None => (0..blocks).map(|_| None).collect(),
                Some(grad) => (grad.chunks_mut(height * d).zip(slope_sums.chunks_mut(height)))
                    .map(|(grad, slope_sums)| Some(BlockOut { grad, slope_sums }))
                    .collect(),
            };
            let mut slopes = slopes.chunks_mut(BLOCK_OF_SLOPES);
            let mut tasks: Vec<Option<BlockPair<T>>> = matches(round, blocks)
                .map(|(i, j)| {
                    let out = parts[i].take().map(|out_i| (out_i, parts[j].take()));
                    let slopes = out.as_ref().and_then(|_| slopes.next()).unwrap_or_default();
                    Some(BlockPair { batch: &batch, i: rows(i), j: rows(j), out, slopes })
                })
                .collect();
            let count = tasks.len();
            sums = sums + sum_blocks(self.cx.par, count, Chunks(&mut tasks, 1), run, Sums::add);
        }
        if let Some(grad) = grad
            && d > WIDEST
        {
            self.add_own_rows(centered, slope_sums, grad);
        }
        sums
    }

    /// Picks the kernel of two blocks.
    fn pair(&self, pair: BlockPair<T>) -> Sums {
        let isa = self.cx.isa;
        match self.z.cols() {
            1 => T::dispatch(isa, PlanarBlockPair::<T, 1>(pair)),
            2 => T::dispatch(isa, PlanarBlockPair::<T, 2>(pair)),
            WIDEST => T::dispatch(isa, PlanarBlockPair::<T, WIDEST>(pair)),
            _ => T::dispatch(isa, pair),
        }
    }

    /// grad_i += (C 1)_i z_i.
    fn add_own_rows(&self, centered: &[T], slope_sums: &[T], grad: &mut [T]) {
        let d = self.z.cols();
        let height = task_rows(slope_sums.len(), d.saturating_mul(3 * size_of::<T>()));
        let blocks = slope_sums.len().div_ceil(height);
        for_blocks(self.cx.par, blocks, Chunks(grad, height * d), |block, grad: Chunks<T>| {
            let first = block * height;
            let kernel = AddOwnRows {
                centered: &centered[first * d..][..grad.0.len()],
                slope_sums: &slope_sums[first..(first + height).min(slope_sums.len())],
                grad: grad.0,
            };
            T::dispatch(self.cx.isa, kernel);
        });
    }
}

struct AddOwnRows<'a, T> {
    centered: &'a [T],
    slope_sums: &'a [T],
    grad: &'a mut [T],
}

impl<T: Real> Kernel<T> for AddOwnRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let d = self.grad.len() / self.slope_sums.len().max(1);
        if d == 0 {
            return;
        }
        let rows = self.centered.chunks_exact(d).zip(self.grad.chunks_exact_mut(d));
        for (&sum, (row, grad)) in self.slope_sums.iter().zip(rows) {
            for (row, grad) in row.chunks(S::LANES).zip(grad.chunks_mut(S::LANES)) {
                s.store(s.fma(s.splat(sum), s.load(row), s.load(grad)), grad);
            }
        }
    }
}

/// Rows of a block: a function of the batch alone, since it decides the order of addition. Eight
/// blocks or more where the batch allows, so that rounds have work for several threads.
fn block_rows(rows: usize) -> usize {
    rows.div_ceil(8).max(1).next_multiple_of(32).min(MOST_ROWS)
}

/// Two rounds pair blocks with themselves, half of them each; the others are those of a tournament.
fn rounds(blocks: usize) -> usize {
    blocks.next_multiple_of(2) + 1
}

/// The pairs of a round. An odd number of players gets one who does not play.
fn matches(round: usize, blocks: usize) -> impl Iterator<Item = (usize, usize)> {
    let half = blocks.div_ceil(2);
    let circle = (2 * half).max(2) - 1;
    let pair = move |k: usize| match (round, k) {
        (0, _) => (k, k),
        (1, _) => (half + k, half + k),
        (_, 0) => (round - 2, circle),
        _ => ((round - 2 + k) % circle, (round - 2 + circle - k) % circle),
    };
    (0..half).map(pair).map(|(i, j)| (i.min(j), i.max(j))).filter(move |&(_, j)| j < blocks)
}

/// Numbers the classes, in the order of their labels; rows that are left out get [`NO_CLASS`].
fn number_classes(similar: Similar, classes: &mut Vec<u32>, order: &mut Vec<u32>) {
    let (labels, ignored) = match similar {
        Similar::Labels(labels) => (labels, None),
        Similar::LabelsIgnoring { labels, ignored } => (labels, Some(ignored)),
        Similar::Graph(_) => return,
    };
    order.clear();
    order.extend(0..labels.len() as u32);
    order.sort_unstable_by_key(|&row| labels[row as usize]);
    classes.clear();
    classes.resize(labels.len(), NO_CLASS);
    let mut class = 0;
    let mut last = None;
    for &row in &*order {
        let label = labels[row as usize];
        if Some(label) == ignored {
            continue;
        }
        class += u32::from(last.is_some_and(|last| last != label));
        last = Some(label);
        classes[row as usize] = class;
    }
}

/// How many pairs there are of each kind.
fn count(similar: Similar, classes: &[u32]) -> Sums {
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
    let of = |pairs| Kind { pairs, ..Kind::default() };
    Sums { similar: of(alike), dissimilar: of(pairs(all) - alike) }
}

/// The rows in panels of a tile's columns, the last one filled up with zeros.
fn pack_panels<T: Real>(cx: &Cx, z: Mat<T>, panels: &mut Vec<T>) {
    let (cols, depth) = (tile_cols::<T>(cx.isa), z.cols());
    let size = cols * depth;
    panels.clear();
    panels.resize(z.rows().div_ceil(cols) * size, T::ZERO);
    let blocks = z.rows().div_ceil(cols);
    for_blocks(cx.par, blocks, Chunks(panels, size), |block, panel: Chunks<T>| {
        for (c, row) in (block * cols..z.rows().min((block + 1) * cols)).enumerate() {
            for (k, &x) in z.row(row).iter().enumerate() {
                panel.0[k * cols + c] = x;
            }
        }
    });
}

/// The rows without the mean of those that are finite, and their squared lengths: see
/// [`Batch::centered`].
fn center<T: Real>(cx: &Cx, z: Mat<T>, scratch: &mut AllPairsScratch<T>) {
    let (n, d) = (z.rows(), z.cols());
    let mut mean = vec![0.0; d];
    let mut finite = 0_u64;
    for row in z.iter().filter(|row| row.iter().all(|x| x.is_finite())) {
        finite += 1;
        for (mean, x) in mean.iter_mut().zip(row) {
            *mean += x.to_f64();
        }
    }
    let mean: Vec<T> = mean.iter().map(|sum| T::from_f64(sum / finite.max(1) as f64)).collect();
    let AllPairsScratch { centered, norms, classes, .. } = scratch;
    centered.clear();
    centered.resize(n * d, T::ZERO);
    norms.clear();
    norms.resize(n, T::ZERO);
    let height = task_rows(n, d.saturating_mul(2 * size_of::<T>()));
    let output = (Chunks(centered, height * d), Chunks(norms, height));
    let left_out = |row: usize| classes.get(row) == Some(&NO_CLASS);
    for_blocks(cx.par, n.div_ceil(height), output, |block, (rows, norms)| {
        let (rows, norms): (Chunks<T>, Chunks<T>) = (rows, norms);
        let mut rows = rows.0.chunks_mut(d.max(1));
        for (i, norm) in norms.0.iter_mut().enumerate() {
            let (row, Some(to)) = (block * height + i, rows.next()) else { break };
            if left_out(row) {
                continue;
            }
            if !z.row(row).iter().all(|x| x.is_finite()) {
                *norm = T::from_f64(f64::NAN);
                continue;
            }
            for ((to, &x), &mean) in to.iter_mut().zip(z.row(row)).zip(&mean) {
                *to = x - mean;
            }
            *norm = to.iter().fold(T::ZERO, |sum, &x| sum + x * x);
        }
    });
}
