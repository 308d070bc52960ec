//! Arbitrary bytes as IDX: no panic, no memory beyond what is there, and what is read is consistent.

#![no_main]

use drlim::data::idx::{parse_images, parse_labels, parse_table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let raw = !bytes.starts_with(&[0x1f, 0x8b]);
    let table = parse_table(bytes);
    if let Ok(labels) = parse_labels(bytes) {
        let classes = table.as_ref().unwrap().column(0).unwrap();
        assert!(classes.eq(labels.iter().map(|&label| i32::from(label))));
        assert!(!raw || bytes[2] != 8 || bytes[8..] == labels);
    }
    if let Ok(table) = table {
        let [rows, columns] = [table.rows(), table.columns()].map(|d| (d as u32).to_be_bytes());
        assert_eq!(table.values().len(), table.rows() * table.columns());
        if raw && bytes[2] == 0x0c {
            let values: Vec<u8> = table.values().iter().flat_map(|v| v.to_be_bytes()).collect();
            let dimensions = [rows, columns].concat();
            let dimensions = &dimensions[..4 * usize::from(bytes[3])];
            assert_eq!(bytes[4..], [dimensions, &values].concat());
        }
    }
    let Ok(images) = parse_images(bytes) else { return };
    let [count, height, width] = [images.count(), images.height(), images.width()];
    assert_eq!(images.pixels().len(), count * height * width);
    if raw {
        let dimensions = [count, height, width].map(|d| (d as u32).to_be_bytes()).concat();
        assert_eq!(bytes, [&[0, 0, 8, 3], &*dimensions, images.pixels()].concat());
    }
    assert_eq!(images.clone().transposed().transposed(), images);
    if count <= 1000 && height <= 64 {
        let Ok(padded) = images.padded::<f64>(64) else { return assert_ne!(height, width) };
        let light = images.pixels().iter().map(|&pixel| f64::from(pixel) / 255.0);
        assert!(padded.into_iter().filter(|&x| x != 0.0).eq(light.filter(|&x| x != 0.0)));
    }
});
