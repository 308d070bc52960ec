//! Files that announce more than they hold, and those that unpack to more than they announce: memory grows
//! with what is really there, and no further than what was announced.

use std::io::{self, Read, Write};

use drlim::checkpoint;
use drlim::data::idx::{parse_images, parse_labels, read_labels};
use drlim::data::norb::Norb;
use drlim::nn::{Dense, Network, Shape};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::allocator::peak;
use crate::support::Folder;

/// What a reader may take for itself: buffers, the state of an unpacker, an error.
const SMALL: usize = 256 << 10;

const MEGABYTE: usize = 1 << 20;

fn header(dimensions: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes
}

/// A header and so many zeros, packed about a thousandfold.
pub fn bomb(dimensions: &[u32], zeros: usize) -> Vec<u8> {
    packed(&header(dimensions), zeros)
}

fn packed(bytes: &[u8], zeros: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    io::copy(&mut io::repeat(0).take(zeros as u64), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// The head of a file of small NORB: of bytes, or of i32.
fn norb_head(of_bytes: bool, dimensions: &[i32]) -> Vec<u8> {
    let mut bytes = (0x1e3d_4c54 + u32::from(of_bytes)).to_le_bytes().to_vec();
    bytes.extend((dimensions.len() as i32).to_le_bytes());
    for k in 0..dimensions.len().max(3) {
        bytes.extend(dimensions.get(k).unwrap_or(&1).to_le_bytes());
    }
    bytes
}

#[test]
fn a_header_is_not_believed() {
    let vast = u32::MAX;
    for packed in [false, true] {
        for dimensions in [[vast, 1, 1], [1, vast, 1], [vast, 28, 28], [1 << 20, 1 << 20, 1 << 10]]
        {
            let mut bytes = header(&dimensions);
            bytes.resize(bytes.len() + 100, 7);
            if packed {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&bytes).unwrap();
                bytes = encoder.finish().unwrap();
            }
            let (taken, read) = peak(|| parse_images(&bytes));
            let error = read.unwrap_err().to_string();
            assert!(error.contains("ends after 100 of"), "{error}");
            assert!(taken < SMALL, "{dimensions:?}, packed {packed}: {taken} bytes");
        }
        let (taken, read) = peak(|| parse_labels(&header(&[vast])));
        assert!(read.is_err() && taken < SMALL, "{taken} bytes");
    }
}

#[test]
fn what_follows_the_announced_elements_is_not_unpacked() {
    let labels = bomb(&[10], 32 * MEGABYTE);
    assert!(labels.len() < MEGABYTE, "{} bytes are no bomb", labels.len());
    let (taken, read) = peak(|| parse_labels(&labels));
    assert!(read.unwrap_err().to_string().contains("byte 18: more follows"));
    assert!(taken < SMALL, "{taken} bytes for ten labels");
    let images = bomb(&[10, 2, 2], 32 * MEGABYTE);
    let (taken, read) = peak(|| parse_images(&images));
    assert!(read.unwrap_err().to_string().contains("byte 56: more follows"));
    assert!(taken < SMALL, "{taken} bytes for ten images");
    let folder = Folder::new("bomb");
    std::fs::write(folder.join("labels.gz"), &labels).unwrap();
    let (taken, read) = peak(|| read_labels(folder.join("labels.gz")));
    assert!(read.is_err() && taken < SMALL, "{taken} bytes for a file");
}

#[test]
fn what_is_unpacked_is_held_once_and_a_little() {
    // A vector that grows holds its old half beside the new one for a while.
    let (taken, read) = peak(|| parse_labels(&bomb(&[8 << 20], 8 * MEGABYTE)));
    assert_eq!(read.unwrap().len(), 8 * MEGABYTE);
    assert!((8 * MEGABYTE..26 * MEGABYTE).contains(&taken), "{taken} bytes for 8 MiB");
}

#[test]
fn heads_of_small_norb_are_not_believed() {
    let vast = i32::MAX;
    // What one image needs, and in each file in turn more than there is.
    let good = [
        [norb_head(true, &[1, 2, 2, 2]), vec![0; 8]].concat(),
        [norb_head(false, &[1]), vec![0; 4]].concat(),
        [norb_head(false, &[1, 4]), vec![0; 16]].concat(),
    ];
    let vast_heads = [
        (0, norb_head(true, &[vast, 2, 1, 1])),
        (0, norb_head(true, &[1, 2, vast, 1 << 20])),
        (0, norb_head(true, &[1 << 20, 2, 1 << 20, 1 << 10])),
        (1, norb_head(false, &[vast])),
        (2, norb_head(false, &[vast, 4])),
    ];
    for (file, head) in vast_heads {
        for pack in [false, true] {
            let mut bytes = head.clone();
            bytes.resize(bytes.len() + 100, 0);
            let mut files = good.clone();
            files[file] = if pack { packed(&bytes, 0) } else { bytes };
            let (taken, read) = peak(|| Norb::parse(&files[0], &files[1], &files[2]));
            let error = read.unwrap_err().to_string();
            assert!(error.contains("ends after 100 of"), "{error}");
            assert!(taken < SMALL, "file {file}, packed {pack}: {taken} bytes");
        }
    }
    for (file, end) in [(0, 32), (1, 24), (2, 36)] {
        let mut files = good.clone();
        files[file] = packed(&files[file], 32 * MEGABYTE);
        assert!(files[file].len() < MEGABYTE, "{} bytes are no bomb", files[file].len());
        let (taken, read) = peak(|| Norb::parse(&files[0], &files[1], &files[2]));
        let error = read.unwrap_err().to_string();
        assert!(error.contains(&format!("byte {end}: more follows")), "{error}");
        assert!(taken < SMALL, "file {file}: {taken} bytes for one image");
    }
    // 900 images of 8 KiB, with what is known of them: pixels are held once, and a vector that grows
    // holds its old half beside the new one.
    let dat = packed(&norb_head(true, &[900, 2, 64, 64]), 900 * 2 * 64 * 64);
    let cat = packed(&norb_head(false, &[900]), 4 * 900);
    let info = packed(&norb_head(false, &[900, 4]), 16 * 900);
    let (taken, read) = peak(|| Norb::parse(&dat, &cat, &info));
    assert_eq!(read.unwrap().count(), 900);
    assert!((7 * MEGABYTE..26 * MEGABYTE).contains(&taken), "{taken} bytes for 7 MiB");
}

#[test]
fn members_of_nothing_and_names_without_end_take_no_memory() {
    let mut nothing = GzEncoder::new(Vec::new(), Compression::fast());
    nothing.write_all(&[]).unwrap();
    let many = nothing.finish().unwrap().repeat(20_000);
    let (taken, read) = peak(|| parse_labels(&many));
    assert!(read.unwrap_err().to_string().contains("ends after 0 of 4 bytes"));
    assert!(taken < SMALL, "{taken} bytes for members of nothing");
    // The flag of a file name, which goes on to the next zero.
    let mut named = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255];
    named.resize(8 * MEGABYTE, b'n');
    let (taken, read) = peak(|| parse_labels(&named));
    assert!(read.is_err() && taken < 2 * SMALL, "{taken} bytes for a name");
}

#[test]
fn a_checkpoint_is_not_believed() {
    let network = || Network::<f32>::builder(Shape::flat(3)).layer("map", Dense::new(2)).build(1);
    let (mut net, untouched) = (network().unwrap(), network().unwrap());
    let with = |len: u64, header: &str| {
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes
    };
    let tensor = |shape: &str, end: u64| {
        format!(r#"{{"map.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    let whole = |header: String| with(header.len() as u64, &header);
    for (bytes, what) in [
        (with(u64::MAX, ""), "a header of"),
        (with(100_000_000, "{"), "ends after 1 bytes of a header"),
        (with(99_999_999, "{}"), "ends after 2 bytes of a header"),
        (whole(tensor("[2,3]", u64::MAX)), ""),
        (whole(tensor("[18446744073709551615,3]", 12)), ""),
        (whole(tensor("[4611686018427387904,4]", 0)), ""),
        (whole(tensor("[4294967296,4294967296]", 1 << 40)), ""),
        (whole(tensor("[1099511627776]", 1 << 42)), "map.weight is F32 [1099511627776]"),
        (whole("[".repeat(100_000)), "the header"),
        (whole(r#"{"a":"#.repeat(100_000)), "the header"),
    ] {
        let (taken, read) = peak(|| checkpoint::from_bytes(&mut net, &bytes));
        let error = read.unwrap_err().to_string();
        assert!(error.contains(what), "{error:?} lacks {what:?}");
        assert!(taken < 2 * bytes.len() + SMALL, "{taken} bytes: {error}");
        assert_eq!(net.params(), untouched.params());
    }
}
