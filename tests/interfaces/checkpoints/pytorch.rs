//! The same networks in PyTorch: it takes our files, we take its, and outputs agree.
//!
//! `DRLIM_PYTHON` says which Python is asked, and that the test must run; else it is `python3`, and the
//! test is skipped, with a line that says so, where that has no PyTorch.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use drlim::nn::{AvgPool2d, Conv2d, Dense, Network, Relu, Shape, Subsample2d, Tanh, Workspace};
use drlim::{Cx, Mat, checkpoint};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::support::{Element, Folder, Random};

const SCRIPT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interfaces/checkpoints/pytorch.py");
const SAMPLES: usize = 7;

/// The networks that the script builds too, by name.
fn networks<T: Element>(seed: u64) -> [(&'static str, Network<T>); 3] {
    let paper = Network::builder(Shape::image(1, 32, 32))
        .layer("c1", Conv2d::new(15, 6))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(3))
        .layer("tanh2", Tanh::new())
        .layer("c3", Conv2d::new(30, 9))
        .layer("tanh3", Tanh::new())
        .layer("f4", Dense::new(2));
    let lenet = Network::builder(Shape::image(1, 28, 28))
        .layer("conv1", Conv2d::new(20, 5))
        .layer("tanh1", Tanh::new())
        .layer("pool1", AvgPool2d::new(2))
        .layer("conv2", Conv2d::new(50, 5))
        .layer("tanh2", Tanh::new())
        .layer("pool2", AvgPool2d::new(2))
        .layer("ip1", Dense::new(500))
        .layer("relu1", Relu::new())
        .layer("ip2", Dense::new(10))
        .layer("feat", Dense::new(2));
    let odd = Network::builder(Shape::image(3, 11, 8))
        .layer("c1", Conv2d::rectangular(5, [4, 3]).stride(2).padding(1))
        .layer("tanh1", Tanh::new())
        .layer("p2", AvgPool2d::new(2).stride(1))
        .layer("f3", Dense::new(3));
    [("paper", paper), ("lenet", lenet), ("odd", odd)]
        .map(|(name, net)| (name, net.build(seed).unwrap()))
}

/// The outputs of a network.
fn outputs<T: Element>(net: &Network<T>, x: &[T]) -> Vec<T> {
    let mut workspace = Workspace::inference(net, SAMPLES).unwrap();
    let x = Mat::new(x, SAMPLES, net.input().len()).unwrap();
    let z = net.forward(&Cx::default(), x, &mut workspace).unwrap();
    z.as_slice().unwrap().to_vec()
}

fn dtype<T: Element>() -> Dtype {
    if size_of::<T>() == 4 { Dtype::F32 } else { Dtype::F64 }
}

/// A file of samples `x` and outputs `z`, with a row for each.
fn write_samples<T: Element>(path: &Path, x: &[T], z: &[T]) {
    let bytes = |values: &[T]| -> Vec<u8> {
        values.iter().flat_map(|v| v.bits().to_le_bytes()[..size_of::<T>()].to_vec()).collect()
    };
    let (x, z) = (bytes(x), bytes(z));
    let view = |bytes| {
        let width = <[u8]>::len(bytes) / size_of::<T>() / SAMPLES;
        TensorView::new(dtype::<T>(), vec![SAMPLES, width], bytes).unwrap()
    };
    let file = safetensors::serialize([("x", view(&x)), ("z", view(&z))], None).unwrap();
    fs::write(path, file).unwrap();
}

fn read_samples<T: Element>(path: &Path) -> [Vec<T>; 2] {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    ["x", "z"].map(|name| {
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), dtype::<T>(), "{name}");
        let values = tensor.data().chunks_exact(size_of::<T>()).map(|value| {
            let mut bits = [0; 8];
            bits[..size_of::<T>()].copy_from_slice(value);
            T::from_bits(u64::from_le_bytes(bits))
        });
        values.collect()
    })
}

/// Our networks with samples and what they make of them, for PyTorch.
fn write<T: Element>(folder: &Folder) {
    let mut random = Random::new(2);
    for (name, mut net) in networks::<T>(1) {
        // Biases and coefficients start as constants, and should be seen as well.
        net.params_mut().iter_mut().for_each(|param| *param += random.between(-0.1, 0.1));
        let x: Vec<T> =
            (0..SAMPLES * net.input().len()).map(|_| random.between(-1.0, 1.0)).collect();
        checkpoint::save(&net, folder.join(&format!("{name}-{}.safetensors", T::NAME))).unwrap();
        let samples = folder.join(&format!("{name}-{}-samples.safetensors", T::NAME));
        write_samples(&samples, &x, &outputs(&net, &x));
    }
}

/// PyTorch's networks, with samples and what it makes of them.
fn read<T: Element>(folder: &Folder, most: f64) {
    for (name, mut net) in networks::<T>(5) {
        let file = |ending: &str| folder.join(&format!("{name}-{}-{ending}.safetensors", T::NAME));
        checkpoint::load(&mut net, file("torch")).unwrap();
        let [x, expected] = read_samples::<T>(&file("torch-samples"));
        let z = outputs(&net, &x);
        assert_eq!(z.len(), expected.len());
        let differences = z.iter().zip(&expected).map(|(&z, &e)| (z - e).abs().to_f64());
        let worst = differences.fold(0.0, f64::max);
        println!("{name} {}: PyTorch's file gives PyTorch's outputs within {worst:.1e}", T::NAME);
        assert!(worst <= most, "{name} {}: {worst}, at most {most}", T::NAME);
    }
}

fn python(arguments: &[&str]) -> Result<Output, std::io::Error> {
    let python = std::env::var_os("DRLIM_PYTHON").unwrap_or_else(|| "python3".into());
    Command::new(python).args(arguments).output()
}

/// Why there is no PyTorch to ask.
fn missing() -> Option<String> {
    match python(&["-c", "import safetensors.torch, torch"]) {
        Err(error) => Some(error.to_string()),
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(said.lines().last().unwrap_or("it failed without a word").to_owned())
        }
    }
}

#[test]
fn pytorch_and_this_crate_load_each_others_files_and_compute_the_same() {
    if let Some(why) = missing() {
        assert!(std::env::var_os("DRLIM_PYTHON").is_none(), "DRLIM_PYTHON: {why}");
        // Printed past the test runner, which keeps what passing tests say to itself.
        let said = format!("SKIPPED: python3 has no PyTorch to compare with: {why}\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    }
    let folder = Folder::new("pytorch");
    write::<f32>(&folder);
    write::<f64>(&folder);
    let output = python(&[SCRIPT, folder.path().to_str().unwrap()]).unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read::<f32>(&folder, 1e-5);
    read::<f64>(&folder, 1e-10);
}
