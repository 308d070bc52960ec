//! Networks as their users see them: names, shapes, initial weights, layers of one's own.

use drlim::gradcheck;
use drlim::init::Init;
use drlim::nn::{
    Backward, Dense, Forward, InitialValue, Layer, Network, ParamSpec, Shape, Tanh, Workspace,
};
use drlim::{Cx, Mat, Par};

use super::gradients::assert_gradient;
use super::mixed_network;

#[test]
fn the_summary_names_every_layer_with_its_shape_and_parameters() {
    let net = mixed_network();
    let text = net.to_string();
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 2 + 8 + 1);
    assert_eq!(lines[2], ["c1", "Conv2d", "5", "maps", "4x4", "padding", "1", "5x20x22", "165"]);
    assert_eq!(lines[10], ["total", &net.params().len().to_string()]);
}

#[test]
fn parameters_have_names_shapes_and_values_in_order() {
    let net = mixed_network();
    let parameters: Vec<_> = net.parameters().collect();
    let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
    let expected = "c1.weight c1.bias c2.weight c2.bias s2.coefficient s2.bias c3.weight c3.bias \
                    f4.weight f4.bias";
    assert_eq!(names.join(" "), expected);
    assert_eq!(parameters[2].shape, [7, 5, 3, 3]);
    let values: Vec<f64> = parameters.iter().flat_map(|p| p.values.to_vec()).collect();
    assert_eq!(values, net.params());
}

#[test]
fn initial_weights_fill_the_bounds_of_their_scheme_and_repeat_with_the_seed() {
    let build = |init, seed| {
        Network::<f64>::builder(Shape::flat(300))
            .layer("f", Dense::new(100))
            .init(init)
            .build(seed)
            .unwrap()
    };
    for (init, variance) in
        [(Init::LeCun, 1.0 / 300.0), (Init::Glorot, 2.0 / 400.0), (Init::He, 2.0 / 300.0)]
    {
        let net = build(init, 1);
        let weights = net.parameters().next().unwrap().values.to_vec();
        let measured = weights.iter().map(|w| w * w).sum::<f64>() / weights.len() as f64;
        assert!((measured / variance - 1.0).abs() < 0.02, "{init:?}: {measured} for {variance}");
        assert!((init.bound(300, 100).powi(2) / 3.0 - variance).abs() < 1e-15);
        assert_eq!(net.params(), build(init, 1).params());
        assert_ne!(net.params(), build(init, 2).params());
        assert!(net.parameters().nth(1).unwrap().values.iter().all(|&bias| bias == 0.0));
    }
}

/// A layer of a user's own: y = s x with one trainable s, and room for everything that the trait
/// offers.
struct Scale {
    len: usize,
}

impl Layer<f64> for Scale {
    fn describe(&self) -> String {
        "Scale".to_owned()
    }
    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        self.len = input.len();
        Ok(input)
    }
    fn params(&self) -> Vec<ParamSpec> {
        vec![ParamSpec { name: "factor", shape: vec![1], initial: InitialValue::Constant(2.0) }]
    }
    fn scratch(&self, samples: usize) -> usize {
        samples
    }
    fn forward(&self, _: &Cx, pass: Forward<f64>) {
        for (y, x) in pass.y.iter_mut().zip(pass.x) {
            *y = pass.params[0] * x;
        }
    }
    fn backward(&self, _: &Cx, pass: Backward<f64>) {
        let samples = pass.x.len() / self.len;
        for (i, sum) in pass.scratch[..samples].iter_mut().enumerate() {
            let row = i * self.len..(i + 1) * self.len;
            *sum = pass.x[row.clone()].iter().zip(&pass.dy[row]).map(|(x, dy)| x * dy).sum();
        }
        pass.d_params[0] = pass.scratch[..samples].iter().sum();
        let Some(dx) = pass.dx else { return };
        for (dx, dy) in dx.iter_mut().zip(&*pass.dy) {
            *dx = pass.params[0] * dy;
        }
    }
}

#[test]
fn a_users_own_layer_trains_among_the_others() {
    assert_gradient(Scale { len: 0 }, Shape::flat(4), 3, 1);
    let mut net = Network::builder(Shape::flat(3))
        .layer("before", Dense::new(4))
        .layer("scale", Scale { len: 0 })
        .layer("after", Dense::new(2))
        .build(1)
        .unwrap();
    assert!(gradcheck::check_network(&mut net, 5, 1).unwrap().error < 1e-8);
}

/// Panics when its first input is negative.
struct Touchy;

impl Layer<f64> for Touchy {
    fn describe(&self) -> String {
        "Touchy".to_owned()
    }
    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        Ok(input)
    }
    fn forward(&self, _: &Cx, pass: Forward<f64>) {
        assert!(pass.x[0] >= 0.0, "a negative input");
        pass.y.copy_from_slice(pass.x);
    }
    fn backward(&self, _: &Cx, _: Backward<f64>) {}
}

#[test]
fn a_layer_that_panics_leaves_the_workspace_in_order() {
    let net = Network::builder(Shape::flat(2))
        .layer("before", Tanh::new())
        .layer("touchy", Touchy)
        .layer("after", Tanh::new())
        .build(1)
        .unwrap();
    let cx = Cx { par: Par::Serial, ..Cx::default() };
    for mut workspace in
        [Workspace::training(&net, 1).unwrap(), Workspace::inference(&net, 1).unwrap()]
    {
        let mut pass = |x: [f64; 2]| {
            let x = Mat::new(&x, 1, 2).unwrap();
            net.forward(&cx, x, &mut workspace).unwrap().row(0).to_vec()
        };
        let expected = pass([0.5, -0.5]);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pass([-1.0, 0.0])));
        assert!(panicked.is_err());
        assert_eq!(pass([0.5, -0.5]), expected);
    }
}
