//! The example `mnist` as a user meets it: a run on a tiny data set of its own, what it refuses, and the
//! digits that lie beside it.
//!
//! `cargo test` builds the example beside the tests; `cargo test --test house` alone takes
//! the one that was built last.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Output;

use super::example::{Place, SIDE, TEST, TRAIN, example};
use drlim::data::idx::Dataset;

fn mnist(arguments: &[&str]) -> Output {
    example("mnist", arguments)
}

fn run(data: &Path, out: &Path, more: &[&str]) -> String {
    let folders = ["--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let output = mnist(&[&folders, ["--epochs", "1"].as_slice(), more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_run_leaves_all_its_files() {
    let digits = Place::with_digits("files");
    let out = digits.join("out/of/many");
    let said = run(&digits.0, &out, &["--threads", "2", "--seed", "9", "--margin", "0.5"]);

    let mut names: Vec<_> =
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let expected = [
        "embedding.csv",
        "embedding.png",
        "embedding.svg",
        "loss.svg",
        "model.safetensors",
        "report.json",
    ];
    assert_eq!(names, expected);
    for name in expected {
        assert!(said.contains(out.join(name).to_str().unwrap()), "{name} is not named in {said}");
    }

    let csv = fs::read_to_string(out.join("embedding.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["split", "index", "label", "z0", "z1"]);
    assert_eq!(rows.len(), 1 + TRAIN + TEST);
    assert_eq!(rows[TRAIN][..3], ["train", "39", "7"]);
    assert_eq!(rows[TRAIN + 1][..3], ["test", "0", "3"]);
    for row in &rows[1..] {
        assert!(row[3..].iter().all(|z| z.parse::<f32>().unwrap().is_finite()), "{row:?}");
    }

    let png = fs::read(out.join("embedding.png")).unwrap();
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    for name in ["embedding.svg", "loss.svg"] {
        let svg = fs::read_to_string(out.join(name)).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
    }
}

#[test]
fn the_report_and_the_model_hold_what_is_promised() {
    let digits = Place::with_digits("report");
    let out = digits.join("out");
    run(&digits.0, &out, &["--threads", "2", "--seed", "9", "--margin", "0.5"]);

    let text = fs::read_to_string(out.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["knn_error", "pca_knn_error", "raw_knn_error", "train_loo_error"] {
        assert!((0.0..=1.0).contains(&report[key].as_f64().unwrap()), "{key} in {text}");
    }
    for key in ["train_seconds", "seconds", "pairs_per_second"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key} in {text}");
    }
    assert!(report["seconds"].as_f64() >= report["train_seconds"].as_f64());
    assert_eq!(report["loss"].as_array().unwrap().len(), 1);
    assert_eq!(report["raw_knn_error"], 0.0);
    assert!(["portable", "avx2", "avx512"].contains(&report["isa"].as_str().unwrap()));
    for (key, value) in [("threads", 2.0), ("seed", 9.0), ("margin", 0.5), ("epochs", 1.0)] {
        assert_eq!(report[key].as_f64(), Some(value), "{key} in {text}");
    }

    let bytes = fs::read(out.join("model.safetensors")).unwrap();
    let model = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for (name, shape) in [
        ("c1.weight", [15, 1, 6, 6].as_slice()),
        ("c1.bias", &[15]),
        ("s2.coefficient", &[15]),
        ("s2.bias", &[15]),
        ("c3.weight", &[30, 15, 9, 9]),
        ("c3.bias", &[30]),
        ("f4.weight", &[2, 30]),
        ("f4.bias", &[2]),
    ] {
        assert_eq!(model.tensor(name).unwrap().shape(), shape, "{name}");
    }
    assert_eq!(model.len(), 8);
}

#[test]
fn the_report_says_which_pairs_and_how_many() {
    let digits = Place::with_digits("pairs");
    // A batch of all 40 images has 780 pairs. In an epoch of neighbours six images come for each of
    // the 40, in one of labels each comes once.
    for (pairs, neighbours, steps) in [("batch", Some(5), 6.0), ("batch-labels", None, 1.0)] {
        let out = digits.join(pairs);
        run(&digits.0, &out, &["--pairs", pairs]);
        let text = fs::read_to_string(out.join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["pairs"], pairs);
        assert_eq!(report["neighbors"].as_u64(), neighbours);
        let number = |key: &str| report[key].as_f64().unwrap();
        let seen = number("pairs_per_second") * number("train_seconds");
        assert!((seen - steps * 780.0).abs() < 1e-6 * seen, "{seen} pairs by {pairs}");
        assert!(report["loss"][0].as_f64().unwrap() > 0.0, "{text}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let digits = Place::with_digits("bytes");
    for pairs in ["neighbors", "batch", "labels", "batch-labels"] {
        let embedding = |name: &str, more: &[&str]| {
            let out = digits.join(name);
            run(&digits.0, &out, &[&["--pairs", pairs], more].concat());
            ["embedding.csv", "embedding.svg", "embedding.png", "model.safetensors"]
                .map(|name| fs::read(out.join(name)).unwrap())
        };
        let serial = embedding("serial", &["--threads", "1"]);
        assert!(serial == embedding("parallel", &["--threads", "2"]), "{pairs}");
        assert!(serial != embedding("other", &["--threads", "1", "--seed", "2"]), "{pairs}");
    }
}

#[test]
fn bad_input_ends_with_one_line_and_status_2() {
    let digits = Place::with_digits("refusals");
    let data = digits.0.to_str().unwrap();
    let taken = digits.join("taken");
    fs::write(&taken, "a file").unwrap();
    let oblong = Place::with_digits("oblong");
    let large = Place::with_digits("large");
    for (place, height, width) in [(&oblong, 4, 16), (&large, 33, 33)] {
        for (part, count) in [("train", TRAIN), ("t10k", TEST)] {
            let pixels = vec![9; count * height * width];
            let name = format!("{part}-images-idx3-ubyte");
            place.write_idx(&name, &[count, height, width], &pixels);
        }
    }
    let few = Place::with_digits("few");
    few.write_idx("train-images-idx3-ubyte", &[2, SIDE, SIDE], &[0; 2 * SIDE * SIDE]);
    few.write_idx("train-labels-idx1-ubyte", &[2], &[3, 7]);

    let out = digits.join("out");
    let refused = |arguments: &[&str], reason: &str| {
        let output = mnist(&[arguments, &["--out", out.to_str().unwrap()]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.matches('\n').count(), 1, "{arguments:?}: {said}");
        assert!(said.ends_with('\n') && said.contains(reason), "{arguments:?}: {said}");
    };
    refused(&["--data", "/no/such/folder"], "/no/such/folder");
    refused(&["--data", "/no/such\nfolder"], "/no/such folder");
    refused(&["--data", oblong.0.to_str().unwrap()], "4x16");
    refused(&["--data", large.0.to_str().unwrap()], "33x33");
    refused(&["--data", few.0.to_str().unwrap()], "2 training");
    refused(&["--data", data, "--classes", "3,8"], "class 8");
    refused(&["--data", data, "--classes", "3"], "two or more");
    refused(&["--data", data, "--classes", "3,3"], "two or more");
    refused(&["--data", data, "--classes", "3,300"], "300");
    refused(&["--data", data, "--epochs", "0"], "--epochs");
    refused(&["--data", data, "--epochs", "one"], "--epochs");
    refused(&["--data", data, "--threads", "0"], "--threads");
    refused(&["--data", data, "--seed", "-1"], "-1");
    refused(&["--data", data, "--margin", "0"], "margin");
    refused(&["--data", data, "--margin", "NaN"], "margin");
    refused(&["--data", data, "--neighbors", "0"], "--neighbors");
    refused(&["--data", data, "--neighbors", "40"], "--neighbors");
    refused(&["--data", data, "--neighbors", "39"], "dissimilar");
    refused(&["--data", data, "--neighbors", "5", "--pairs", "labels"], "--neighbors");
    refused(&["--data", data, "--neighbors", "5", "--pairs", "batch-labels"], "--neighbors");
    refused(&["--data", data, "--neighbors", "39", "--pairs", "batch"], "dissimilar");
    refused(&["--data", data, "--pairs", "colours"], "colours");
    refused(&["--data", data, "--speed", "9"], "--speed");
    refused(&["--data", data, "words"], "words");
    assert!(!out.join("report.json").exists());

    let inside_a_file = taken.join("out");
    for unwritable in [&taken, &inside_a_file] {
        let folders = ["--data", data, "--epochs", "1", "--out", unwritable.to_str().unwrap()];
        let output = mnist(&folders);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.matches('\n').count(), 1, "{said}");
        assert!(said.contains("taken"), "{said}");
    }
    assert_eq!(fs::read_to_string(&taken).unwrap(), "a file");
}

#[test]
fn help_is_no_error() {
    let output = mnist(&["--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let said = String::from_utf8(output.stdout).unwrap();
    for option in ["--data", "--classes", "--neighbors", "--pairs"] {
        assert!(said.contains(option), "{option} is missing from {said}");
    }
}

#[test]
fn the_embedded_digits_are_what_their_readme_says() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist49");
    let digits = Dataset::open(&data).unwrap();
    for (part, fours, nines) in [(&digits.train, 3000, 3000), (&digits.test, 982, 1009)] {
        assert_eq!([part.images().height(), part.images().width()], [28, 28]);
        assert_eq!(part.images().count(), fours + nines);
        assert_eq!(part.images().pixels().len(), (fours + nines) * 784);
        assert_eq!(part.labels().iter().filter(|&&label| label == 4).count(), fours);
        assert_eq!(part.select(&[9]).labels(), vec![9; nines]);
        assert!(part.images().pixels().contains(&255));
    }
}
