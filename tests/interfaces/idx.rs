//! What the reader of IDX files promises: it reads what it should, raw or compressed and under
//! every spelling, and refuses everything else by naming the file and the byte.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use drlim::Error;
use drlim::data::idx::{
    Dataset, Images, parse_images, parse_labels, parse_table, read_images, read_labels, read_table,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::collection::vec;
use proptest::prelude::*;

fn idx(dimensions: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// Elements of i32.
fn ints(dimensions: &[u32], data: &[i32]) -> Vec<u8> {
    let mut bytes = idx(dimensions, &[]);
    bytes[2] = 0x0c;
    data.iter().for_each(|value| bytes.extend(value.to_be_bytes()));
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder of its own for each test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("drlim-idx-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Two training and one test image of 2 x 2 pixels, all under one spelling.
    fn dataset(&self, before: &str, after: &str, pack: fn(&[u8]) -> Vec<u8>) {
        for (part, n) in [("train", 2), ("t10k", 1)] {
            let images = idx(&[n, 2, 2], &[7; 8][..4 * n as usize]);
            let labels = idx(&[n], &[4, 9][..n as usize]);
            self.write(&format!("{part}-images{before}idx3-ubyte{after}"), &pack(&images));
            self.write(&format!("{part}-labels{before}idx1-ubyte{after}"), &pack(&labels));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(
    result: drlim::Result<T>,
    expected_path: &Path,
    expected_reason: &str,
) {
    match result {
        Err(Error::File { path, reason }) => {
            assert_eq!(Path::new(&path), expected_path);
            assert!(reason.contains(expected_reason), "{reason:?} lacks {expected_reason:?}");
        }
        other => panic!("expected a refusal with {expected_reason:?}, got {other:?}"),
    }
}

#[test]
fn every_spelling_and_packing_is_read() {
    let plain: fn(&[u8]) -> Vec<u8> = <[u8]>::to_vec;
    // The name says nothing about the content: packed files without .gz and the reverse are read.
    for (i, (before, after, pack)) in
        [("-", "", plain), (".", "", gzip), ("-", ".gz", gzip), (".", ".gz", plain)]
            .into_iter()
            .enumerate()
    {
        let folder = Folder::new(&format!("spelling-{i}"));
        folder.dataset(before, after, pack);
        let read = Dataset::open(&folder.0).unwrap();
        assert_eq!(read.train.labels(), [4, 9]);
        assert_eq!(read.train.images().pixels(), [7; 8]);
        assert_eq!(read.test.images().count(), 1);
    }
}

#[test]
fn a_gzip_file_may_have_several_members() {
    let bytes = idx(&[5], &[1, 2, 3, 4, 5]);
    let packed = [gzip(&bytes[..3]), gzip(&bytes[3..10]), gzip(&bytes[10..])].concat();
    assert_eq!(parse_labels(&packed).unwrap(), [1, 2, 3, 4, 5]);
}

#[test]
fn malformed_bytes_are_refused_with_the_place() {
    let four_gigabytes = idx(&[u32::MAX], &[1; 92]);
    // More than an address space: whoever reserves it fails.
    let petabytes = idx(&[u32::MAX, 65536, 100], &[1]);
    let as_labels: &[(Vec<u8>, &str)] = &[
        (vec![], "byte 0: ends after 0 of 4 bytes of magic number"),
        (vec![0, 0, 8], "byte 3: ends after 3 of 4 bytes of magic number"),
        (vec![0, 1, 8, 1, 0, 0, 0, 0], "byte 0: starts with [00, 01]"),
        (vec![0, 0, 0x0d, 1, 0, 0, 0, 0], "byte 2: elements of type 0x0d"),
        (idx(&[1, 1, 1], &[1]), "byte 3: 3 dimensions, expected 1"),
        (vec![0, 0, 8, 1, 0, 0], "byte 6: ends after 2 of 4 bytes of dimensions"),
        (idx(&[3], &[1, 2]), "byte 10: ends after 2 of 3 bytes of elements"),
        (idx(&[1], &[1, 2]), "byte 9: more follows"),
        (four_gigabytes, "byte 100: ends after 92 of 4294967295 bytes"),
    ];
    let as_images: &[(Vec<u8>, &str)] = &[
        (idx(&[1], &[1]), "byte 3: 1 dimensions, expected 3"),
        (idx(&[2, 2, 2], &[0; 7]), "byte 23: ends after 7 of 8 bytes of elements"),
        (idx(&[1, 2, 2], &[0; 5]), "byte 20: more follows"),
        (idx(&[9, 0, 2], &[]), "byte 8: images of [0, 2] pixels"),
        (petabytes, "byte 17: ends after 1 of 28147497664512000 bytes"),
        (idx(&[u32::MAX; 3], &[0; 4]), "byte 4: the product of dimensions"),
        (idx(&[0, u32::MAX, u32::MAX], &[0; 4]), "byte 16: more follows"),
    ];
    for (bytes, reason) in as_labels {
        assert_refused(parse_labels(bytes), "bytes".as_ref(), reason);
        assert_refused(
            parse_labels(&gzip(bytes)),
            "bytes".as_ref(),
            &format!("unpacked: {reason}"),
        );
    }
    for (bytes, reason) in as_images {
        assert_refused(parse_images(bytes), "bytes".as_ref(), reason);
        assert_refused(
            parse_images(&gzip(bytes)),
            "bytes".as_ref(),
            &format!("unpacked: {reason}"),
        );
    }
}

#[test]
fn damaged_gzip_is_refused() {
    let packed = gzip(&idx(&[1000], &[5; 1000]));
    let bytes = Path::new("bytes");
    assert_refused(parse_labels(&packed[..2]), bytes, "unpacked: byte 0: ");
    assert_refused(parse_labels(&packed[..packed.len() - 12]), bytes, "unpacked: byte ");
    // The checksum is only seen behind the last element.
    assert_refused(parse_labels(&packed[..packed.len() - 3]), bytes, "unpacked: byte 1008: ");
    let mut checksum = packed.clone();
    checksum[packed.len() - 8] ^= 1;
    assert_refused(parse_labels(&checksum), bytes, "unpacked: byte 1008: ");
    assert_refused(parse_labels(&[packed, vec![1]].concat()), bytes, "unpacked: byte 1008: ");
}

#[test]
fn a_gzip_file_may_be_padded_with_zeros() {
    let (bytes, mut two) = (idx(&[3], &[7, 8, 9]), gzip(&idx(&[3], &[7, 8])));
    two.extend(gzip(&[9]));
    // Up to a block of a tape, and past a reader's buffer.
    for zeros in [1, 2, 7, 511, 512, 10_240, 100_000] {
        for packed in [gzip(&bytes), two.clone()] {
            let padded = [packed.clone(), vec![0; zeros]].concat();
            assert_eq!(parse_labels(&padded).unwrap(), [7, 8, 9], "{zeros} zeros");
            // What gunzip warns of and drops, be it a member, is refused.
            for more in [vec![1], gzip(&[])] {
                let padded = [padded.clone(), more].concat();
                let expected = "unpacked: byte 11: more follows the zeros after a gzip member";
                assert_refused(parse_labels(&padded), "bytes".as_ref(), expected);
            }
        }
    }
    // A file that is not packed is not padded, and padding is no data.
    let padded = [bytes.clone(), vec![0]].concat();
    assert_refused(parse_labels(&padded), "bytes".as_ref(), "byte 11: more follows");
    let early = [gzip(&bytes[..9]), vec![0; 512]].concat();
    assert_refused(parse_labels(&early), "bytes".as_ref(), "unpacked: byte 9: ends after 1 of 3");
    let two_dimensions = [gzip(&idx(&[1, 2, 2], &[1, 2, 3, 4])), vec![0; 99]].concat();
    assert_eq!(parse_images(&two_dimensions).unwrap().pixels(), [1, 2, 3, 4]);
}

/// Three digits as QMNIST labels them, in eight columns.
const QMNIST: [i32; 24] = [
    5, 0, 67, 12, 35, 123_456, 0, 0, //
    0, 4, 2099, 3, 30, 7, 0, 0, //
    9, 1, 2100, 1, 39, 402_952, 0, 0,
];

#[test]
fn labels_may_be_whole_numbers_and_tables_of_them() {
    for pack in [<[u8]>::to_vec, gzip] {
        let table = pack(&ints(&[3, 8], &QMNIST));
        assert_eq!(parse_labels(&table).unwrap(), [5, 0, 9]);
        let read = parse_table(&table).unwrap();
        assert_eq!((read.rows(), read.columns(), read.values()), (3, 8, &QMNIST[..]));
        assert_eq!(read.column(2).unwrap().collect::<Vec<_>>(), [67, 2099, 2100]);
        assert!(read.column(8).is_err());
        let one = pack(&ints(&[3], &[-1, 70_000, i32::MIN]));
        assert_eq!(parse_table(&one).unwrap().values(), [-1, 70_000, i32::MIN]);
        let bytes = pack(&idx(&[2], &[3, 255]));
        let read = parse_table(&bytes).unwrap();
        assert_eq!((read.rows(), read.columns(), read.values()), (2, 1, &[3, 255][..]));
        assert_eq!(parse_labels(&pack(&ints(&[2], &[255, 0]))).unwrap(), [255, 0]);
        assert!(parse_labels(&pack(&ints(&[0, 8], &[]))).unwrap().is_empty());
    }
    let bytes = Path::new("bytes");
    for (labels, reason) in [
        (ints(&[3], &[1, 256, 2]), "byte 12: a label of 256, expected 0 to 255; read_table"),
        (ints(&[2, 2], &[1, 700, -1, 2]), "byte 20: a label of -1, expected 0 to 255"),
        (ints(&[2, 0], &[]), "byte 8: rows of [0] elements"),
        (ints(&[2], &[1]), "byte 12: ends after 4 of 8 bytes of elements"),
        (ints(&[1], &[1, 2]), "byte 12: more follows"),
        (ints(&[u32::MAX, u32::MAX], &[]), "byte 4: the product of dimensions"),
        (ints(&[1, 1, 1], &[1]), "byte 3: 3 dimensions, expected 1 or 2"),
        (idx(&[1, 1], &[1]), "byte 3: 2 dimensions, expected 1"),
        (
            vec![0, 0, 0x0d, 1, 0, 0, 0, 0],
            "byte 2: elements of type 0x0d, expected 0x08 (u8) or 0x0c",
        ),
    ] {
        assert_refused(parse_labels(&labels), bytes, reason);
        let is_table = reason.contains("a label of");
        assert_eq!(parse_table(&labels).is_ok(), is_table, "{reason}");
    }
    let images = ints(&[1, 1, 1], &[1]);
    let expected = "byte 2: elements of type 0x0c, expected 0x08 (u8)";
    assert_refused(parse_images(&images), bytes, expected);
    // From a file, by a path of any kind.
    let folder = Folder::new("table");
    let path = folder.write("labels", &ints(&[3, 8], &QMNIST));
    assert_eq!(read_table(&path).unwrap().rows(), 3);
    assert_eq!(read_labels(path.to_str().unwrap()).unwrap(), [5, 0, 9]);
    let absent = folder.0.join("absent");
    assert_refused(read_table(&absent), &absent, "os error");
}

#[test]
fn data_sets_with_names_of_their_own_are_read_as_they_are_shipped() {
    let folder = Folder::new("named");
    let (n, pixels) = (2, [1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]);
    for part in ["train", "test"] {
        let images = gzip(&idx(&[n, 2, 3], &pixels));
        folder.write(&format!("emnist-letters-{part}-images-idx3-ubyte.gz"), &images);
        let labels = gzip(&idx(&[n], &[1, 26]));
        folder.write(&format!("emnist-letters-{part}-labels-idx1-ubyte.gz"), &labels);
        folder.write(&format!("qmnist-{part}-images-idx3-ubyte.gz"), &images);
        let labels = gzip(&ints(&[n, 8], &QMNIST[..16]));
        folder.write(&format!("qmnist-{part}-labels-idx2-int.gz"), &labels);
    }
    let letters = Dataset::named(&folder.0, "emnist-letters").unwrap();
    assert_eq!((letters.train.labels(), letters.test.labels()), (&[1, 26][..], &[1, 26][..]));
    assert_eq!(letters.test.images().pixels(), pixels, "unasked nothing is turned");
    let upright = letters.clone().transposed();
    for part in [&upright.train, &upright.test] {
        let images = part.images();
        assert_eq!([images.count(), images.height(), images.width()], [2, 3, 2]);
        assert_eq!(images.pixels(), [1, 4, 2, 5, 3, 6, 11, 14, 12, 15, 13, 16]);
        assert_eq!(part.labels(), [1, 26]);
    }
    assert_eq!(upright.transposed(), letters);
    let digits = Dataset::named(folder.0.to_str().unwrap(), "qmnist").unwrap();
    assert_eq!(digits.train.labels(), [5, 0]);

    assert_refused(Dataset::open(&folder.0), &folder.0, "none of train-images-idx3-ubyte, ");
    assert_refused(
        Dataset::named(&folder.0, "emnist-digits"),
        &folder.0,
        "none of emnist-digits-train-images-idx3-ubyte, emnist-digits-train-images-idx3-ubyte.gz, ",
    );
    fs::remove_file(folder.0.join("qmnist-test-labels-idx2-int.gz")).unwrap();
    let expected = "qmnist-test-labels.idx1-ubyte.gz, qmnist-test-labels-idx2-int, ";
    assert_refused(Dataset::named(&folder.0, "qmnist"), &folder.0, expected);
    let labels = folder.write("qmnist-test-labels-idx2-int", &ints(&[2, 1], &[1, 300]));
    let expected = "byte 16: a label of 300";
    assert_refused(Dataset::named(&folder.0, "qmnist"), &labels, expected);
    let images = idx(&[n, 3, 3], &[0; 18]);
    folder.write("emnist-letters-test-images-idx3-ubyte", &images);
    let expected = "images of emnist-letters-test are 3x3, those of emnist-letters-train 2x3";
    assert_refused(Dataset::named(&folder.0, "emnist-letters"), &folder.0, expected);
}

#[test]
fn a_bomb_is_not_unpacked_further_than_announced() {
    // Damage at the end of the zeros would be what is reported by a reader that got there.
    let mut packed = gzip(&idx(&[3], &vec![0; 1 << 24]));
    packed.truncate(packed.len() - 100);
    assert_refused(parse_labels(&packed), "bytes".as_ref(), "unpacked: byte 11: more follows");
}

#[test]
fn errors_name_the_file() {
    let folder = Folder::new("names");
    let absent = folder.0.join("absent");
    assert_refused(read_images(&absent), &absent, "os error");
    assert_refused(read_labels(&folder.0), &folder.0, "os error");
    let short = folder.write("short", &idx(&[1, 2, 2], &[0; 3]));
    assert_refused(read_images(&short), &short, "byte 19: ends after 3 of 4 bytes of elements");
    let text = folder.write("text", b"label,pixels");
    assert_refused(read_labels(&text), &text, "byte 0: starts with [6c, 61]");
}

#[test]
fn a_dataset_without_one_of_its_files_lists_the_names_it_looked_for() {
    let folder = Folder::new("missing");
    folder.dataset("-", "", gzip);
    fs::remove_file(folder.0.join("t10k-labels-idx1-ubyte")).unwrap();
    assert_refused(
        Dataset::open(&folder.0),
        &folder.0,
        "none of t10k-labels-idx1-ubyte, t10k-labels-idx1-ubyte.gz, t10k-labels.idx1-ubyte, \
         t10k-labels.idx1-ubyte.gz",
    );
}

#[test]
fn a_dataset_whose_parts_do_not_match_is_refused() {
    let folder = Folder::new("mismatch");
    folder.dataset("-", "", gzip);
    let labels = folder.write("train-labels-idx1-ubyte", &idx(&[3], &[4, 9, 4]));
    assert_refused(Dataset::open(&folder.0), &labels, "byte 4: 3 labels, but ");
    folder.write("train-labels-idx1-ubyte", &idx(&[2], &[4, 9]));
    folder.write("t10k-images-idx3-ubyte", &idx(&[1, 3, 2], &[0; 6]));
    assert_refused(Dataset::open(&folder.0), &folder.0, "t10k are 3x2, those of train 2x2");
}

#[test]
fn selection_keeps_the_order() {
    let folder = Folder::new("select");
    folder.dataset("-", "", gzip);
    folder.write("train-images-idx3-ubyte", &idx(&[4, 1, 2], &[0, 1, 2, 3, 4, 5, 6, 7]));
    folder.write("train-labels-idx1-ubyte", &idx(&[4], &[9, 4, 9, 1]));
    folder.write("t10k-images-idx3-ubyte", &idx(&[1, 1, 2], &[0; 2]));
    let some = Dataset::open(&folder.0).unwrap().train.select(&[1, 9]);
    assert_eq!(some.labels(), [9, 9, 1]);
    assert_eq!(some.images().count(), 3);
    assert_eq!(some.images().pixels(), [0, 1, 4, 5, 6, 7]);
}

#[test]
fn images_are_padded_around_their_middle() {
    let images = parse_images(&idx(&[2, 2, 2], &[255, 0, 51, 255, 0, 102, 0, 255])).unwrap();
    #[rustfmt::skip]
    assert_eq!(images.padded::<f64>(5).unwrap(), [
        0.0, 0.0, 0.0, 0.0, 0.0,
        0.0, 1.0, 0.0, 0.0, 0.0,
        0.0, 0.2, 1.0, 0.0, 0.0,
        0.0, 0.0, 0.0, 0.0, 0.0,
        0.0, 0.0, 0.0, 0.0, 0.0,

        0.0, 0.0, 0.0, 0.0, 0.0,
        0.0, 0.0, 0.4, 0.0, 0.0,
        0.0, 0.0, 1.0, 0.0, 0.0,
        0.0, 0.0, 0.0, 0.0, 0.0,
        0.0, 0.0, 0.0, 0.0, 0.0,
    ]);
    assert_eq!(images.padded::<f32>(2).unwrap(), [1.0, 0.0, 0.2, 1.0, 0.0, 0.4, 0.0, 1.0]);

    let shape = |images: &Images, side| match images.padded::<f32>(side) {
        Err(Error::Shape { got, expected, .. }) => (got, expected),
        other => panic!("expected a refusal, got {other:?}"),
    };
    assert_eq!(shape(&images, 1), ([2, 2], [1, 1]));
    let wide = parse_images(&idx(&[1, 1, 2], &[0; 2])).unwrap();
    assert_eq!(shape(&wide, 9), ([1, 2], [9, 9]));
    // Too large by its frame, by its count (4 * 2^62 is 0 to who does not look), by its memory.
    let four = parse_images(&idx(&[4, 1, 1], &[0; 4])).unwrap();
    for side in [usize::MAX, 1 << 31, 1 << 30] {
        assert!(matches!(four.padded::<f32>(side), Err(Error::Overflow { .. })));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        (dimensions, pixels) in [0..5_u32, 1..9, 1..9].prop_flat_map(|dimensions| {
            (Just(dimensions), vec(any::<u8>(), dimensions.iter().product::<u32>() as usize))
        }),
    ) {
        let bytes = idx(&dimensions, &pixels);
        let read = parse_images(&bytes).unwrap();
        let [count, height, width] = dimensions.map(|d| d as usize);
        prop_assert_eq!([read.count(), read.height(), read.width()], [count, height, width]);
        prop_assert_eq!(read.pixels(), pixels.as_slice());
        prop_assert_eq!(&parse_images(&gzip(&bytes)).unwrap(), &read);
        let bytes = idx(&[pixels.len() as u32], &pixels);
        prop_assert_eq!(&parse_labels(&gzip(&bytes)).unwrap(), &pixels);
        prop_assert_eq!(parse_labels(&bytes).unwrap(), pixels);
    }

    /// Headers are mostly right, so that what lies behind them is reached.
    #[test]
    fn arbitrary_bytes_do_not_panic(
        magic in prop_oneof![
            Just([0, 0, 8, 1]),
            Just([0, 0, 8, 3]),
            Just([0, 0, 0x0c, 1]),
            Just([0, 0, 0x0c, 2]),
            Just([0x1f, 0x8b, 8, 0]),
            any::<[u8; 4]>(),
        ],
        rest in vec(prop_oneof![Just(0), 0..4_u8, any::<u8>()], 0..40),
        damaged in any::<prop::sample::Index>(),
    ) {
        let bytes = [&magic[..], &rest].concat();
        let mut packed = gzip(&bytes);
        let at = damaged.index(packed.len());
        packed[at] ^= 0x10;
        for bytes in [bytes, packed] {
            if let Ok(read) = parse_images(&bytes) {
                let announced = read.count() * read.height() * read.width();
                prop_assert_eq!(read.pixels().len(), announced);
            }
            let labels = parse_labels(&bytes);
            if let Ok(table) = parse_table(&bytes) {
                prop_assert_eq!(table.values().len(), table.rows() * table.columns());
            } else {
                prop_assert!(labels.is_err(), "labels are a table");
            }
        }
    }
}
