//! What does not fit together is refused, before anything is written.

use drlim::nn::{
    AvgPool2d, Conv2d, Dense, L2Normalize, MaxPool2d, Network, Shape, Subsample2d, Tanh, Workspace,
};
use drlim::{Cx, Error, Mat, MatMut};

use super::mixed_network;

#[test]
fn what_does_not_fit_is_refused_by_the_layer_s_name() {
    let message = |result: drlim::Result<Network<f32>>| match result {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    };
    let image = || Network::<f32>::builder(Shape::image(1, 8, 8));
    for (built, expected) in [
        (image().layer("c", Conv2d::new(2, 9)).build(1), "layer c: a kernel of 9 does not fit 8"),
        (image().layer("c", Conv2d::new(0, 3)).build(1), "layer c: a convolution needs"),
        (image().layer("c", Conv2d::new(1, 0)).build(1), "layer c: kernel 0 and stride 1"),
        (image().layer("c", Conv2d::new(1, 2).stride(0)).build(1), "kernel 2 and stride 0"),
        (image().layer("c", Conv2d::new(1, 2).padding(usize::MAX)).build(1), "overflow"),
        (image().layer("c", Conv2d::new(1, 2).padding(1 << 40)).build(1), "overflow"),
        (image().layer("c", Conv2d::new(usize::MAX / 8, 2)).build(1), "overflow"),
        (image().layer("p", AvgPool2d::new(9)).build(1), "layer p: a kernel of 9"),
        (image().layer("p", MaxPool2d::new(9)).build(1), "layer p: a kernel of 9"),
        (image().layer("p", MaxPool2d::new(2).stride(0)).build(1), "kernel 2 and stride 0"),
        (image().layer("p", Subsample2d::new(0)).build(1), "layer p: kernel 0"),
        (image().layer("f", Dense::new(0)).build(1), "layer f: a dense layer needs"),
        (image().layer("f", Dense::new(usize::MAX / 2)).build(1), "overflow"),
        (image().layer("f", Dense::new(1 << 48)).build(1), "overflow"),
        (image().layer("c", Conv2d::new(1 << 46, 1)).build(1), "overflow"),
        (
            Network::builder(Shape::flat(usize::MAX)).layer("p", AvgPool2d::new(1)).build(1),
            "overflow",
        ),
        (
            Network::builder(Shape::flat(1 << 40)).layer("n", L2Normalize::new()).build(1),
            "layer n: its size overflows",
        ),
        (image().layer("a", Tanh::new()).layer("a", Tanh::new()).build(1), "empty or taken"),
        (image().layer("", Tanh::new()).build(1), "empty or taken"),
        (Network::builder(Shape::flat(0)).build(1), "layer input"),
        (Network::builder(Shape::image(usize::MAX, 2, 2)).build(1), "layer input"),
    ] {
        let message = message(built);
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

fn narrow_enough(x: &[f64], inputs: usize) -> Mat<'_, f64> {
    Mat::new(&x[..inputs], 1, inputs).unwrap()
}

#[test]
fn passes_refuse_what_does_not_belong_together() {
    let cx = Cx::default();
    let net = mixed_network();
    let other = Network::builder(Shape::flat(3)).layer("f", Dense::new(3)).build(1).unwrap();
    let mut workspace = Workspace::training(&net, 2).unwrap();
    let inputs = net.input().len();
    let x = vec![0.0; 3 * inputs];
    let mut gradient = vec![7.0; net.params().len()];
    let dz = [0.0; 9];

    let narrow = Mat::new(&x[..2 * inputs - 2], 2, inputs - 1).unwrap();
    let error = net.forward(&cx, narrow, &mut workspace).unwrap_err();
    let expected = [2, inputs];
    assert!(
        matches!(error, Error::Shape { arg: "x", expected: e, .. } if e == expected),
        "{error}"
    );
    let many = Mat::new(&x, 3, inputs).unwrap();
    let error = net.forward(&cx, many, &mut workspace).unwrap_err();
    assert!(matches!(error, Error::Length { arg: "samples", got: 3, expected: 2, .. }), "{error}");
    let three = Mat::new(&x[..3], 1, 3).unwrap();
    let error = other.forward(&cx, three, &mut workspace).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    // Not even a workspace of a network of the same shapes.
    let error = mixed_network().forward(&cx, narrow_enough(&x, inputs), &mut workspace);
    assert!(matches!(error.unwrap_err(), Error::Network { .. }));

    let two = Mat::new(&x[..2 * inputs], 2, inputs).unwrap();
    net.forward(&cx, two, &mut workspace).unwrap();
    let dz_of = |rows| Mat::new(&dz[..rows * 3], rows, 3).unwrap();
    let error = net.backward(&cx, dz_of(1), &mut workspace, &mut gradient, None).unwrap_err();
    assert!(matches!(error, Error::Shape { arg: "dz", got: [1, 3], .. }), "{error}");
    let short = &mut gradient[1..];
    let error = net.backward(&cx, dz_of(2), &mut workspace, short, None).unwrap_err();
    assert!(matches!(error, Error::Length { arg: "gradient", .. }), "{error}");
    let mut dx = vec![7.0; inputs];
    let out = MatMut::new(&mut dx, 1, inputs).unwrap();
    let error = net.backward(&cx, dz_of(2), &mut workspace, &mut gradient, Some(out)).unwrap_err();
    assert!(matches!(error, Error::Shape { arg: "dx", .. }), "{error}");
    assert!(gradient.iter().chain(&dx).all(|&g| g == 7.0), "nothing was written");

    let mut inference = Workspace::inference(&net, 2).unwrap();
    net.forward(&cx, two, &mut inference).unwrap();
    let error = net.backward(&cx, dz_of(2), &mut inference, &mut gradient, None).unwrap_err();
    assert!(matches!(error, Error::Shape { arg: "dz", .. }), "{error}");
    assert!(Workspace::training(&net, usize::MAX / 4).is_err());
}
