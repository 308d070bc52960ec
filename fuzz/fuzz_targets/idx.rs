//! Arbitrary bytes as IDX: no panic, no memory beyond what is there, and what is read is consistent.

#![no_main]

use drlim::data::idx::{parse_images, parse_labels};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let raw = !bytes.starts_with(&[0x1f, 0x8b]);
    if let Ok(labels) = parse_labels(bytes) {
        assert!(!raw || bytes[8..] == labels);
    }
    let Ok(images) = parse_images(bytes) else { return };
    let [count, height, width] = [images.count(), images.height(), images.width()];
    assert_eq!(images.pixels().len(), count * height * width);
    if raw {
        let dimensions = [count, height, width].map(|d| (d as u32).to_be_bytes()).concat();
        assert_eq!(bytes, [&[0, 0, 8, 3], &*dimensions, images.pixels()].concat());
    }
    if count <= 1000 && height <= 64 {
        let Ok(padded) = images.padded::<f64>(64) else { return assert_ne!(height, width) };
        let light = images.pixels().iter().map(|&pixel| f64::from(pixel) / 255.0);
        assert!(padded.into_iter().filter(|&x| x != 0.0).eq(light.filter(|&x| x != 0.0)));
    }
});
