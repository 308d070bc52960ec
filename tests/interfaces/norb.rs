//! What the reader of the small NORB files promises: it reads what it should, raw or compressed and by
//! the names that the authors gave them or others, and refuses everything else by naming the file and the
//! byte.

use std::fs;
use std::path::Path;

use drlim::Error;
use drlim::data::norb::{CATEGORIES, Norb, Part, View};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::idx::{assert_refused, gzip};
use crate::support::Folder;

const BYTES: u32 = 0x1e3d_4c55;
const INTS: u32 = 0x1e3d_4c54;

/// A file: its number of dimensions comes first, and at least three are stored.
fn file(magic: u32, dimensions: &[i32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_le_bytes().to_vec();
    bytes.extend((dimensions.len() as i32).to_le_bytes());
    for k in 0..dimensions.len().max(3) {
        bytes.extend(dimensions.get(k).unwrap_or(&1).to_le_bytes());
    }
    bytes.extend(elements);
    bytes
}

fn ints(dimensions: &[i32], elements: &[i32]) -> Vec<u8> {
    let bytes: Vec<u8> = elements.iter().flat_map(|value| value.to_le_bytes()).collect();
    file(INTS, dimensions, &bytes)
}

/// The three files of images of some size, of which each pixel is its number modulo 251.
fn files([height, width]: [usize; 2], views: &[View]) -> [Vec<u8>; 3] {
    let pixels: Vec<u8> =
        (0..2 * views.len() * height * width).map(|at| (at % 251) as u8).collect();
    let categories: Vec<i32> = views.iter().map(|view| view.category.into()).collect();
    let infos: Vec<i32> = views.iter().flat_map(info).collect();
    let n = views.len() as i32;
    [
        file(BYTES, &[n, 2, height as i32, width as i32], &pixels),
        ints(&[n], &categories),
        ints(&[n, 4], &infos),
    ]
}

/// As it stands in an `-info.mat` file.
fn info(view: &View) -> [i32; 4] {
    [view.instance, view.elevation, 2 * view.azimuth, view.lighting].map(i32::from)
}

/// Two images; every number is the least or the largest one in one of them.
const VIEWS: [View; 2] = [
    View { category: 0, instance: 9, elevation: 0, azimuth: 17, lighting: 0 },
    View { category: 4, instance: 0, elevation: 8, azimuth: 0, lighting: 5 },
];

const OFFICIAL: [(Part, &str); 2] = [
    (Part::Training, "smallnorb-5x46789x9x18x6x2x96x96-training"),
    (Part::Testing, "smallnorb-5x01235x9x18x6x2x96x96-testing"),
];

fn write(folder: &Folder, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
}

fn parse([dat, cat, info]: &[Vec<u8>; 3]) -> drlim::Result<Norb> {
    Norb::parse(dat, cat, info)
}

#[test]
fn small_norb_is_read_raw_and_packed_by_the_names_of_its_authors() {
    let files = files([3, 5], &VIEWS);
    for (part, begin) in OFFICIAL {
        for packed in [[false; 3], [true; 3], [true, false, true]] {
            let folder = Folder::new(&format!("norb-{part:?}-{}", u8::from(packed[1])));
            for ((what, bytes), packed) in ["dat", "cat", "info"].iter().zip(&files).zip(packed) {
                // Under either name packed or not: the content says which.
                write(&folder, &format!("{begin}-{what}.mat.gz"), &gzip(bytes));
                if !packed {
                    write(&folder, &format!("{begin}-{what}.mat"), bytes);
                    write(&folder, &format!("{begin}-{what}.mat.gz"), b"not looked at");
                }
            }
            let read = Norb::open(folder.path(), part).unwrap();
            assert_eq!([read.count(), read.height(), read.width()], [2, 3, 5]);
            assert_eq!(read.views(), VIEWS);
            assert_eq!(read, parse(&files).unwrap());
        }
    }
}

#[test]
fn images_views_and_pixels_of_small_norb_are_what_the_files_hold() {
    let norb = parse(&files([2, 3], &VIEWS)).unwrap();
    assert_eq!(norb.image(0, 0).unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(norb.image(0, 1).unwrap(), [6, 7, 8, 9, 10, 11]);
    assert_eq!(norb.image(1, 0).unwrap(), [12, 13, 14, 15, 16, 17]);
    assert_eq!(norb.image(1, 1).unwrap(), [18, 19, 20, 21, 22, 23]);
    assert_eq!([norb.view(0).unwrap(), norb.view(1).unwrap()], VIEWS);
    assert_eq!([norb.category(0).unwrap(), norb.category(1).unwrap()], [0, 4]);
    assert_eq!(CATEGORIES[2], "airplanes");
    for camera in 0..2 {
        let of_both: Vec<f64> = (0..2)
            .flat_map(|i| norb.image(i, camera).unwrap())
            .map(|&pixel| f64::from(pixel) / 255.0)
            .collect();
        assert_eq!(norb.pixels::<f64>(camera).unwrap(), of_both);
        let in_f32: Vec<f32> = of_both.iter().map(|&x| x as f32).collect();
        assert_eq!(norb.pixels::<f32>(camera).unwrap(), in_f32);
    }
    let refused = |error: Error| match error {
        Error::Value { arg, got, .. } => (arg, got),
        other => panic!("expected a refused number, got {other:?}"),
    };
    assert_eq!(refused(norb.image(2, 0).unwrap_err()), ("i", 2.0));
    assert_eq!(refused(norb.image(0, 2).unwrap_err()), ("camera", 2.0));
    assert_eq!(refused(norb.image(usize::MAX, 1).unwrap_err()), ("i", usize::MAX as f64));
    assert_eq!(refused(norb.view(2).unwrap_err()), ("i", 2.0));
    assert_eq!(refused(norb.category(9).unwrap_err()), ("i", 9.0));
    assert_eq!(refused(norb.pixels::<f32>(usize::MAX).unwrap_err()).0, "camera");

    let none = parse(&files([96, 96], &[])).unwrap();
    assert_eq!([none.count(), none.height()], [0, 96]);
    assert!(none.pixels::<f32>(1).unwrap().is_empty() && none.image(0, 0).is_err());
}

#[test]
fn a_selection_of_small_norb_keeps_the_order() {
    let views: Vec<View> = (0..40)
        .map(|i| View { category: i % 5, instance: i % 10, elevation: i % 9, ..VIEWS[0] })
        .collect();
    let norb = parse(&files([2, 2], &views)).unwrap();
    let planes = norb.select(|view| view.category == 2 && view.elevation < 5);
    let kept: Vec<usize> =
        (0..40).filter(|&i| views[i].category == 2 && views[i].elevation < 5).collect();
    assert_eq!([planes.count(), planes.height(), planes.width()], [kept.len(), 2, 2]);
    for (at, &i) in kept.iter().enumerate() {
        assert_eq!(planes.view(at).unwrap(), views[i]);
        for camera in 0..2 {
            assert_eq!(planes.image(at, camera).unwrap(), norb.image(i, camera).unwrap());
        }
    }
    assert_eq!(norb.select(|_| true), norb);
    assert_eq!(norb.select(|_| false).count(), 0);
}

/// Some of the bytes, with others at their end.
fn changed(bytes: &[u8], at: usize, to: &[u8]) -> Vec<u8> {
    [&bytes[..at], to, bytes.get(at + to.len()..).unwrap_or_default()].concat()
}

#[test]
fn malformed_files_of_small_norb_are_refused_with_the_place() {
    let good = files([2, 3], &VIEWS);
    let [dat, cat, info] = &good;
    let number = |of: &[u8], at, to: i32| changed(of, at, &to.to_le_bytes());
    let most = i32::MAX;
    let of_dat: &[(Vec<u8>, &str)] = &[
        (vec![], "byte 0: ends after 0 of 4 bytes of magic number"),
        (dat[..3].to_vec(), "byte 3: ends after 3 of 4 bytes of magic number"),
        (
            changed(dat, 0, &BYTES.to_be_bytes()),
            "byte 0: magic number 0x554c3d1e, expected 0x1e3d4c55, of a file of bytes",
        ),
        (cat.clone(), "byte 0: magic number 0x1e3d4c54, expected 0x1e3d4c55"),
        (dat[..7].to_vec(), "byte 7: ends after 3 of 4 bytes of number of dimensions"),
        (number(dat, 4, 3), "byte 4: 3 dimensions, expected 4"),
        (number(dat, 4, -1), "byte 4: -1 dimensions, expected 4"),
        (number(dat, 4, most), "byte 4: 2147483647 dimensions, expected 4"),
        (dat[..23].to_vec(), "byte 23: ends after 15 of 16 bytes of dimensions"),
        (number(dat, 8, -2), "byte 8: a dimension of -2"),
        (number(dat, 20, i32::MIN), "byte 20: a dimension of -2147483648"),
        (number(dat, 12, 3), "byte 12: 3 cameras, expected 2"),
        (number(dat, 16, 0), "byte 16: images of 0x3 pixels"),
        (number(dat, 20, 0), "byte 16: images of 2x0 pixels"),
        (dat[..47].to_vec(), "byte 47: ends after 23 of 24 bytes of elements"),
        (number(dat, 8, 3), "byte 48: ends after 24 of 36 bytes of elements"),
        (number(dat, 8, 1), "byte 36: more follows, though dimensions are [1, 2, 2, 3]"),
        ([&dat[..], &[0]].concat(), "byte 48: more follows"),
        // More than an address space, where the product fits and where it does not.
        (file(BYTES, &[most, 2, most, 1], &[1]), "byte 25: ends after 1 of 922337"),
        (file(BYTES, &[most; 4], &[]), "byte 12: 2147483647 cameras"),
        (file(BYTES, &[0, 2, most, most], &[1]), "byte 24: more follows"),
        (file(BYTES, &[9, 2, most, most], &[1]), "byte 8: the product of dimensions [9, 2, 21"),
    ];
    let of_cat: &[(Vec<u8>, &str)] = &[
        (changed(cat, 0, &BYTES.to_le_bytes()), "byte 0: magic number 0x1e3d4c55, expected 0x1e3d"),
        (number(cat, 4, 2), "byte 4: 2 dimensions, expected 1"),
        (number(cat, 12, 2), "byte 12: an unused dimension of 2, expected 1"),
        (number(cat, 16, 0), "byte 16: an unused dimension of 0, expected 1"),
        (cat[..19].to_vec(), "byte 19: ends after 11 of 12 bytes of dimensions"),
        (number(cat, 20, 5), "byte 20: a category of 5, expected 0 to 4"),
        (number(cat, 24, -1), "byte 24: a category of -1, expected 0 to 4"),
        (number(cat, 24, 256), "byte 24: a category of 256, expected 0 to 4"),
        (cat[..27].to_vec(), "byte 27: ends after 7 of 8 bytes of elements"),
        ([&cat[..], &[0]].concat(), "byte 28: more follows, though dimensions are [2]"),
        (ints(&[1], &[1]), "byte 8: 1 categories, but dat has 2 images"),
    ];
    let of_info: &[(Vec<u8>, &str)] = &[
        (changed(info, 0, &[0; 4]), "byte 0: magic number 0x00000000, expected 0x1e3d4c54"),
        (number(info, 4, 1), "byte 4: 1 dimensions, expected 2"),
        (number(info, 12, 5), "byte 12: 5 columns, expected 4"),
        (number(info, 16, 7), "byte 16: an unused dimension of 7, expected 1"),
        (number(info, 20, 10), "byte 20: an instance of 10, expected 0 to 9"),
        (number(info, 24, 9), "byte 24: an elevation of 9, expected 0 to 8"),
        (number(info, 28, 35), "byte 28: an azimuth of 35, expected an even number from 0 to 34"),
        (number(info, 44, 3), "byte 44: an azimuth of 3, expected an even number from 0 to 34"),
        (number(info, 44, 36), "byte 44: an azimuth of 36, expected an even number from 0 to 34"),
        (number(info, 48, 6), "byte 48: a lighting of 6, expected 0 to 5"),
        (number(info, 48, i32::MIN), "byte 48: a lighting of -2147483648, expected 0 to 5"),
        (info[..50].to_vec(), "byte 50: ends after 30 of 32 bytes of elements"),
        ([&info[..], &[9]].concat(), "byte 52: more follows, though dimensions are [2, 4]"),
        (ints(&[0, 4], &[]), "byte 8: 0 rows, but dat has 2 images"),
    ];
    for (file, bad) in [of_dat, of_cat, of_info].into_iter().enumerate() {
        let name = Path::new(["dat", "cat", "info"][file]);
        for (bytes, reason) in bad {
            let mut files = good.clone();
            files[file].clone_from(bytes);
            assert_refused(parse(&files), name, reason);
            files[file] = gzip(bytes);
            let packed = if reason.contains("but dat has") { "" } else { "unpacked: " };
            assert_refused(parse(&files), name, &format!("{packed}{reason}"));
        }
    }
    // The checksum is only seen behind the last element; zeros may follow it.
    let packed = gzip(cat);
    let short = [dat.clone(), packed[..packed.len() - 3].to_vec(), info.clone()];
    assert_refused(parse(&short), "cat".as_ref(), "unpacked: byte 28: ");
    let padded = [dat.clone(), [&packed[..], &[0; 512]].concat(), info.clone()];
    assert_eq!(parse(&padded), parse(&good));
}

#[test]
fn errors_of_small_norb_name_the_file() {
    let folder = Folder::new("norb-names");
    let [dat, cat, info] = files([1, 1], &VIEWS);
    let paths = ["a", "b", "c"].map(|name| folder.join(name));
    let read = || Norb::read(&paths[0], &paths[1], paths[2].to_str().unwrap());
    assert_refused(read(), &paths[1], "os error");
    fs::write(&paths[1], &cat).unwrap();
    assert_refused(read(), &paths[2], "os error");
    fs::write(&paths[2], &info).unwrap();
    assert_refused(read(), &paths[0], "os error");
    fs::write(&paths[0], &dat[..25]).unwrap();
    assert_refused(read(), &paths[0], "byte 25: ends after 1 of 4 bytes of elements");
    fs::write(&paths[0], &dat).unwrap();
    assert_eq!(read().unwrap().views(), VIEWS);
    fs::write(&paths[2], ints(&[1, 4], &[0; 4])).unwrap();
    let reason = format!("byte 8: 1 rows, but {} has 2 images", paths[0].display());
    assert_refused(read(), &paths[2], &reason);
}

#[test]
fn small_norb_under_other_names_is_found_where_there_is_one() {
    let folder = Folder::new("norb-others");
    let dir = folder.path();
    let open = || Norb::open(dir, Part::Training);
    let [dat, cat, info] = files([1, 2], &VIEWS);
    assert_refused(
        open(),
        dir,
        "none of smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat, \
         smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat.gz, *-training-dat.mat, *-training-dat.mat.gz",
    );
    write(&folder, "planes-training-dat.mat.gz", &gzip(&dat));
    assert_refused(open(), dir, "none of planes-training-cat.mat, planes-training-cat.mat.gz");
    write(&folder, "planes-training-cat.mat", &cat);
    // Of another set, and of another part.
    write(&folder, "cars-training-info.mat", &info);
    write(&folder, "planes-testing-dat.mat", &dat);
    write(&folder, "training-dat.mat", &dat);
    write(&folder, "planes-training-dat.mat.old", &dat);
    assert_refused(open(), dir, "none of planes-training-info.mat, planes-training-info.mat.gz");
    write(&folder, "planes-training-info.mat.gz", &info);
    assert_eq!(open().unwrap().views(), VIEWS);
    // Raw beside packed is the same one.
    write(&folder, "planes-training-dat.mat", &dat);
    assert_eq!(open().unwrap().count(), 2);
    write(&folder, "cars-training-dat.mat.gz", &gzip(&dat));
    let reason = "several files end in -training-dat.mat, expected one: \
                  cars-training, planes-training";
    assert_refused(open(), dir, reason);
    // The authors' own name comes first.
    for (what, bytes) in [("dat", &dat), ("cat", &cat), ("info", &info)] {
        write(&folder, &format!("{}-{what}.mat", OFFICIAL[0].1), bytes);
    }
    assert_eq!(open().unwrap().views(), VIEWS);
    let absent = folder.join("absent");
    assert_refused(Norb::open(&absent, Part::Testing), &absent, "os error");
}

fn any_view() -> impl Strategy<Value = View> {
    (0..5_u8, 0..10_u8, 0..9_u8, 0..18_u8, 0..6_u8).prop_map(
        |(category, instance, elevation, azimuth, lighting)| View {
            category,
            instance,
            elevation,
            azimuth,
            lighting,
        },
    )
}

proptest! {
    #[test]
    fn small_norb_that_is_written_is_read_back(
        size in [1..7_usize, 1..7],
        views in vec(any_view(), 0..6),
    ) {
        let files = files(size, &views);
        let read = parse(&files).unwrap();
        prop_assert_eq!([read.height(), read.width()], size);
        prop_assert_eq!(read.views(), &views[..]);
        let images: Vec<&[u8]> = (0..2 * views.len())
            .map(|at| read.image(at / 2, at % 2).unwrap())
            .collect();
        prop_assert_eq!(images.concat(), &files[0][24..]);
        prop_assert_eq!(parse(&files.each_ref().map(|bytes| gzip(bytes))).unwrap(), read);
    }

    /// A file may lose its end, and a byte of it may change: it is refused, or read as something that is
    /// consistent.
    #[test]
    fn damaged_files_of_small_norb_do_not_panic(
        views in vec(any_view(), 0..4),
        damaged in 0..3_usize,
        packed in any::<bool>(),
        end in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut files = files([2, 2], &views);
        let file = &mut files[damaged];
        if packed {
            *file = gzip(file);
        }
        let end = end.index(file.len());
        if cut {
            file.truncate(end);
            let read = parse(&files);
            prop_assert!(read.is_err(), "{end} bytes are not enough");
        } else {
            let at = at.index(file.len());
            file[at] = to;
            if let Ok(read) = parse(&files) {
                // Without images they may be of another size.
                let size = [read.height(), read.width()];
                prop_assert!(read.count() == views.len() && (views.is_empty() || size == [2, 2]));
                prop_assert_eq!(read.pixels::<f32>(1).unwrap().len(), 4 * views.len());
            }
        }
    }
}
