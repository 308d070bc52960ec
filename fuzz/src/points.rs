//! Rows of a batch, and what is known of them where products are formed.

use arbitrary::Arbitrary;
use drlim::Real;

use crate::oracle::{Approx, Expected, Total};
use crate::{Placed, Plain, Special};

/// Rows, the elements of which the fuzzer chooses a few of.
#[derive(Arbitrary, Debug)]
pub struct Points {
    /// Repeated along each row.
    values: [Plain; 7],
    /// Rows that begin at other ones of them, before they begin again.
    apart: u8,
    /// Elements scatter around them by 2^-scatter of themselves, or are the same to the bit.
    scatter: Option<u8>,
    specials: Vec<(u16, Special)>,
}

impl Points {
    /// Fills a matrix, the rows of which are numbered from `first` on.
    pub fn fill<T: Real>(&self, z: &mut Placed<T>, first: usize) {
        let apart = usize::from(self.apart).max(1);
        let size = self.scatter.map_or(0.0, |scatter| 2_f64.powi(-i32::from(scatter % 64)));
        for i in 0..z.rows {
            let start = (first + i) % apart;
            let start = start * start + start * z.cols;
            for (k, x) in z.row(i).iter_mut().enumerate() {
                let value = self.values[(start + k) % self.values.len()].value();
                *x = T::from_f64(value + value * size * noise(first + i, k));
            }
        }
        let elements = z.rows * z.cols;
        for &(at, special) in self.specials.iter().filter(|_| elements > 0) {
            let at = (usize::from(at) + first) % elements;
            let (i, k) = (at / z.cols, at % z.cols);
            let element = &mut z.row(i)[k];
            *element = special.apply(*element);
        }
    }
}

/// Between -1 and 1, and always the same.
pub fn noise(i: usize, k: usize) -> f64 {
    let mut x = (i as u64) << 32 | k as u64;
    x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((x ^ x >> 32) as u32) as f64 / 2_f64.powi(31) - 1.0
}

/// Rows of a call that measures them from a center: in each column the number nearest to the mean.
pub struct Centered {
    rows: Vec<Vec<f64>>,
    /// The distance of each element from the center, at the most.
    from_center: Vec<Vec<f64>>,
    /// The squared distances from the center, at the least: a pair that is close by these is close for certain.
    norms: Vec<f64>,
}

impl Centered {
    /// Of rows of several sides, with whether each is in any pair.
    pub fn new<'a, T: Real>(rows: impl Iterator<Item = (&'a [T], bool)>) -> Self {
        let (rows, known): (Vec<Vec<f64>>, Vec<bool>) =
            rows.map(|(row, known)| (row.iter().map(|x| x.to_f64()).collect(), known)).unzip();
        let d = rows.first().map_or(0, Vec::len);
        let eps = T::EPSILON.to_f64();
        let finite = rows
            .iter()
            .zip(known)
            .filter(|(row, known)| *known && row.iter().all(|x: &f64| x.is_finite()));
        let finite: Vec<&Vec<f64>> = finite.map(|(row, _)| row).collect();
        let count = finite.len().max(1) as f64;
        let mut from_center = vec![Vec::with_capacity(d); rows.len()];
        let mut norms = vec![0.0; rows.len()];
        for k in 0..d {
            let mean = finite.iter().map(|row| row[k] / count).sum::<f64>();
            let off = |row: &[f64]| (row[k] - mean).abs();
            let most = finite.iter().fold(0.0_f64, |most, row| most.max(off(row)));
            let nearest = finite.iter().fold(f64::INFINITY, |nearest, row| nearest.min(off(row)));
            // The mean is rounded, so that any number about as near as the nearest may be the center.
            let lost = 4.0 * eps * mean.abs() + eps * count * most;
            let (mut least, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
            for row in finite.iter().filter(|row| off(row) <= nearest + 2.0 * lost) {
                (least, largest) = (least.min(row[k]), largest.max(row[k]));
            }
            for ((row, from_center), norm) in rows.iter().zip(&mut from_center).zip(&mut norms) {
                let x = row[k];
                from_center.push((x - least).abs().max((x - largest).abs()));
                let distance = (least - x).max(x - largest).max(0.0) * (1.0 - 2.0 * eps);
                *norm += distance * distance;
            }
        }
        Centered { rows, from_center, norms }
    }

    /// Whether the gradient of a pair is certain to be added by differences.
    fn is_direct<T: Real>(&self, i: usize, j: usize) -> bool {
        let d2: f64 = self.rows[i].iter().zip(&self.rows[j]).map(|(a, b)| (a - b) * (a - b)).sum();
        let norms = self.norms[i] + self.norms[j];
        d2 < 0.8e-6 * norms || norms > 16.0 / T::MIN_POSITIVE.to_f64()
    }
}

/// The gradients of rows, of pairs all or some of which are added by differences.
pub struct Gradients<'c> {
    centered: &'c Centered,
    differences: bool,
    cols: usize,
    totals: Vec<Total>,
    /// Rows of which nothing is known.
    doubtful: Vec<bool>,
}

impl<'c> Gradients<'c> {
    /// Pairs that are not close are added by products.
    pub fn new(centered: &'c Centered) -> Self {
        let (rows, cols) = (centered.rows.len(), centered.rows.first().map_or(0, Vec::len));
        let (differences, doubtful) = (false, vec![false; rows]);
        Gradients {
            centered,
            differences,
            cols,
            totals: vec![Total::default(); rows * cols],
            doubtful,
        }
    }

    /// All pairs are added by differences.
    pub fn by_differences(centered: &'c Centered) -> Self {
        Gradients { differences: true, ..Gradients::new(centered) }
    }

    /// Says that nothing is known of some rows.
    pub fn doubt(&mut self, rows: &[usize]) {
        rows.iter().for_each(|&i| self.doubtful[i] = true);
    }

    /// Adds pair `p` of what is expected, of rows i and j. `late` is what is multiplied by at the end.
    /// A pair whose slope is 0 adds nothing, whatever its rows hold.
    pub fn add<T: Real>(&mut self, expected: &Expected, p: usize, [i, j]: [usize; 2], late: f64) {
        let slope = expected.slope(p);
        if expected.pairs[p].ignored || slope.x == 0.0 && slope.error == 0.0 {
            return;
        }
        let Centered { rows, from_center, .. } = self.centered;
        let direct = self.differences || self.centered.is_direct::<T>(i, j);
        let underflow = late * T::MIN_POSITIVE.to_f64();
        for k in 0..self.cols {
            let difference = T::from_f64(rows[i][k] - rows[j][k]).to_f64();
            let Approx { x, mut error } = expected.term_of::<T>(p, difference);
            error +=
                if difference.is_finite() { underflow * (1.0 + difference.abs()) } else { 0.0 };
            // A slope that may be 0 may take an infinity along or not.
            if slope.error >= slope.x.abs() && !difference.is_finite() {
                error = f64::INFINITY;
            }
            let size = match direct {
                true => x.abs(),
                false => (slope.x.abs() + slope.error) * (from_center[i][k] + from_center[j][k]),
            };
            let size = if size.is_nan() { x.abs() } else { size };
            self.totals[i * self.cols + k].add_sized(Approx { x, error }, size);
            self.totals[j * self.cols + k].add_sized(Approx { x: -x, error }, size);
        }
    }

    /// What the gradients of all rows should be.
    pub fn finish<T: Real>(self) -> Vec<Approx> {
        let doubt = |at: usize, approx: Approx| match self.doubtful[at / self.cols] {
            true => Approx { error: f64::INFINITY, ..approx },
            false => approx,
        };
        let totals = self.totals.into_iter().enumerate();
        totals.map(|(at, total)| doubt(at, total.rounded::<T>(usize::MAX))).collect()
    }
}
