//! Layers, optimizers, observers and schedules of a user's own that panic in a network, a step, a fit or
//! while it is saved: parameters are those of the last step, files the old ones, and training goes on as
//! if nothing had happened.

use std::ops::ControlFlow;
use std::sync::Arc;

use drlim::batch::{Anchors, CrossSimilar};
use drlim::loss::{AnchorObjective, Contrastive, Measure, Objective, Softmax};
use drlim::nn::{Backward, Dense, Forward, Layer, Network, Relu, Shape, Workspace};
use drlim::optim::{Optimizer, Resume, Sgd};
use drlim::pairs::{BatchSampler, Sampler};
use drlim::siamese::{Fit, Siamese, Towers};
use drlim::{Cx, Error, Mat, MatMut, Result, Similar, checkpoint, gradcheck};

use crate::panics::{Patience, panics};
use crate::support::{Folder, tiers};

/// y = x, as long as it has patience: for passes forward, and for passes backward.
#[derive(Clone)]
struct Identity {
    forward: Arc<Patience>,
    backward: Arc<Patience>,
}

impl Identity {
    fn new(forward: usize, backward: usize) -> Self {
        let [forward, backward] = [forward, backward].map(|ends| Arc::new(Patience::until(ends)));
        Identity { forward, backward }
    }
}

impl Layer<f64> for Identity {
    fn describe(&self) -> String {
        "Identity".into()
    }
    fn connect(&mut self, input: Shape) -> std::result::Result<Shape, String> {
        Ok(input)
    }
    fn forward(&self, _: &Cx, pass: Forward<f64>) {
        let half = pass.y.len() / 2;
        pass.y[..half].copy_from_slice(&pass.x[..half]);
        self.forward.ask();
        pass.y.copy_from_slice(pass.x);
    }
    fn backward(&self, _: &Cx, pass: Backward<f64>) {
        if let Some(dx) = pass.dx {
            dx.copy_from_slice(pass.dy);
        }
        pass.dy.fill(f64::NAN);
        self.backward.ask();
    }
}

/// Gradient descent, as long as it has patience: for steps, for telling its moments, and for taking them.
struct Weary {
    sgd: Sgd<f64>,
    steps: Patience,
    moments: Patience,
    restores: Patience,
}

impl Weary {
    fn new(steps: usize, moments: usize, restores: usize) -> Self {
        let [steps, moments, restores] = [steps, moments, restores].map(Patience::until);
        Weary { sgd: Sgd::new().momentum(0.5).unwrap(), steps, moments, restores }
    }
}

impl Optimizer<f64> for Weary {
    fn step(&mut self, cx: &Cx, rate: f64, params: &mut [f64], grad: &[f64]) -> Result<()> {
        self.steps.ask();
        self.sgd.step(cx, rate, params, grad)
    }
}

impl Resume<f64> for Weary {
    fn steps(&self) -> u64 {
        self.sgd.steps()
    }
    fn moments(&self) -> Vec<(&'static str, &[f64])> {
        self.moments.ask();
        self.sgd.moments()
    }
    fn restore(&mut self, steps: u64, moments: Vec<Vec<f64>>) -> Result<()> {
        self.restores.ask();
        self.sgd.restore(steps, moments)
    }
}

const NEVER: usize = usize::MAX;

fn network(identity: &Identity) -> Network<f64> {
    Network::builder(Shape::flat(2))
        .layer("first", Dense::new(4))
        .layer("relu", Relu::new())
        .layer("identity", identity.clone())
        .layer("last", Dense::new(2))
        .build(3)
        .unwrap()
}

/// Eight points of two classes.
const POINTS: [f64; 16] =
    [0.0, 0.1, 0.9, 1.0, 0.2, 0.0, 1.1, 0.8, 0.1, 0.2, 1.0, 1.1, 0.0, 0.3, 0.8, 0.9];
const LABELS: Similar = Similar::Labels(&[0, 1, 0, 1, 0, 1, 0, 1]);

fn points() -> Mat<'static, f64> {
    Mat::new(&POINTS, 8, 2).unwrap()
}

#[test]
fn a_pass_that_panics_is_followed_by_the_right_one() {
    for isa in tiers() {
        let cx = Cx { isa, ..Cx::default() };
        let dz = [0.5; 6];
        let (x, dz) = (points().rows_range(0, 3), Mat::new(&dz, 3, 2).unwrap());
        let run = |net: &Network<f64>, workspace: &mut Workspace<f64>| {
            let z = net.forward(&cx, x, workspace).unwrap();
            z.iter().flatten().copied().collect::<Vec<_>>()
        };
        let back = |net: &Network<f64>, workspace: &mut Workspace<f64>| {
            let (mut gradient, mut dx) = (vec![f64::NAN; net.params().len()], [f64::NAN; 6]);
            let to = Some(MatMut::new(&mut dx, 3, 2).unwrap());
            net.backward(&cx, dz, workspace, &mut gradient, to).map(|()| (gradient, dx))
        };
        let right = network(&Identity::new(NEVER, NEVER));
        let mut workspace = Workspace::training(&right, 3).unwrap();
        let (z, gradients) = (run(&right, &mut workspace), back(&right, &mut workspace).unwrap());

        let net = network(&Identity::new(1, 0));
        let mut workspace = Workspace::training(&net, 3).unwrap();
        assert_eq!(run(&net, &mut workspace), z);
        panics(|| run(&net, &mut workspace));
        // Nothing has gone forward that could go backward.
        let refused = back(&net, &mut workspace).unwrap_err();
        assert!(matches!(refused, Error::Shape { arg: "dz", .. }), "{refused}");
        assert_eq!(run(&net, &mut workspace), z);
        panics(|| back(&net, &mut workspace));
        assert_eq!(back(&net, &mut workspace).unwrap(), gradients);
        // So does the next pass, and one without gradients of the input.
        assert_eq!((run(&net, &mut workspace), back(&net, &mut workspace)), (z, Ok(gradients)));
    }
}

#[test]
fn a_check_that_panics_gives_a_network_its_parameters_back() {
    for ends_at in [0, 1, 2, 7] {
        let mut net = network(&Identity::new(ends_at, NEVER));
        panics(|| gradcheck::check_network(&mut net, 2, 1));
        assert_eq!(net.params(), network(&Identity::new(0, 0)).params(), "ends at {ends_at}");
    }
}

/// A softmax of distances: the points are not of unit length.
fn softmax() -> Softmax<f64> {
    Softmax::scale(2.0).unwrap()
}

fn of_anchors(softmax: &Softmax<f64>) -> AnchorObjective<'_, f64> {
    AnchorObjective::mean(softmax).measured(Measure::Distance)
}

/// Kinds of steps.
const KINDS: usize = 4;

/// A step of each kind, on other pairs each time.
fn step<O: Optimizer<f64>>(siamese: &mut Siamese<f64, O>, kind: usize) -> Result<f64> {
    let (cx, loss) = (Cx::default(), Contrastive::new(1.0).unwrap());
    let (objective, data, rate) = (Objective::mean(&loss), points(), 0.1);
    let outcome = match kind {
        0 => {
            let (x1, x2) = (data.rows_range(0, 3), data.rows_range(3, 6));
            siamese.step(&cx, &objective, rate, x1, x2, &[true, false, true])
        }
        1 => {
            let pairs = [(0, 1), (2, 0), (5, 7)];
            siamese.step_pairs(&cx, &objective, rate, data, &pairs, &[false, true, true])
        }
        2 => {
            let (softmax, samples) = (softmax(), [0, 3, 5, 6]);
            let objective = of_anchors(&softmax);
            let outcome = siamese.step_batch(&cx, &objective, rate, data, &samples, LABELS);
            return outcome.map(|outcome| outcome.value);
        }
        _ => siamese.step_batch(&cx, &objective, rate, data, &[4, 1, 2, 7], LABELS),
    };
    outcome.map(|outcome| outcome.value)
}

#[test]
fn a_step_that_panics_changes_nothing_and_the_next_is_right() {
    for kind in 0..KINDS {
        for who in 0..3 {
            let ends_at = |this: usize| if who == this { 1 } else { NEVER };
            let identity = Identity::new(ends_at(0), ends_at(1));
            let weary = Weary::new(ends_at(2), NEVER, NEVER);
            let mut siamese = Siamese::new(network(&identity), weary, 3).unwrap();
            let never = network(&Identity::new(NEVER, NEVER));
            let right = Weary::new(NEVER, NEVER, NEVER);
            let mut right = Siamese::new(never, right, 3).unwrap();
            assert_eq!(step(&mut siamese, kind), step(&mut right, kind));
            panics(|| step(&mut siamese, (kind + 1) % KINDS));
            assert_eq!(siamese.net().params(), right.net().params(), "step {kind}, {who}");
            assert_eq!(siamese.steps(), 1);
            for kind in [kind, 0, 1, 2, 3] {
                assert_eq!(step(&mut siamese, kind), step(&mut right, kind), "{kind}, {who}");
                assert_eq!(siamese.gradient(), right.gradient(), "step {kind}, {who}");
                assert_eq!(siamese.net().params(), right.net().params(), "step {kind}, {who}");
            }
        }
    }
}

/// A step of two towers, on other rows each time.
fn step_towers<O: Optimizer<f64>>(towers: &mut Towers<f64, O>, at: usize) -> Result<f64> {
    let (softmax, x) = (softmax(), [points().rows_range(0, 3), points().rows_range(at, at + 4)]);
    let (objective, similar) = (of_anchors(&softmax), CrossSimilar::Position { first_key: 1 });
    let outcome = towers.step(&Cx::default(), &objective, 0.1, x, similar, Anchors::Both);
    outcome.map(|outcome| outcome.value)
}

#[test]
fn a_step_of_towers_that_panics_changes_nothing_and_the_next_is_right() {
    // Layers of either tower, or the first tower's optimizer.
    for who in 0..5 {
        let ends_at = |this: usize| if who == this { 1 } else { NEVER };
        let tired = [Identity::new(ends_at(0), ends_at(1)), Identity::new(ends_at(2), ends_at(3))];
        let never = || Weary::new(NEVER, NEVER, NEVER);
        let optimizers = [Weary::new(ends_at(4), NEVER, NEVER), never()];
        let mut towers = Towers::new(tired.each_ref().map(network), optimizers, 4).unwrap();
        let nets = [(); 2].map(|()| network(&Identity::new(NEVER, NEVER)));
        let mut right = Towers::new(nets, [never(), never()], 4).unwrap();
        let params =
            |towers: &Towers<f64, Weary>| towers.nets().each_ref().map(|net| net.params().to_vec());
        assert_eq!(step_towers(&mut towers, 0), step_towers(&mut right, 0));
        panics(|| step_towers(&mut towers, 1));
        assert_eq!(params(&towers), params(&right), "who {who}");
        for at in [1, 2, 4] {
            assert_eq!(step_towers(&mut towers, at), step_towers(&mut right, at), "who {who}");
            assert_eq!(params(&towers), params(&right), "who {who}, from {at}");
        }
    }
}

/// Who panics in a fit, at the third time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Nobody,
    LayerForward,
    LayerBackward,
    Optimizer,
    Observer,
    Schedule,
}

/// Epochs of a fit of batches of four, some of them together.
const EPOCHS: usize = 3;

/// What batches are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Drawn {
    Pairs,
    /// Samples, for all their pairs.
    Samples,
    /// Samples as anchors.
    Anchors,
}

/// A run of all epochs. Where somebody panics it goes on after the last step that was done, with the
/// sampler where it stood then. Returns the parameters.
fn fit(who: Who, batches: usize, drawn: Drawn) -> Vec<f64> {
    let ends_at = |this| if who == this { 2 * batches } else { NEVER };
    let identity = Identity::new(ends_at(Who::LayerForward), ends_at(Who::LayerBackward));
    let steps = if who == Who::Optimizer { 2 } else { NEVER };
    let weary = Weary::new(steps, NEVER, NEVER);
    let mut siamese = Siamese::new(network(&identity), weary, 4).unwrap();
    let (cx, loss) = (Cx::default(), Contrastive::new(1.0).unwrap());
    let (objective, softmax) = (Objective::mean(&loss), softmax());
    let once = |this| Patience::until(if who == this { 2 } else { NEVER });
    let (observer, schedule) = (once(Who::Observer), once(Who::Schedule));
    let rate = |step: u64| {
        schedule.ask();
        0.1 / (1.0 + step as f64)
    };
    // One sampler tells where the other is to go on: it draws the batches of each step that is done.
    let run = |siamese: &mut Siamese<f64, Weary>| {
        let fit = Fit::new(EPOCHS, &rate).accumulate(batches).unwrap();
        let fit = fit.first_step(siamese.steps());
        let done = siamese.steps() as usize * batches;
        let observe = |_: &_| {
            observer.ask();
            ControlFlow::Continue(())
        };
        if drawn == Drawn::Pairs {
            let mut sampler = Sampler::new(LABELS, 4, 1).unwrap();
            (0..done).for_each(|_| sampler.next_batch(&mut Vec::new(), &mut Vec::new()));
            siamese.fit(&cx, &objective, points(), &mut sampler, fit, observe)
        } else {
            let mut sampler = BatchSampler::new(LABELS, 4, 1).unwrap();
            (0..done).for_each(|_| sampler.next_batch(&mut Vec::new()));
            match drawn {
                Drawn::Anchors => {
                    let objective = of_anchors(&softmax);
                    siamese.fit_batches(&cx, &objective, points(), &mut sampler, fit, observe)
                }
                _ => siamese.fit_batches(&cx, &objective, points(), &mut sampler, fit, observe),
            }
        }
    };
    if who != Who::Nobody {
        panics(|| run(&mut siamese));
        // The observer is told of an epoch's end too.
        let done = if who == Who::Observer && drawn == Drawn::Pairs { 3 } else { 2 };
        assert_eq!(siamese.steps(), done, "{who:?}: steps done");
    }
    run(&mut siamese).unwrap();
    siamese.into_net().params().to_vec()
}

#[test]
fn a_fit_in_which_somebody_panics_goes_on_to_the_same_bits() {
    use Who::{LayerBackward, LayerForward, Nobody, Observer, Optimizer, Schedule};
    // An epoch of the one sampler is a multiple of two batches, of the other one step of two.
    let all = [Drawn::Pairs, Drawn::Samples, Drawn::Anchors];
    for (batches, drawn) in all.into_iter().flat_map(|drawn| [(1, drawn), (2, drawn)]) {
        let right = fit(Nobody, batches, drawn);
        for who in [LayerForward, LayerBackward, Optimizer, Observer, Schedule] {
            let case = format!("{who:?}, steps of {batches} batches of {drawn:?}");
            assert_eq!(fit(who, batches, drawn), right, "{case}");
        }
    }
}

#[test]
fn samples_are_embedded_after_a_panic() {
    let mut siamese = Siamese::new(network(&Identity::new(2, NEVER)), Sgd::new(), 1).unwrap();
    let mut z = [[0.0; 16]; 2];
    let mut embed = |z: &mut [f64]| {
        siamese.embed(&Cx::default(), points(), MatMut::new(z, 8, 2).unwrap()).unwrap();
    };
    panics(|| embed(&mut z[0]));
    embed(&mut z[0]);
    embed(&mut z[1]);
    assert_eq!(z[0], z[1]);
}

#[test]
fn a_panic_while_saving_or_loading_leaves_the_old_file_and_the_old_run() {
    let folder = Folder::new("tired");
    let path = folder.join("run.safetensors");
    let siamese = |moments, restores| {
        let net = network(&Identity::new(NEVER, NEVER));
        Siamese::new(net, Weary::new(NEVER, moments, restores), 3).unwrap()
    };
    let mut old = siamese(NEVER, NEVER);
    step(&mut old, 0).unwrap();
    checkpoint::save_training(&old, None, &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();

    let mut run = siamese(0, 0);
    step(&mut run, 1).unwrap();
    panics(|| checkpoint::save_training(&run, None, &path));
    assert_eq!((folder.names(), std::fs::read(&path).unwrap()), (vec![name()], bytes.clone()));
    let (params, steps) = (run.net().params().to_vec(), run.steps());
    panics(|| checkpoint::load_training(&mut run, &path).map(drop));
    assert_eq!((run.net().params(), run.steps()), (&params[..], steps));

    // It has more patience from here on.
    checkpoint::load_training(&mut run, &path).unwrap();
    assert_eq!(run.net().params(), old.net().params());
    for kind in 0..KINDS {
        assert_eq!(step(&mut run, kind), step(&mut old, kind));
    }
    assert_eq!(run.net().params(), old.net().params());
    checkpoint::save_training(&run, None, &path).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(folder.names(), [name()]);
}

fn name() -> String {
    "run.safetensors".into()
}
