//! Arbitrary bytes as the three files of small NORB: no panic, no memory beyond what is there, and what is
//! read is consistent.
//!
//! The first four bytes say how long the first two files are; the third is the rest.

#![no_main]

use drlim::data::norb::Norb;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((lengths, bytes)) = bytes.split_first_chunk::<4>() else { return };
    let [dat, cat] = [[lengths[0], lengths[1]], [lengths[2], lengths[3]]]
        .map(|length| usize::from(u16::from_le_bytes(length)));
    let (dat, bytes) = bytes.split_at(dat.min(bytes.len()));
    let (cat, info) = bytes.split_at(cat.min(bytes.len()));
    let Ok(norb) = Norb::parse(dat, cat, info) else { return };

    let [count, height, width] = [norb.count(), norb.height(), norb.width()];
    let words = |magic: u32, words: &[usize]| {
        let mut file = magic.to_le_bytes().to_vec();
        words.iter().for_each(|&word| file.extend((word as u32).to_le_bytes()));
        file
    };
    let raw = |file: &[u8]| !file.starts_with(&[0x1f, 0x8b]);
    if raw(dat) {
        let mut written = words(0x1e3d4c55, &[4, count, 2, height, width]);
        for at in 0..2 * count {
            written.extend(norb.image(at / 2, at % 2).unwrap());
        }
        assert_eq!(dat, written);
    }
    let views = norb.views().iter();
    if raw(cat) {
        let categories: Vec<usize> = views.clone().map(|view| view.category.into()).collect();
        assert_eq!(cat, words(0x1e3d4c54, &[&[1, count, 1, 1], &categories[..]].concat()));
    }
    if raw(info) {
        let rows = views.map(|v| [v.instance, v.elevation, 2 * v.azimuth, v.lighting]);
        let numbers: Vec<usize> = rows.flatten().map(usize::from).collect();
        assert_eq!(info, words(0x1e3d4c54, &[&[2, count, 4, 1], &numbers[..]].concat()));
    }
    assert!(norb.image(count, 0).is_err() && norb.view(count).is_err());
    assert_eq!(norb.select(|_| true), norb);
    for camera in 0..2 {
        let of_all = norb.pixels::<f64>(camera).unwrap();
        let by_image = (0..count).flat_map(|i| norb.image(i, camera).unwrap());
        assert!(by_image.map(|&pixel| f64::from(pixel) / 255.0).eq(of_all));
    }
});
