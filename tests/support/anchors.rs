//! Losses of anchors in scalar `f64`, from their definitions and apart from the crate: loops over a matrix of
//! similarities, and gradients through W = dL/du. Calls on anchors are compared with it.

use drlim::Real;
use drlim::loss::{
    AnchorReduction, AnchorTotals, ArcFace, BlockAnchorLoss, Circle, CosFace, GeneralizedLifted,
    Measure, MultiSimilarity, Positives, Softmax,
};

/// A loss of anchors with its parameters, which both precisions hold exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnchorFormula {
    Softmax { scale: f64, positives: Positives, decoupled: bool },
    CosFace { scale: f64, margin: f64 },
    ArcFace { scale: f64, margin: f64 },
    MultiSimilarity { alpha: f64, beta: f64, base: f64 },
    Circle { margin: f64, gamma: f64 },
    GeneralizedLifted { positive_margin: f64, margin: f64 },
}

use AnchorFormula as A;

/// What one anchor costs.
pub struct AnchorCost {
    pub value: f64,
    /// dl/du of each pair.
    pub by_u: Vec<f64>,
    /// dl/dx times x of each pair.
    pub by_x: Vec<f64>,
}

impl AnchorFormula {
    /// The softmax of each kind, with margins or without, and the other losses.
    pub fn all(scale: f64) -> [Self; 11] {
        let softmax = |positives, decoupled| A::Softmax { scale, positives, decoupled };
        [
            softmax(Positives::Mean, false),
            softmax(Positives::Sum, false),
            softmax(Positives::Each, false),
            softmax(Positives::Mean, true),
            softmax(Positives::Sum, true),
            softmax(Positives::Each, true),
            A::CosFace { scale, margin: 0.25 },
            A::ArcFace { scale, margin: 0.5 },
            A::MultiSimilarity { alpha: 2.0, beta: 2.0 * scale, base: 0.5 },
            A::Circle { margin: 0.25, gamma: 2.0 * scale },
            A::GeneralizedLifted { positive_margin: 0.125, margin: 1.0 },
        ]
    }

    /// The crate's loss.
    pub fn loss<T: Real>(self) -> Box<dyn BlockAnchorLoss<T>> {
        let t = T::from_f64;
        match self {
            A::Softmax { scale, positives, decoupled } => {
                let softmax = Softmax::scale(t(scale)).unwrap().positives(positives);
                Box::new(if decoupled { softmax.decoupled() } else { softmax })
            }
            A::CosFace { scale, margin } => Box::new(CosFace::new(t(scale), t(margin)).unwrap()),
            A::ArcFace { scale, margin } => Box::new(ArcFace::new(t(scale), t(margin)).unwrap()),
            A::MultiSimilarity { alpha, beta, base } => {
                Box::new(MultiSimilarity::new(t(alpha), t(beta), t(base)).unwrap())
            }
            A::Circle { margin, gamma } => Box::new(Circle::new(t(margin), t(gamma)).unwrap()),
            A::GeneralizedLifted { positive_margin, margin } => {
                Box::new(GeneralizedLifted::new(t(positive_margin), t(margin)).unwrap())
            }
        }
    }

    pub fn scale(self) -> Option<f64> {
        match self {
            A::Softmax { scale, .. } | A::CosFace { scale, .. } | A::ArcFace { scale, .. } => {
                Some(scale)
            }
            _ => None,
        }
    }

    /// How fast an exponent changes with the similarity, at most.
    pub fn steepness(self) -> f64 {
        match self {
            A::Softmax { scale, .. } | A::CosFace { scale, .. } => scale,
            A::ArcFace { scale, .. } => 2.0 * scale,
            A::MultiSimilarity { alpha, beta, .. } => alpha.max(beta),
            A::Circle { gamma, .. } => 4.0 * gamma,
            A::GeneralizedLifted { .. } => 1.0,
        }
    }

    /// Whether the loss is defined for a measure, of rows of up to unit length.
    pub fn takes(self, measure: Measure) -> bool {
        // Both are made of cosines: an angle, and how far one is from 1.
        let of_cosines = matches!(self, A::ArcFace { .. } | A::Circle { .. });
        !of_cosines || !matches!(measure, Measure::Distance | Measure::Student)
    }

    /// The exponent of a pair, and its derivative; of the circle loss, what takes the place of that.
    pub fn exponent(self, u: f64, similar: bool) -> [f64; 2] {
        match self {
            A::Softmax { scale, .. } => [scale * u, scale],
            A::CosFace { scale, margin } => {
                [scale * (u - if similar { margin } else { 0.0 }), scale]
            }
            // Beyond pi the cosine would rise again: a straight line takes its place.
            A::ArcFace { scale, margin } if similar && u < -margin.cos() => {
                [scale * (u - margin * margin.sin()), scale]
            }
            A::ArcFace { scale, margin } if similar => {
                let angle = u.min(1.0).acos();
                let rate = match u < 1.0 {
                    true => (angle + margin).sin() / angle.sin(),
                    // By the rule for a row on its class.
                    false => margin.cos(),
                };
                [scale * (angle + margin).cos(), scale * rate]
            }
            A::ArcFace { scale, .. } => [scale * u, scale],
            A::MultiSimilarity { alpha, beta, base } => {
                let rate = if similar { -alpha } else { beta };
                [rate * (u - base), rate]
            }
            A::Circle { margin, gamma } => {
                let [factor, beyond] = match similar {
                    true => [-(1.0 + margin - u).max(0.0), u - (1.0 - margin)],
                    false => [(u + margin).max(0.0), u - margin],
                };
                [gamma * factor * beyond, gamma * factor]
            }
            A::GeneralizedLifted { positive_margin, .. } if similar => [-u - positive_margin, -1.0],
            A::GeneralizedLifted { margin, .. } => [u + margin, 1.0],
        }
    }

    /// The cost of an anchor with these similarities to its candidates.
    pub fn cost(self, pairs: &[(f64, bool)]) -> AnchorCost {
        let similar: Vec<bool> = pairs.iter().map(|&(_, similar)| similar).collect();
        let all: Vec<[f64; 2]> = pairs.iter().map(|&(u, kind)| self.exponent(u, kind)).collect();
        let x: Vec<f64> = all.iter().map(|&[x, _]| x).collect();
        let (value, by_exponent) = match self {
            A::Softmax { positives, decoupled, .. } => softmax(positives, decoupled, &x, &similar),
            A::CosFace { .. } | A::ArcFace { .. } => softmax(Positives::Mean, false, &x, &similar),
            _ => self.of_both_kinds(&x, &similar),
        };
        let by_u = by_exponent.iter().zip(&all).map(|(w, [_, rate])| w * rate).collect();
        let by_x = by_exponent.iter().zip(&x).map(|(w, x)| w * x).collect();
        AnchorCost { value, by_u, by_x }
    }

    /// Value and dl/dx where the kinds meet through their sums of powers alone.
    fn of_both_kinds(self, x: &[f64], similar: &[bool]) -> (f64, Vec<f64>) {
        let [of_p, of_g] = [true, false].map(|kind| {
            let of_kind = x.iter().zip(similar).filter(|(_, similar)| **similar == kind);
            of_kind.map(|(x, _)| x.exp()).sum::<f64>()
        });
        let has = [true, false].map(|kind| similar.contains(&kind));
        // The value, and by what a power is multiplied in its weight.
        let (value, [by_p, by_g]) = match self {
            A::MultiSimilarity { alpha, beta, .. } => (
                of_p.ln_1p() / alpha + of_g.ln_1p() / beta,
                [1.0 / (alpha * (1.0 + of_p)), 1.0 / (beta * (1.0 + of_g))],
            ),
            A::Circle { .. } if has == [true; 2] => {
                let share = 1.0 / (1.0 + of_p * of_g);
                ((of_p * of_g).ln_1p(), [of_g * share, of_p * share])
            }
            A::GeneralizedLifted { .. } => {
                let log = |has: bool, sum: f64| if has { sum.ln() } else { 0.0 };
                let value = (log(has[0], of_p) + log(has[1], of_g)).max(0.0);
                (value, if value > 0.0 { [1.0 / of_p, 1.0 / of_g] } else { [0.0; 2] })
            }
            _ => (0.0, [0.0; 2]),
        };
        let weight = |(x, similar): (&f64, &bool)| x.exp() * if *similar { by_p } else { by_g };
        (value, x.iter().zip(similar).map(weight).collect())
    }
}

/// Value and dl/ds of a softmax with logits s.
fn softmax(positives: Positives, decoupled: bool, s: &[f64], similar: &[bool]) -> (f64, Vec<f64>) {
    let (of_p, of_g): (Vec<usize>, Vec<usize>) = (0..s.len()).partition(|&j| similar[j]);
    let mut by_s = vec![0.0; s.len()];
    if of_p.is_empty() || decoupled && of_g.is_empty() {
        return (0.0, by_s);
    }
    if positives == Positives::Sum {
        let most = of_p.iter().fold(f64::NEG_INFINITY, |most, &j| most.max(s[j]));
        let power = |j: usize| (s[j] - most).exp();
        let [sum_p, sum_g] = [&of_p, &of_g].map(|of| of.iter().map(|&j| power(j)).sum::<f64>());
        let all = if decoupled { sum_g } else { sum_p + sum_g };
        for &j in &of_g {
            by_s[j] = power(j) / all;
        }
        for &j in &of_p {
            // A share of the softmax less a share of the similar pairs.
            by_s[j] = -power(j) / sum_p * if decoupled { 1.0 } else { sum_g / all };
        }
        let ratio = sum_g / sum_p;
        return (if decoupled { ratio.ln() } else { ratio.ln_1p() }, by_s);
    }
    let mut value = 0.0;
    let share = if positives == Positives::Mean { 1.0 / of_p.len() as f64 } else { 1.0 };
    for &own in &of_p {
        // What the pair is held against, beside itself.
        let rivals: Vec<usize> = match (positives, decoupled) {
            (Positives::Mean, false) => (0..s.len()).filter(|&j| j != own).collect(),
            _ => of_g.clone(),
        };
        let powers: Vec<f64> = rivals.iter().map(|&j| (s[j] - s[own]).exp()).collect();
        let ratio: f64 = powers.iter().sum();
        let all = if decoupled { ratio } else { 1.0 + ratio };
        value += share * if decoupled { ratio.ln() } else { ratio.ln_1p() };
        by_s[own] -= share * ratio / all;
        for (&j, power) in rivals.iter().zip(powers) {
            by_s[j] += share * power / all;
        }
    }
    (value, by_s)
}

/// The similarity of two rows.
pub fn similarity(measure: Measure, q: &[f64], k: &[f64]) -> f64 {
    match measure {
        Measure::Cosine => 1.0 - squared_distance(q, k) / 2.0,
        Measure::Dot => q.iter().zip(k).map(|(q, k)| q * k).sum(),
        Measure::Distance => -squared_distance(q, k).sqrt(),
        Measure::Student => -squared_distance(q, k).ln_1p(),
    }
}

fn squared_distance(q: &[f64], k: &[f64]) -> f64 {
    q.iter().zip(k).map(|(q, k)| (q - k) * (q - k)).sum()
}

/// Adds the gradient of a pair with dL/du = `w` to those of both rows. Returns the largest term.
pub fn add_gradient(
    measure: Measure,
    w: f64,
    [q, k]: [&[f64]; 2],
    [of_q, of_k]: [&mut [f64]; 2],
) -> f64 {
    let distance = squared_distance(q, k).sqrt();
    let w = match measure {
        Measure::Distance if distance == 0.0 => 0.0,
        Measure::Distance => w / distance,
        Measure::Student => 2.0 * w / (1.0 + distance * distance),
        _ => w,
    };
    let mut largest: f64 = 0.0;
    for c in 0..q.len() {
        let [by_q, by_k] = match measure {
            Measure::Dot => [w * k[c], w * q[c]],
            _ => [w * (k[c] - q[c]), w * (q[c] - k[c])],
        };
        of_q[c] += by_q;
        of_k[c] += by_k;
        largest = largest.max(by_q.abs()).max(by_k.abs());
    }
    largest
}

/// A call on anchors, as the oracle is asked.
#[derive(Clone, Copy)]
pub struct AnchorQuestion<'a> {
    pub formula: AnchorFormula,
    pub measure: Measure,
    pub reduction: AnchorReduction,
    pub scale: f64,
    /// A weight for each anchor, those of the first side first.
    pub weights: Option<&'a [f64]>,
    /// The sides whose rows are anchors.
    pub anchors: [bool; 2],
    /// Whether row i of the first side and row j of the other are similar; `None` where they are no pair.
    pub kind: &'a dyn Fn(usize, usize) -> Option<bool>,
    /// Whether a row of a side is in the batch at all.
    pub counted: &'a dyn Fn(usize, usize) -> bool,
}

/// What the call must give.
#[derive(Default)]
pub struct AnchorAnswer {
    pub value: f64,
    /// The sizes of all terms of the value together.
    pub value_size: f64,
    pub totals: [AnchorTotals; 2],
    /// Anchors of each side whose best candidates of both kinds are about as good.
    pub unsure: [u64; 2],
    /// The weighted value of each anchor.
    pub values: Vec<f64>,
    /// The exponents of each anchor's similar and dissimilar pairs.
    pub exponents: Vec<[Vec<f64>; 2]>,
    pub grads: [Vec<f64>; 2],
    /// The largest of all terms that elements of gradients are sums of.
    pub largest_term: f64,
    /// The derivative by the scale, and the sum of the sizes of its terms.
    pub grad_scale: [f64; 2],
}

impl AnchorQuestion<'_> {
    /// What a call gives for these rows.
    pub fn answer(&self, z: [&[Vec<f64>]; 2]) -> AnchorAnswer {
        let mut answer = AnchorAnswer::default();
        let mut by_u: [Vec<(usize, usize, f64)>; 2] = Default::default();
        let mut by_scale = [[0.0; 2]; 2];
        let mut sizes = [0.0; 2];
        for side in (0..2).filter(|&side| self.anchors[side]) {
            for anchor in 0..z[side].len() {
                let weight = self.weights.map_or(1.0, |weights| weights[answer.values.len()]);
                let at = |other: usize| if side == 0 { (anchor, other) } else { (other, anchor) };
                let mut pairs = Vec::new();
                for (i, j) in (0..z[1 - side].len()).map(at) {
                    if let Some(similar) = (self.kind)(i, j) {
                        pairs.push((i, j, similarity(self.measure, &z[0][i], &z[1][j]), similar));
                    }
                }
                let similarities: Vec<_> = pairs.iter().map(|&(_, _, u, kind)| (u, kind)).collect();
                let AnchorCost { value, by_u: of_pairs, by_x } = self.formula.cost(&similarities);
                for (&(i, j, ..), of_pair) in pairs.iter().zip(of_pairs) {
                    by_u[side].push((i, j, weight * of_pair));
                }
                for of_pair in by_x {
                    by_scale[side][0] += weight * of_pair;
                    by_scale[side][1] += (weight * of_pair).abs();
                }
                answer.values.push(weight * value);
                sizes[side] += (weight * value).abs();
                let exponents = [true, false].map(|kind| {
                    let of_kind = similarities.iter().filter(|&&(_, similar)| similar == kind);
                    of_kind.map(|&(u, _)| self.formula.exponent(u, kind)[0]).collect::<Vec<_>>()
                });
                if (self.counted)(side, anchor) {
                    self.count(&mut answer, side, [value, weight], &exponents);
                }
                answer.exponents.push(exponents);
            }
        }
        answer.grads = z.map(|z| vec![0.0; z.iter().map(Vec::len).sum()]);
        for side in 0..2 {
            let directions = if self.anchors == [true; 2] { 2.0 } else { 1.0 };
            let factor = factor(self.reduction, &answer.totals[side]) / directions;
            answer.value += factor * answer.totals[side].sum;
            answer.value_size += factor.abs() * sizes[side];
            let factor = factor * self.scale;
            for &(i, j, of_pair) in &by_u[side] {
                let (q, k) = (&z[0][i], &z[1][j]);
                let [of_q, of_k] = &mut answer.grads;
                let d = q.len();
                let of_rows = [&mut of_q[i * d..(i + 1) * d], &mut of_k[j * d..(j + 1) * d]];
                let term = add_gradient(self.measure, factor * of_pair, [q, k], of_rows);
                answer.largest_term = answer.largest_term.max(term);
            }
            let a = self.formula.scale().unwrap_or(f64::INFINITY);
            answer.grad_scale[0] += factor * by_scale[side][0] / a;
            answer.grad_scale[1] += factor.abs() * by_scale[side][1] / a;
        }
        answer
    }

    /// Adds an anchor to the totals of its side.
    fn count(
        &self,
        answer: &mut AnchorAnswer,
        side: usize,
        [value, weight]: [f64; 2],
        exponents: &[Vec<f64>; 2],
    ) {
        let largest = |of: &Vec<f64>| of.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(x));
        let [of_p, of_g] = exponents.each_ref().map(largest);
        let ranks = self.formula.scale().is_some();
        let totals = &mut answer.totals[side];
        totals.anchors += 1;
        totals.with_similar += u64::from(!exponents[0].is_empty());
        totals.active += u64::from(value != 0.0);
        totals.correct += u64::from(ranks && of_p > of_g);
        totals.similar += exponents[0].len() as u64;
        totals.pairs += exponents.iter().map(|of| of.len() as u64).sum::<u64>();
        totals.sum += weight * value;
        answer.unsure[side] += u64::from((of_p - of_g).abs() < 1e-3);
    }
}

/// What the sum of values is multiplied by.
fn factor(reduction: AnchorReduction, totals: &AnchorTotals) -> f64 {
    let count = match reduction {
        AnchorReduction::Sum => return 1.0,
        AnchorReduction::Factor(factor) => return factor,
        AnchorReduction::Mean => totals.anchors,
        AnchorReduction::MeanWithSimilar => totals.with_similar,
        AnchorReduction::MeanNonZero => totals.active,
        AnchorReduction::MeanOfPairs => totals.similar,
    };
    if count == 0 { 0.0 } else { 1.0 / count as f64 }
}
