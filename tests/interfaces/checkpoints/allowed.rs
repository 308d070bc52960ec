//! What a file may have different where it is asked for: names with a prefix, narrower types. Unasked it is
//! refused, and the reason says how to ask.

use drlim::checkpoint::{self, Load};
use safetensors::Dtype;

use crate::checkpoints::refused::{changed, reason};
use crate::checkpoints::{bits, network};
use crate::support::Element;

/// Reads with something allowed; if refused, the network has not changed.
fn load<T: Element>(load: Load, bytes: &[u8]) -> Result<Vec<u64>, String> {
    let mut net = network::<T>(2);
    match load.network_from_bytes(&mut net, bytes) {
        Ok(()) => Ok(bits(&net)),
        Err(error) => {
            assert_eq!(bits(&net), bits(&network::<T>(2)), "{error}");
            Err(error.to_string())
        }
    }
}

/// The network's file with this before each name.
fn prefixed(prefix: &str) -> Vec<u8> {
    changed(|tensors| {
        tensors.iter_mut().for_each(|tensor| tensor.name.insert_str(0, prefix));
    })
}

#[test]
fn names_with_a_prefix_are_loaded_on_request_and_the_reason_names_it() {
    let expected = bits(&network::<f32>(1));
    for prefix in ["module.", "_orig_mod.", "_orig_mod.module.", "a/b ", "\u{e9}", "c1."] {
        let bytes = prefixed(prefix);
        let told = reason::<f32>(&bytes);
        let way = format!("the file's names begin with it: see Load::prefix({prefix:?})");
        assert_eq!(told, format!("lacks c1.weight, expected F32 [3, 1, 3, 3]; {way}"));
        assert_eq!(load::<f32>(Load::new().prefix(prefix), &bytes), Ok(expected.clone()));
        // Another one, half of it, or none where there should be one.
        for wrong in ["modul", "other.", &format!("{prefix}{prefix}")] {
            let error = load::<f32>(Load::new().prefix(wrong), &bytes).unwrap_err();
            assert!(error.contains(&format!("lacks {wrong}c1.weight")), "{error}");
            assert!(error.contains(&way), "{error}");
        }
    }
    let plain = checkpoint::to_bytes(&network::<f32>(1)).unwrap();
    let error = load::<f32>(Load::new().prefix("module."), &plain).unwrap_err();
    assert!(error.contains("lacks module.c1.weight"), "{error}");
    assert_eq!(load::<f32>(Load::new(), &plain), Ok(expected));
}

#[test]
fn a_prefix_lets_nothing_else_through() {
    for name in ["module.more.weight", "more.weight", "modul", "c1.weight"] {
        let bytes = changed(|tensors| {
            tensors.iter_mut().for_each(|tensor| tensor.name.insert_str(0, "module."));
            let more =
                crate::checkpoints::refused::Owned { name: name.into(), ..tensors[0].clone() };
            tensors.push(more);
        });
        let error = load::<f32>(Load::new().prefix("module."), &bytes).unwrap_err();
        let expected = match name.starts_with("module.") {
            true => "expected no such tensor",
            false => "expected names that begin with \"module.\"",
        };
        assert!(error.contains(&format!("holds {name}, ")) && error.contains(expected), "{error}");
    }
}

/// The file of a network of `f32` in another type: of each number what is nearest to 0.
fn narrowed(dtype: Dtype) -> Vec<u8> {
    changed(|tensors| {
        for tensor in tensors {
            let values = tensor.data.chunks_exact(4);
            let values = values.map(|value| f32::from_le_bytes(value.try_into().unwrap()));
            let data = values.flat_map(|value| narrow(value, dtype).to_le_bytes()).collect();
            (tensor.dtype, tensor.data) = (dtype, data);
        }
    })
}

/// BF16 is the upper half of F32. F16, of numbers between 2^-24 and 1, has 10 bits of a fraction or fewer.
fn narrow(value: f32, dtype: Dtype) -> u16 {
    let bits = value.to_bits();
    if dtype == Dtype::BF16 {
        return (bits >> 16) as u16;
    }
    let sign = (bits >> 31 << 15) as u16;
    let exponent = (bits >> 23 & 0xff) as i32 - 127;
    assert!(exponent < 16, "{value}");
    let size = match exponent {
        -14.. => ((exponent + 15) as u32) << 10 | bits >> 13 & 0x3ff,
        _ => (value.abs() * f32::powi(2.0, 24)) as u32,
    };
    sign | size as u16
}

#[test]
fn narrower_types_are_widened_on_request() {
    let net = network::<f32>(1);
    for dtype in [Dtype::F16, Dtype::BF16] {
        let bytes = narrowed(dtype);
        assert!(reason::<f32>(&bytes).ends_with("; Load::widened takes it"));
        assert!(reason::<f64>(&bytes).ends_with("; Load::widened takes it"));
        let of_f32 = load::<f32>(Load::new().widened(), &bytes).unwrap();
        let of_f64 = load::<f64>(Load::new().widened(), &bytes).unwrap();
        for ((value, &narrow), &wide) in net.params().iter().zip(&of_f32).zip(&of_f64) {
            let (narrow, wide) = (f32::from_bits(narrow as u32), f64::from_bits(wide));
            assert_eq!(f64::from(narrow), wide);
            let error = (value - narrow).abs();
            let lost = if dtype == Dtype::F16 { 2.0_f32.powi(-10) } else { 2.0_f32.powi(-7) };
            assert!(error <= lost * value.abs() + 2.0_f32.powi(-24), "{dtype}: {value}, {narrow}");
        }
    }
    let bytes = checkpoint::to_bytes(&net).unwrap();
    let wide = load::<f64>(Load::new().widened(), &bytes).unwrap();
    let wide = wide.into_iter().map(f64::from_bits);
    assert!(wide.eq(net.params().iter().map(|&value| f64::from(value))));
    // Nothing is narrowed, and what is right already stays so.
    let of_f64 = checkpoint::to_bytes(&network::<f64>(1)).unwrap();
    let error = load::<f32>(Load::new().widened(), &of_f64).unwrap_err();
    assert!(error.ends_with("c1.weight is F64 [3, 1, 3, 3], expected F32 [3, 1, 3, 3]"), "{error}");
    assert_eq!(load::<f64>(Load::new().widened(), &of_f64), Ok(bits(&network::<f64>(1))));
}

#[test]
fn every_number_of_16_bits_is_widened_exactly() {
    // What binary16 means, and bfloat16, in numbers from the formats' definitions.
    let meaning = |bits: u16, exponent_bits: u32| -> f64 {
        let fraction_bits = 15 - exponent_bits;
        let (bias, sign) =
            ((1 << (exponent_bits - 1)) - 1, if bits >> 15 == 1 { -1.0 } else { 1.0 });
        let exponent = i32::from(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
        let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
        let two_to = |n: i32| f64::powi(2.0, n);
        sign * match exponent {
            0 => fraction * two_to(1 - bias),
            e if e == (1 << exponent_bits) - 1 && fraction == 0.0 => f64::INFINITY,
            e if e == (1 << exponent_bits) - 1 => f64::NAN,
            e => (1.0 + fraction) * two_to(e - bias),
        }
    };
    let net = network::<f32>(1);
    let count = net.params().len();
    for (dtype, exponent_bits) in [(Dtype::F16, 5), (Dtype::BF16, 8)] {
        let patterns: Vec<u16> = (0..=u16::MAX).collect();
        for some in patterns.chunks(count) {
            let mut next = some.iter().cycle();
            let mut given = Vec::new();
            let bytes = changed(|tensors| {
                // In the order of the network, which a file need not have.
                for name in net.parameters().map(|parameter| parameter.name) {
                    let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
                    let len = tensor.data.len() / 4;
                    let values: Vec<u16> = next.by_ref().take(len).copied().collect();
                    tensor.data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                    tensor.dtype = dtype;
                    given.extend(values);
                }
            });
            let got = load::<f32>(Load::new().widened(), &bytes).unwrap();
            for (bits, got) in given.into_iter().zip(got) {
                let (expected, got) = (meaning(bits, exponent_bits), f32::from_bits(got as u32));
                let same = f64::from(got).to_bits() == expected.to_bits();
                assert!(same || got.is_nan() && expected.is_nan(), "{dtype} {bits:#06x}: {got}");
            }
        }
    }
}
