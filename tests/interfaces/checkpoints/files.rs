//! What a file holds, and that it comes back.

use std::fs;

use drlim::checkpoint;
use safetensors::{Dtype, SafeTensors};

use crate::checkpoints::{bits, network, scramble};
use crate::support::{Element, Folder};

fn come_back<T: Element>() {
    let folder = Folder::new(&format!("come-back-{}", T::NAME));
    let path = folder.join("net.safetensors");
    for seed in 0..20 {
        let mut saved = network::<T>(1);
        scramble(&mut saved, seed);
        checkpoint::save(&saved, &path).unwrap();
        let mut loaded = network::<T>(2);
        checkpoint::load(&mut loaded, &path).unwrap();
        assert_eq!(bits(&loaded), bits(&saved));
        let mut loaded = network::<T>(3);
        checkpoint::from_bytes(&mut loaded, &fs::read(&path).unwrap()).unwrap();
        assert_eq!(bits(&loaded), bits(&saved));
    }
    assert_eq!(folder.names(), ["net.safetensors"], "nothing else is left");
}

#[test]
fn parameters_come_back_to_the_bit() {
    come_back::<f32>();
    come_back::<f64>();
}

fn hold<T: Element>(dtype: Dtype) {
    let mut net = network::<T>(1);
    scramble(&mut net, 1);
    let bytes = checkpoint::to_bytes(&net).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shapes: [(&str, &[usize]); 10] = [
        ("c1.weight", &[3, 1, 3, 3]),
        ("c1.bias", &[3]),
        ("s2.coefficient", &[3]),
        ("s2.bias", &[3]),
        ("c3.weight", &[4, 3, 2, 3]),
        ("c3.bias", &[4]),
        ("f5.weight", &[5, 24]),
        ("f5.bias", &[5]),
        ("f6.weight", &[2, 5]),
        ("f6.bias", &[2]),
    ];
    assert_eq!(file.len(), shapes.len());
    for (parameter, (name, shape)) in net.parameters().zip(shapes) {
        let tensor = file.tensor(name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (dtype, shape), "{name}");
        let expected: Vec<u8> = parameter
            .values
            .iter()
            .flat_map(|value| value.bits().to_le_bytes()[..size_of::<T>()].to_vec())
            .collect();
        assert_eq!(tensor.data(), expected, "{name}");
    }
}

#[test]
fn a_file_holds_the_state_dict_and_nothing_else() {
    hold::<f32>(Dtype::F32);
    hold::<f64>(Dtype::F64);
}

#[test]
fn the_header_says_in_one_value_which_layers_they_are() {
    let bytes = checkpoint::to_bytes(&network::<f32>(1)).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let about = header.metadata().as_ref().unwrap();
    assert_eq!(about.len(), 1, "several would be written in random order");
    let expected = "input 1x12x12
c1: Conv2d 3 maps 3x3 -> 3x10x10
tanh1: Tanh -> 3x10x10
s2: Subsample2d 2x2 -> 3x5x5
c3: Conv2d 4 maps 2x3 padding 1 -> 4x6x5
relu3: Relu -> 4x6x5
p4: AvgPool2d 2x2 stride 2 -> 4x3x2
f5: Dense 5 -> 5
f6: Dense 2 -> 2";
    assert_eq!(about["drlim"], expected);
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let folder = Folder::new("same-bytes");
    for n in 0..10 {
        checkpoint::save(&network::<f32>(7), folder.join(&n.to_string())).unwrap();
        assert_eq!(
            fs::read(folder.join(&n.to_string())).unwrap(),
            checkpoint::to_bytes(&network::<f32>(7)).unwrap()
        );
    }
}

/// The tensors of a file again, in a file that says other things of itself.
pub fn with_metadata(bytes: &[u8], metadata: &[(&str, &str)]) -> Vec<u8> {
    let tensors = SafeTensors::deserialize(bytes).unwrap().tensors();
    let pairs = metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    let about = (!metadata.is_empty()).then(|| pairs.collect());
    safetensors::serialize(tensors, about).unwrap()
}

#[test]
fn a_file_that_does_not_say_its_layers_is_loaded_by_names_shapes_and_types() {
    let saved = network::<f64>(1);
    let bytes = checkpoint::to_bytes(&saved).unwrap();
    for metadata in [&[][..], &[("format", "pt")], &[("format", "pt"), ("network", "other")]] {
        let mut loaded = network::<f64>(2);
        checkpoint::from_bytes(&mut loaded, &with_metadata(&bytes, metadata)).unwrap();
        assert_eq!(loaded.params(), saved.params());
    }
}

#[test]
fn a_path_without_a_folder_is_in_the_current_one() {
    let name = format!("drlim-bare-name-{}.safetensors", std::process::id());
    checkpoint::save(&network::<f32>(1), &name).unwrap();
    let loaded = checkpoint::load(&mut network::<f32>(2), name.as_str());
    fs::remove_file(name).unwrap();
    assert_eq!(loaded, Ok(()));
}
