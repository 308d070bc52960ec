//! Workspaces: how much they hold, and what they can be used for.

use drlim::nn::Workspace;
use drlim::{Cx, Mat};

use super::common::Random;
use super::{mixed_network, pass};

#[test]
fn inference_gives_the_same_outputs_as_training() {
    let net = mixed_network();
    let cx = Cx::default();
    let [expected, ..] = pass(&net, &cx, 6, 6);
    let mut random = Random::new(3);
    // Every second row of a wider matrix: the input may have gaps.
    let inputs = net.input().len();
    let x: Vec<f64> = (0..6 * inputs).map(|_| random.between(-1.0, 1.0)).collect();
    let mut spaced = vec![f64::NAN; 6 * (inputs + 3)];
    for (row, to) in x.chunks(inputs).zip(spaced.chunks_mut(inputs + 3)) {
        to[..inputs].copy_from_slice(row);
    }
    let mut workspace = Workspace::inference(&net, 6).unwrap();
    let view = Mat::strided(&spaced, 6, inputs, inputs + 3).unwrap();
    let z = net.forward(&cx, view, &mut workspace).unwrap();
    assert_eq!(z.as_slice().unwrap(), expected);
    assert!(workspace.bytes() < Workspace::training(&net, 6).unwrap().bytes());
}
