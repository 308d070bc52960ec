//! Activations: their values and slopes at the awkward numbers.

use drlim::nn::{Network, Relu, Shape, Workspace};
use drlim::{Mat, MatMut};

use super::common::tiers;
use super::serial;

#[test]
fn the_rectifier_has_subgradient_0_at_0_and_keeps_a_nan() {
    for isa in tiers() {
        let cx = serial(isa);
        let net = Network::builder(Shape::flat(4)).layer("relu", Relu::new()).build(1).unwrap();
        let mut workspace = Workspace::training(&net, 1).unwrap();
        let x = [0.0_f32, -2.0, 3.0, f32::NAN];
        let y = net.forward(&cx, Mat::new(&x, 1, 4).unwrap(), &mut workspace).unwrap().row(0);
        assert!(y[..3] == [0.0, 0.0, 3.0] && y[3].is_nan(), "{y:?} on {isa}");
        let mut dx = [9.0; 4];
        let (dz, out) = (Mat::new(&[5.0; 4], 1, 4).unwrap(), MatMut::new(&mut dx, 1, 4).unwrap());
        net.backward(&cx, dz, &mut workspace, &mut [], Some(out)).unwrap();
        assert_eq!(dx, [0.0, 0.0, 5.0, 5.0], "{isa}");
    }
}
