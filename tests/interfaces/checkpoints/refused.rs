//! What is wrong with a file is said, and nothing has changed then.

use std::fs;

use drlim::nn::{AvgPool2d, Relu, Subsample2d, Tanh};
use drlim::nn::{Backward, Conv2d, Dense, Forward, InitialValue, Layer, Network, ParamSpec, Shape};
use drlim::optim::{Adam, Optimizer, Resume, Sgd};
use drlim::siamese::Siamese;
use drlim::{Cx, Error, checkpoint};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::checkpoints::files::with_metadata;
use crate::checkpoints::{bits, network};
use crate::support::{Element, Folder};

/// The reason why the bytes are refused; the network has not changed.
#[track_caller]
pub fn reason<T: Element>(bytes: &[u8]) -> String {
    let mut net = network::<T>(2);
    let error = checkpoint::from_bytes(&mut net, bytes).expect_err("they should be refused");
    assert_eq!(bits(&net), bits(&network::<T>(2)), "{error}");
    match error {
        Error::File { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// A tensor of a file that can be changed.
#[derive(Clone)]
pub struct Owned {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// The tensors of a network's file, changed, as a file that does not say its layers.
pub fn changed(change: impl FnOnce(&mut Vec<Owned>)) -> Vec<u8> {
    let bytes = checkpoint::to_bytes(&network::<f32>(1)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<Owned> = file
        .iter()
        .map(|(name, tensor)| Owned {
            name: name.to_owned(),
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            data: tensor.data().to_vec(),
        })
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|tensor| {
        let Owned { name, dtype, shape, data } = tensor;
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn named<'a>(tensors: &'a mut [Owned], name: &str) -> &'a mut Owned {
    tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn a_missing_tensor_is_named_with_what_it_should_be() {
    let bytes = changed(|tensors| tensors.retain(|tensor| tensor.name != "s2.bias"));
    let expected = "lacks s2.bias, expected F32 [3]; the file holds ";
    let told = reason::<f32>(&bytes);
    let listed = told.strip_prefix(expected).unwrap_or_else(|| panic!("{told}"));
    let (names, more) = listed.split_once(" and ").unwrap();
    assert!(names.split(", ").all(|name| name.contains('.')) && more == "3 more", "{told}");
    // A name as long as a file likes is not told at length.
    let bytes = changed(|tensors| {
        tensors.truncate(1);
        tensors[0].name = "n".repeat(100_000);
    });
    assert!((100..400).contains(&reason::<f32>(&bytes).len()));
    let none = with_header("{}", 0);
    let expected = "lacks c1.weight, expected F32 [3, 1, 3, 3]; the file holds no tensor";
    assert_eq!(reason::<f32>(&none), expected);
}

#[test]
fn a_tensor_too_many_is_named() {
    let bytes = changed(|tensors| {
        let more = Owned { name: "f7.bias".into(), ..named(tensors, "f6.bias").clone() };
        tensors.push(more);
    });
    assert_eq!(reason::<f32>(&bytes), "holds f7.bias, F32 [2], expected no such tensor");
}

#[test]
fn a_wrong_shape_is_told_with_the_right_one() {
    let bytes = changed(|tensors| named(tensors, "f6.weight").shape = vec![5, 2]);
    assert_eq!(reason::<f32>(&bytes), "f6.weight is F32 [5, 2], expected F32 [2, 5]");
    let bytes = changed(|tensors| named(tensors, "f6.weight").shape = vec![10]);
    assert_eq!(reason::<f32>(&bytes), "f6.weight is F32 [10], expected F32 [2, 5]");
}

#[test]
fn another_type_is_refused_even_where_it_could_be_converted() {
    let bytes = changed(|tensors| named(tensors, "f6.bias").dtype = Dtype::I32);
    assert_eq!(reason::<f32>(&bytes), "f6.bias is I32 [2], expected F32 [2]");
    let wide = checkpoint::to_bytes(&network::<f64>(1)).unwrap();
    assert_eq!(reason::<f32>(&wide), "c1.weight is F64 [3, 1, 3, 3], expected F32 [3, 1, 3, 3]");
    let narrow = checkpoint::to_bytes(&network::<f32>(1)).unwrap();
    assert_eq!(
        reason::<f64>(&narrow),
        "c1.weight is F32 [3, 1, 3, 3], expected F64 [3, 1, 3, 3]; Load::widened takes it"
    );
    for dtype in [Dtype::F16, Dtype::BF16] {
        let bytes = changed(|tensors| {
            let bias = named(tensors, "f6.bias");
            (bias.dtype, bias.data) = (dtype, vec![0; 4]);
        });
        let expected = format!("f6.bias is {dtype} [2], expected F32 [2]; Load::widened takes it");
        assert_eq!(reason::<f32>(&bytes), expected);
    }
}

/// A network whose tensors are those of `network`.
fn other(pool: AvgPool2d, activation: impl Layer<f32> + 'static, more: bool) -> Vec<u8> {
    let net = Network::builder(Shape::image(1, 12, 12))
        .layer("c1", Conv2d::new(3, 3))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(2))
        .layer("c3", Conv2d::rectangular(4, [2, 3]).padding(1))
        .layer("relu3", activation)
        .layer("p4", pool)
        .layer("f5", Dense::new(5))
        .layer("f6", Dense::new(2));
    let net = if more { net.layer("tanh6", Tanh::new()) } else { net };
    checkpoint::to_bytes(&net.build(1).unwrap()).unwrap()
}

#[test]
fn other_layers_with_the_same_tensors_are_refused_by_the_first_difference() {
    let bytes = other(AvgPool2d::new(2), Tanh::new(), false);
    let expected =
        r#"is of another network: "relu3: Tanh -> 4x6x5", expected "relu3: Relu -> 4x6x5""#;
    assert_eq!(reason::<f32>(&bytes), expected);
    let bytes = other(AvgPool2d::new(3).stride(2), Relu::new(), false);
    assert!(reason::<f32>(&bytes).starts_with(r#"is of another network: "p4: AvgPool2d 3x3"#));
    let bytes = other(AvgPool2d::new(2), Relu::new(), true);
    let expected = r#"is of another network: "tanh6: Tanh -> 2", expected the end"#;
    assert_eq!(reason::<f32>(&bytes), expected);
    let same = other(AvgPool2d::new(2), Relu::new(), false);
    assert_eq!(checkpoint::from_bytes(&mut network::<f32>(2), &same), Ok(()));
    let empty = with_metadata(&same, &[("drlim", "")]);
    let expected = r#"is of another network: "", expected "input 1x12x12""#;
    assert_eq!(reason::<f32>(&empty), expected);
}

#[test]
fn a_file_that_ends_early_or_late_is_refused_wherever_it_does() {
    let mut bytes = checkpoint::to_bytes(&network::<f32>(1)).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for end in 0..bytes.len() {
        let expected = if end < 8 {
            format!("ends after {end} bytes, expected 8 and a header")
        } else if end < header {
            format!("ends after {} bytes of a header, expected {}", end - 8, header - 8)
        } else {
            format!("ends after {end} bytes, expected {}", bytes.len())
        };
        assert_eq!(reason::<f32>(&bytes[..end]), expected);
    }
    let end = bytes.len();
    bytes.push(0);
    assert_eq!(reason::<f32>(&bytes), format!("goes on after {end} bytes, expected its end"));
}

/// A file of this header and these many bytes of data.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn what_is_no_safetensors_file_is_refused_without_its_size_being_believed() {
    for len in [100_000_001, 1 << 40, u64::MAX] {
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"{}");
        let expected =
            format!("no safetensors file: a header of {len} bytes, expected at most 100000000");
        assert_eq!(reason::<f32>(&bytes), expected);
    }
    let mut bytes = 99_999_999_u64.to_le_bytes().to_vec();
    bytes.extend_from_slice(b"{}");
    assert_eq!(reason::<f32>(&bytes), "ends after 2 bytes of a header, expected 99999999");

    assert!(reason::<f32>(b"a PNG, a pickle or something").contains("no safetensors file"));
    for header in [
        "",
        "[]",
        "{",
        "\u{0}",
        r#"{"c1.weight":1}"#,
        // Gaps, data that overlap, and sizes that overflow.
        r#"{"c1.weight":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}"#,
        r#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}}"#,
        r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,13]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,0]}}"#,
    ] {
        let reason = reason::<f32>(&with_header(header, 16));
        assert!(reason.starts_with("no safetensors file: the header: "), "{header}: {reason}");
    }
    assert!(reason::<f32>(&with_header("{}", 0)).starts_with("lacks c1.weight"));
    // Tensors that reach the last address there is.
    let most = (1_u64 << 61) - 1;
    let tensors: Vec<String> = (0..8)
        .map(|i| {
            format!(
                r#""{i}":{{"dtype":"U8","shape":[{most}],"data_offsets":[{},{}]}}"#,
                i * most,
                (i + 1) * most
            )
        })
        .collect();
    let bytes = with_header(&format!("{{{}}}", tensors.join(",")), 16);
    assert!(reason::<f32>(&bytes).starts_with("lacks c1.weight"));
}

proptest! {
    /// What is changed in the header or the lengths is refused or harmless, and never a panic.
    #[test]
    fn any_changed_bytes_are_refused_or_loaded(
        changes in prop::collection::vec((0.0..1.0, any::<u8>()), 1..4),
        within_header: bool,
    ) {
        let mut bytes = checkpoint::to_bytes(&network::<f32>(1)).unwrap();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let len = if within_header { header } else { bytes.len() };
        for (at, byte) in changes {
            bytes[(at * len as f64) as usize] = byte;
        }
        let mut net = network::<f32>(2);
        match checkpoint::from_bytes(&mut net, &bytes) {
            Ok(()) => prop_assert!(SafeTensors::deserialize(&bytes).is_ok()),
            Err(_) => prop_assert_eq!(bits(&net), bits(&network::<f32>(2))),
        }
    }
}

#[test]
fn errors_name_the_file() {
    let folder = Folder::new("errors");
    let path = folder.join("missing.safetensors");
    let error = checkpoint::load(&mut network::<f32>(1), &path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    fs::write(&path, b"").unwrap();
    let error = checkpoint::load(&mut network::<f32>(1), &path).unwrap_err();
    let reason = "ends after 0 bytes, expected 8 and a header".to_owned();
    assert_eq!(error, Error::File { path: path.display().to_string(), reason });
}

/// A layer of two tensors with one name.
struct Twins;

impl Layer<f32> for Twins {
    fn describe(&self) -> String {
        "Twins".into()
    }
    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        Ok(input)
    }
    fn params(&self) -> Vec<ParamSpec> {
        let spec =
            ParamSpec { name: "weight", shape: vec![2], initial: InitialValue::Constant(1.0) };
        vec![spec.clone(), spec]
    }
    fn forward(&self, _: &Cx, _: Forward<f32>) {}
    fn backward(&self, _: &Cx, _: Backward<f32>) {}
}

#[test]
fn two_tensors_of_one_name_are_not_saved() {
    let net = Network::builder(Shape::flat(2)).layer("twins", Twins).build(1).unwrap();
    let expected = "network: layer all: two tensors of a checkpoint are called twins.weight";
    assert_eq!(checkpoint::to_bytes(&net).unwrap_err().to_string(), expected);
}

/// Loads into a run of this optimizer, which is refused, and nothing has changed.
fn refused_run<O: Resume<f32> + Clone + PartialEq + std::fmt::Debug>(
    path: &std::path::Path,
    optimizer: O,
) -> String {
    let mut siamese = Siamese::new(network::<f32>(2), optimizer.clone(), 2).unwrap();
    let error = checkpoint::load_training(&mut siamese, path).unwrap_err().to_string();
    assert_eq!(bits(siamese.net()), bits(&network::<f32>(2)));
    assert_eq!((siamese.optimizer(), siamese.steps()), (&optimizer, 0));
    error.trim_start_matches(&format!("{}: ", path.display())).to_owned()
}

#[test]
fn the_run_of_another_optimizer_and_a_mere_network_are_refused() {
    let folder = Folder::new("runs-refused");
    let path = folder.join("run.safetensors");
    let len = network::<f32>(1).params().len();
    let mut used = Adam::new();
    used.step(&Cx::default(), 0.1, &mut vec![1.0; len], &vec![1.0; len]).unwrap();

    let siamese = Siamese::new(network::<f32>(1), Sgd::new(), 2).unwrap();
    checkpoint::save_training(&siamese, None, &path).unwrap();
    let expected = format!("lacks optimizer/first, expected F32 [{len}]; the file holds ");
    let told = refused_run(&path, used.clone());
    assert!(told.starts_with(&expected) && told.contains("optimizer/steps"), "{told}");
    let error = checkpoint::load(&mut network::<f32>(2), &path).unwrap_err().to_string();
    assert!(error.contains("holds optimizer/steps, U64 [1], expected no such tensor"), "{error}");

    let siamese = Siamese::new(network::<f32>(1), used.clone(), 2).unwrap();
    checkpoint::save_training(&siamese, None, &path).unwrap();
    let expected = format!("lacks optimizer/velocity, expected F32 [{len}]; the file holds ");
    assert!(refused_run(&path, Sgd::new()).starts_with(&expected));

    checkpoint::save(siamese.net(), &path).unwrap();
    let expected = format!("lacks optimizer/first, expected F32 [{len}]; the file holds ");
    assert!(refused_run(&path, used).starts_with(&expected));
}

/// An optimizer that can be saved but not restored.
#[derive(Clone, Debug, PartialEq)]
struct Stubborn;

impl Optimizer<f32> for Stubborn {
    fn step(&mut self, _: &Cx, _: f64, _: &mut [f32], _: &[f32]) -> drlim::Result<()> {
        Ok(())
    }
}

impl Resume<f32> for Stubborn {
    fn steps(&self) -> u64 {
        3
    }
    fn moments(&self) -> Vec<(&'static str, &[f32])> {
        Vec::new()
    }
    fn restore(&mut self, _: u64, _: Vec<Vec<f32>>) -> drlim::Result<()> {
        Err(Error::Overflow { what: "patience" })
    }
}

#[test]
fn what_an_optimizer_refuses_changes_nothing() {
    let folder = Folder::new("stubborn");
    let path = folder.join("run.safetensors");
    let siamese = Siamese::new(network::<f32>(1), Stubborn, 2).unwrap();
    checkpoint::save_training(&siamese, None, &path).unwrap();
    assert_eq!(refused_run(&path, Stubborn), "the size of patience overflows");
}

#[test]
fn an_optimizer_takes_only_as_many_moments_as_it_has_and_of_one_length() {
    let mut adam = Adam::<f32>::new();
    for (moments, expected) in [
        (vec![vec![0.0]], "restore: moments has 1 elements, expected 2 (as the optimizer has)"),
        (vec![vec![0.0]; 3], "restore: moments has 3 elements, expected 2 (as the optimizer has)"),
        (vec![vec![0.0], vec![]], "restore: a moment has 0 elements, expected 1 (as the first)"),
    ] {
        assert_eq!(adam.restore(4, moments).unwrap_err().to_string(), expected);
        assert_eq!(adam, Adam::new());
    }
    adam.restore(4, vec![vec![0.0], vec![1.0]]).unwrap();
    assert_eq!((adam.steps(), adam.moments()[1].1), (4, &[1.0][..]));
}
