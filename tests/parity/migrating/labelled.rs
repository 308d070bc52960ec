//! A labelled batch: its pairs and its triplets, all of them or the hard ones.

#![forbid(unsafe_code)]

use drlim::batch::Mining;
use drlim::loss::{BlockTripletLoss, TripletObjective};

use crate::migrating::calls::{by_mining, by_triplets};
use crate::migrating::compare::{Kinks, compare};
use crate::migrating::formulas::{COLS, distance, mean};
use crate::support::Element;
use crate::support::element::wide;

/// Classes of a labelled batch; the last one has a single member.
pub const LABELS: [i64; 10] = [0, 1, 0, 2, 1, 0, 2, 0, 1, 3];

/// Pairs (i, j) of two members of the labelled batch, in both orders, of one class or of two.
pub fn ordered_pairs(same: bool) -> Vec<(usize, usize)> {
    let members = 0..LABELS.len();
    let all = members.clone().flat_map(|i| members.clone().map(move |j| (i, j)));
    all.filter(|&(i, j)| i != j && (LABELS[i] == LABELS[j]) == same).collect()
}

/// All (anchor, positive, negative) of the first `rows` of the labelled batch.
pub fn all_triplets(rows: usize) -> Vec<[usize; 3]> {
    let mut triplets = Vec::new();
    for (a, p) in ordered_pairs(true) {
        let negatives = (0..rows).filter(|&n| LABELS[n] != LABELS[a]);
        triplets.extend(negatives.filter(|_| a.max(p) < rows).map(|n| [a, p, n]));
    }
    triplets
}

/// For each row its farthest of the same class (itself, where it is alone) and the nearest of
/// another.
fn hardest(d: &dyn Fn(usize, usize) -> f64, kinks: &Kinks) -> Vec<[usize; 3]> {
    let members = 0..LABELS.len();
    let of = |value: f64, a: usize| {
        members.clone().find(|&i| d(a, i) == value).expect("a distance of the row")
    };
    let triplet = |a: usize| {
        let same = members.clone().filter(|&i| LABELS[i] == LABELS[a] && i != a);
        let others = members.clone().filter(|&i| LABELS[i] != LABELS[a]);
        let farthest = kinks.largest(same.map(|i| d(a, i))).max(0.0);
        [a, of(farthest, a), of(kinks.smallest(others.map(|i| d(a, i))), a)]
    };
    members.clone().map(triplet).collect()
}

/// For each ordered pair of a class the nearest of another class that is farther than the pair,
/// or else the farthest.
fn semi_hard(d: &dyn Fn(usize, usize) -> f64, kinks: &Kinks) -> Vec<[usize; 3]> {
    let members = 0..LABELS.len();
    let triplet = |(a, p): (usize, usize)| {
        let others = members.clone().filter(|&i| LABELS[i] != LABELS[a]);
        let outside = others.clone().filter(|&i| kinks.less(d(a, p), d(a, i)));
        let nearest = kinks.smallest(outside.map(|i| d(a, i)));
        let negative = match nearest.is_finite() {
            true => nearest,
            false => kinks.largest(others.map(|i| d(a, i))),
        };
        [a, p, members.clone().find(|&i| d(a, i) == negative).expect("a distance of the row")]
    };
    ordered_pairs(true).into_iter().map(triplet).collect()
}

/// Triplets of a batch, given its distances.
type Find = fn(&dyn Fn(usize, usize) -> f64, &Kinks) -> Vec<[usize; 3]>;

/// The hard triplets of a batch, and the call that finds them.
pub struct Mined {
    find: Find,
    call: Option<Mining>,
}

/// Those of no call: it leaves out the row that is alone in its class.
pub const HARDEST: Mined = Mined { find: hardest, call: None };

pub const SEMI_HARD: Mined = Mined { find: semi_hard, call: Some(Mining::SemiHard) };

/// Compares the mean over the triplets that are mined: under `loss`, with the hinge on the
/// distances to some power.
pub fn compare_mined<T: Element>(
    row: &str,
    size: f64,
    mined: Mined,
    loss: &dyn BlockTripletLoss<T>,
    power: i32,
    margin: f64,
) {
    compare::<T>(
        row,
        [LABELS.len(), COLS],
        size,
        |cx, z| {
            let objective = TripletObjective::mean(loss);
            if let Some(mining) = mined.call {
                return by_mining(cx, &objective, z, mining);
            }
            let rows: Vec<Vec<f64>> = z.iter().map(wide).collect();
            let triplets = (mined.find)(&|i, j| distance(&rows[i], &rows[j]), &Kinks::new());
            by_triplets(cx, &objective, z, &triplets)
        },
        |x, kinks| {
            let d = |i: usize, j: usize| distance(x[i], x[j]).powi(power);
            let cost = |[a, p, n]: [usize; 3]| kinks.relu(d(a, p) - d(a, n) + margin);
            mean(&(mined.find)(&d, kinks).into_iter().map(cost).collect::<Vec<_>>())
        },
    );
}
