//! A user's crate with a loss of pairs, one of triplets and a layer of its own. `main.rs` compiles it,
//! and looks for kernels in what comes out; it never runs.

use drlim::batch::{
    AllPairsScratch, RowsOut, TripletRows, TripletRowsOut, all_pairs, rows, triplet_rows,
};
use drlim::loss::{Objective, PairLoss, TripletLoss, TripletObjective};
use drlim::nn::{Backward, Forward, Layer, Network, Shape, Workspace};
use drlim::simd::Simd;
use drlim::{Cx, Mat, Real, Result, Similar};

pub struct OwnPairs;

impl<T: Real> PairLoss<T> for OwnPairs {
    #[inline(always)]
    fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let gap = s.hinge(s.splat(T::ONE) - d2);
        (s.select(similar, d2, gap * gap), s.select(similar, s.splat(T::ONE), -gap))
    }
}

pub struct OwnTriplets;

impl<T: Real> TripletLoss<T> for OwnTriplets {
    #[inline(always)]
    fn eval<S: Simd<T>>(&self, s: S, [ap, an, _]: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let (one, zero) = (s.splat(T::ONE), s.splat(T::ZERO));
        (s.hinge(ap - an), [one, -one, zero])
    }
}

pub struct OwnLayer;

impl<T: Real> Layer<T> for OwnLayer {
    fn describe(&self) -> String {
        "OwnLayer".into()
    }
    fn connect(&mut self, input: Shape) -> std::result::Result<Shape, String> {
        Ok(input)
    }
    fn forward(&self, _: &Cx, pass: Forward<T>) {
        pass.y.copy_from_slice(pass.x);
    }
    fn backward(&self, _: &Cx, pass: Backward<T>) {
        if let Some(dx) = pass.dx {
            dx.copy_from_slice(pass.dy);
        }
    }
}

pub fn in_f32(x: &[f32]) -> Result<f64> {
    everything(x)
}

pub fn in_f64(x: &[f64]) -> Result<f64> {
    everything(x)
}

fn everything<T: Real>(x: &[T]) -> Result<f64> {
    let cx = &Cx::default();
    let z = Mat::new(x, 2, 4)?;
    let objective = &Objective::mean(&OwnPairs);
    let similar = Similar::Labels(&[1, 2]);
    let mut sum = rows(cx, objective, z, z, &[true, false], RowsOut::none())?.value;
    sum += all_pairs(cx, objective, z, similar, None, &mut AllPairsScratch::new())?.value;
    let (objective, by_rows) = (&TripletObjective::mean(&OwnTriplets), TripletRows::new(z, z, z)?);
    sum += triplet_rows(cx, objective, by_rows, TripletRowsOut::none())?.value;
    let net = Network::builder(Shape::flat(4)).layer("own", OwnLayer).build(1)?;
    net.forward(cx, z, &mut Workspace::inference(&net, 2)?)?;
    Ok(sum)
}
