//! A case of what is checked before any call: views of memory, lists of pairs, graphs, samplers, margins,
//! from any numbers.

use arbitrary::Arbitrary;
use drlim::batch::{Distance, PairList, TripletRows, distance_matrix, hard_pairs, row_distances};
use drlim::loss::{
    Contrastive, CosineContrastive, DoubleMargin, Exponential, LinearHinge, SquaredHinge,
    SquaredTriplet, TripletMargin,
};
use drlim::pairs::{BatchSampler, Sampler, SamplerState, nearest, nearest_others};
use drlim::{Cx, Graph, Mat, MatMut, Real};

use crate::Size;
use crate::goal::{Kinds, Known};

/// One thing to be made, of numbers that the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub enum ViewsCase {
    View { len: u16, rows: Size, cols: Size, stride: Size, at: [Size; 2] },
    List { rows: Size, pairs: Vec<(u32, u32)>, folded: bool, places: Vec<u32> },
    Graph { samples: Size, pairs: Vec<(u32, u32)>, folded: bool, chosen: Vec<u32> },
    Sampled { rows: u8, kinds: Kinds, group: Option<Size>, batch: Size, state: [u64; 3] },
    Margins(f64, f64),
}

/// Rows and samples of lists that are made here: what is refused is not, and what is taken takes memory.
const MOST: usize = 1 << 16;

impl ViewsCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where what cannot be is not refused, what can be is, or what has been made is not as it should be.
    pub(crate) fn check_type<T: Real>(&self) {
        match self {
            ViewsCase::View { len, rows, cols, stride, at } => {
                let mut memory = vec![T::ONE; usize::from(*len)];
                let [rows, cols, stride] = [rows, cols, stride].map(|size| size.value());
                view(&mut memory, [rows, cols, stride], at.map(Size::value));
            }
            ViewsCase::List { rows, pairs, folded, places } => {
                list(rows.value(), &fold(pairs, rows.value(), *folded), places);
            }
            ViewsCase::Graph { samples, pairs, folded, chosen } => {
                graph(samples.value(), &fold(pairs, samples.value(), *folded), chosen);
            }
            ViewsCase::Sampled { rows, kinds, group, batch, state } => {
                let [pass, position, rng] = *state;
                let state = SamplerState { pass, position, rng };
                let known = kinds.of(usize::from(*rows));
                sample(&known, group.map(Size::value), batch.value(), state);
            }
            ViewsCase::Margins(p, m) => margins(T::from_f64(*p), T::from_f64(*m)),
        }
    }
}

/// The pairs, or pairs of rows that there are.
fn fold(pairs: &[(u32, u32)], rows: usize, folded: bool) -> Vec<(u32, u32)> {
    let fold = |i: u32| if folded && rows > 0 { (i as usize % rows) as u32 } else { i };
    pairs.iter().map(|&(i, j)| (fold(i), fold(j))).collect()
}

fn view<T: Real>(memory: &mut [T], [rows, cols, stride]: [usize; 3], at: [usize; 2]) {
    let [wide_rows, wide_cols, wide_stride] = [rows, cols, stride].map(|n| n as u128);
    let exact = wide_rows * wide_cols == memory.len() as u128;
    assert_eq!(Mat::new(memory, rows, cols).is_ok(), exact);
    assert_eq!(MatMut::new(memory, rows, cols).is_ok(), exact);
    let end = if rows == 0 { 0 } else { (wide_rows - 1) * wide_stride + wide_cols };
    let fits = stride >= cols && end <= memory.len() as u128;
    assert_eq!(Mat::strided(memory, rows, cols, stride).is_ok(), fits);
    let Ok(mut mutable) = MatMut::strided(memory, rows, cols, stride) else {
        return assert!(!fits);
    };
    assert_eq!((mutable.shape(), mutable.stride()), ([rows, cols], stride));
    let [at_row, at_col] = [at[0] % (rows.saturating_add(1)), at[1] % (cols + 1)];
    {
        let (mut above, mut below) = mutable.rb_mut().split_rows_at(at_row);
        assert_eq!([above.rows(), below.rows()], [at_row, rows - at_row]);
        if at_row > 0 {
            above.row_mut(at_row - 1).fill(T::ZERO);
        }
        if at_row < rows {
            below.row_mut(rows - at_row - 1).fill(T::ZERO);
        }
        let (mut left, mut right) = mutable.rb_mut().split_cols_at(at_col);
        if rows > 0 {
            left.row_mut(rows - 1).fill(T::ZERO);
            right.row_mut(rows - 1).fill(T::ZERO);
            right.row_mut(0).fill(T::ZERO);
        }
    }
    let gapless = stride == cols || rows <= 1;
    assert_eq!(mutable.as_mut_slice().map(|all| all.len()), gapless.then(|| rows * cols));
    let z = mutable.rb();
    assert_eq!(z.as_slice().map(<[T]>::len), gapless.then(|| rows * cols));
    let part = z.rows_range(at_row, rows);
    assert_eq!(part.shape(), [rows - at_row, cols]);
    assert_eq!(z.iter().take(100).map(<[T]>::len).sum::<usize>(), rows.min(100) * cols);
    // More rows than can be numbered have no elements, and no call takes them.
    if u32::try_from(rows).is_err() {
        let cx = Cx::default();
        assert_eq!(cols, 0);
        assert!(row_distances(&cx, Distance::Euclidean, z, z, &mut []).is_err());
        let to = MatMut::new(&mut [], 0, 0).unwrap();
        assert!(distance_matrix(&cx, z, z, to).is_err());
        assert!(TripletRows::new(z, z, z).is_err());
        assert!(nearest(&cx, z, z, at[0]).is_err());
        assert!(nearest_others(&cx, z, at[0]).is_err());
        assert!(hard_pairs::<T>(&[], &[true]).is_err());
    }
}

fn list(rows: usize, pairs: &[(u32, u32)], places: &[u32]) {
    let numbered = u32::try_from(rows).is_ok();
    if numbered && rows > MOST {
        return;
    }
    let list = PairList::new(rows, pairs);
    let inside = pairs.iter().all(|&(i, j)| (i.max(j) as usize) < rows);
    assert_eq!(list.is_ok(), numbered && inside);
    let Ok(mut list) = list else { return };
    assert_eq!((list.rows(), list.pairs()), (rows, pairs));
    let mut seen = vec![0; pairs.len()];
    for i in 0..rows {
        for (pair, other) in list.pairs_of(i) {
            let (a, b) = pairs[pair];
            assert!([(i, other), (other, i)].contains(&(a as usize, b as usize)));
            seen[pair] += 1;
        }
    }
    assert!(seen.iter().all(|&times| times == 2), "each pair is in two rows, or twice in one");
    let selected = list.select(places);
    assert_eq!(selected.is_ok(), places.iter().all(|&place| (place as usize) < pairs.len()));
    if let Ok(selected) = selected {
        let those = places.iter().map(|&place| pairs[place as usize]);
        assert!(selected.pairs().iter().copied().eq(those));
    }
    let before = list.clone();
    assert!(list.set(rows, &[(0, u32::MAX)]).is_err());
    assert!(list.set(usize::MAX, pairs).is_err());
    assert_eq!(list.pairs(), before.pairs());
}

fn graph(samples: usize, pairs: &[(u32, u32)], chosen: &[u32]) {
    let numbered = u32::try_from(samples).is_ok();
    if numbered && samples > MOST {
        return;
    }
    let graph = Graph::from_pairs(samples, pairs);
    let right = pairs.iter().all(|&(i, j)| i != j && (i.max(j) as usize) < samples);
    assert_eq!(graph.is_ok(), numbered && right);
    let Ok(graph) = graph else { return };
    let mut sorted: Vec<_> = pairs.iter().map(|&(i, j)| (i.min(j), i.max(j))).collect();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!((graph.samples(), graph.edges()), (samples, sorted.len()));
    assert!(graph.pairs().eq(sorted));
    let part = graph.induced(chosen);
    let mut once = chosen.to_vec();
    once.sort_unstable();
    once.dedup();
    let all_there = chosen.iter().all(|&i| (i as usize) < samples);
    assert_eq!(part.is_ok(), all_there && once.len() == chosen.len());
    let Ok(part) = part else { return };
    for (a, &i) in chosen.iter().enumerate().take(50) {
        for (b, &j) in chosen.iter().enumerate().take(50) {
            assert_eq!(part.contains(a, b), graph.contains(i as usize, j as usize));
        }
    }
}

fn sample(known: &Known, group: Option<usize>, batch: usize, state: SamplerState) {
    let similar = known.similar();
    if let Ok(mut sampler) = Sampler::new(similar, batch, state.rng) {
        assert!(batch > 0 && batch.is_multiple_of(2));
        // Restored, or refused and as it was.
        let _ = sampler.restore(state);
        let _ = sampler.steps_per_epoch();
        let (mut pairs, mut kinds) = (Vec::new(), Vec::new());
        for _ in 0..if batch <= 256 { 3 } else { 0 } {
            sampler.next_batch(&mut pairs, &mut kinds);
            assert_eq!([pairs.len(), kinds.len()], [batch; 2]);
            for (&(i, j), &kind) in pairs.iter().zip(&kinds) {
                assert!(i != j && known.kind(i as usize, j as usize) == Some(kind));
            }
        }
    }
    let sampler = match group {
        Some(group) => BatchSampler::grouped(similar, group, batch, state.rng),
        None => BatchSampler::new(similar, batch, state.rng),
    };
    let Ok(mut sampler) = sampler else { return };
    let _ = sampler.restore(state);
    let mut samples = Vec::new();
    for _ in 0..3.min(sampler.steps_per_epoch()) {
        sampler.next_batch(&mut samples);
        assert_eq!(samples.len(), batch);
        let kind = |i: u32, j: u32| known.kind(i as usize, j as usize);
        let mut pairs = samples.iter().flat_map(|&i| samples.iter().map(move |&j| (i, j)));
        assert!(pairs.any(|(i, j)| i != j && kind(i, j) == Some(true)), "no similar pair");
        samples.sort_unstable();
        samples.dedup();
        assert_eq!(samples.len(), batch, "a sample twice");
    }
}

fn margins<T: Real>(p: T, m: T) {
    let (two, four) = (T::from_f64(2.0), T::from_f64(4.0));
    let positive = m > T::ZERO && m < T::INFINITY;
    let both = positive && p >= T::ZERO && p < T::INFINITY;
    assert_eq!(Contrastive::new(m).is_ok(), positive);
    assert_eq!(SquaredHinge::new(m).is_ok(), positive);
    assert_eq!(CosineContrastive::new(m).is_ok(), positive);
    assert_eq!(TripletMargin::new(m).is_ok(), positive);
    assert_eq!(SquaredTriplet::new(m).is_ok(), positive);
    assert_eq!(LinearHinge::new(p, m).is_ok(), both);
    assert_eq!(DoubleMargin::new(p, m).is_ok(), both);
    let finite = positive && (two * m).is_finite() && (four / m).is_finite();
    assert_eq!(Exponential::new(m).is_ok(), finite);
}
