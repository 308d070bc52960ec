//! The examples `shifts` and `turntable`: what they write, that it is the same bytes by any number of threads, and what
//! they refuse.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::example::{Place, example};

/// Runs an example to its end, and reads its report.
fn run(name: &str, out: &Path, arguments: &[&str]) -> (String, Value) {
    let output = example(name, &[arguments, &["--out", out.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = fs::read_to_string(out.join("report.json")).unwrap();
    (String::from_utf8(output.stdout).unwrap(), serde_json::from_str(&report).unwrap())
}

/// That all of these numbers of a report are shares.
fn assert_shares(report: &Value, keys: &[&str]) {
    for key in keys {
        let share = report[*key].as_f64();
        assert!(share.is_some_and(|share| (0.0..=1.0).contains(&share)), "{key} of {report}");
    }
}

/// The files of two runs, which are to be the same.
fn assert_same_files(one: &Path, other: &Path, names: &[&str]) {
    for name in names {
        let [one, other] = [one, other].map(|out| fs::read(out.join(name)).unwrap());
        assert!(one == other, "{name}");
    }
}

#[test]
fn shifted_digits_are_mapped_twice_and_measured() {
    let digits = Place::with_digits("shifts");
    let data =
        ["--data", digits.0.to_str().unwrap(), "--neighbor-epochs", "1", "--shift-epochs", "1"];
    let [serial, parallel] = ["1", "2"].map(|threads| {
        let out = digits.join(threads);
        let (said, report) = run("shifts", &out, &[&data[..], &["--threads", threads]].concat());
        assert!(said.contains("shifts.png") && said.contains("lle.png"), "{said}");
        for similar in ["neighbours", "shifts"] {
            assert_shares(&report[similar], &["digit_error", "shift_error"]);
            assert!(report[similar]["own_over_random"].as_f64().unwrap() > 0.0, "{report}");
        }
        assert_shares(&report["lle"], &["digit_error", "shift_error"]);
        // 40 originals: 4 other versions each, and 25 by each pair of neighbours.
        let pairs = report["shifts"]["similar_pairs"].as_u64().unwrap();
        assert!((40 * 10 + 25 * 100..=40 * 10 + 25 * 200).contains(&pairs), "{pairs}");
        assert_eq!([&report["train_images"], &report["test_images"]], [200, 60]);
        out
    });
    assert_same_files(&serial, &parallel, &["shifts.svg", "shifts.png", "lle.svg"]);
    let refused = example("shifts", &["--data", "/no/such/folder"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/no/such/folder"));
}

#[test]
fn a_turntable_is_mapped_and_set_beside_lle_and_pca() {
    let place = Place::new("turntable");
    let [serial, parallel] = ["1", "2"].map(|threads| {
        let out = place.join(threads);
        let (said, report) = run("turntable", &out, &["--steps", "20", "--threads", threads]);
        assert!(said.contains("synthetic airplane"), "{said}");
        for embedding in ["mapping", "lle", "pca"] {
            let keys = [
                "azimuth_within_a_step",
                "elevation_within_a_step",
                "both_within_a_step",
                "lighting_equal",
            ];
            assert_shares(&report[embedding], &keys);
        }
        assert_eq!([&report["train_views"], &report["test_views"]], [660, 312]);
        let count = |key: &str| report[key].as_u64().unwrap();
        // A random 660 of the views has 10 974 similar pairs on average.
        assert!((10_500..11_500).contains(&count("similar_pairs")), "{report}");
        assert_eq!(count("similar_pairs") + count("dissimilar_pairs"), 660 * 659 / 2);
        assert_eq!(report["synthetic"], true);
        out
    });
    assert_same_files(&serial, &parallel, &["turntable.svg", "turntable.png", "model.safetensors"]);
    for (arguments, reason) in [
        (&["--data", "/no/such/folder"][..], "/no/such/folder"),
        (&["--instance", "3"], "--data"),
        (&["--object", "boat"], "boat"),
    ] {
        let refused = example("turntable", arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(reason) && said.matches('\n').count() == 1, "{said}");
    }
}
