//! Which tier a process runs on: what the processor has, what `DRLIM_ISA` says, and that the tests
//! themselves fail where `DRLIM_ENSURE_ISA` asks for what is not there.
//!
//! The environment is read once for each process, so these tests run this binary again with other
//! variables. The tests marked `ignore` are what such a child runs.

#![forbid(unsafe_code)]

use std::process::{Command, Output};

use crate::support::tiers;
use drlim::{Cx, Error, Isa, Par, Tier};

/// Runs one ignored test of this binary with one environment variable set, or none.
fn child(test: &str, variable: Option<(&str, &str)>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            &format!("tiers::{test}"),
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env_remove("DRLIM_ISA")
        .env_remove("DRLIM_ENSURE_ISA")
        .envs(variable);
    command.output().unwrap()
}

/// The lines of `stream` that the crate wrote.
fn lines_of_the_crate(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stream);
    // A line of the test harness ends in "... " where the test's own output begins.
    text.lines().filter_map(|line| line.find("drlim: ").map(|at| line[at..].to_owned())).collect()
}

#[test]
#[ignore = "run in a child process by the tests below"]
fn child_reports_its_default() {
    for _ in 0..3 {
        println!("drlim: default {}, {:?}", Isa::default(), Isa::from_env());
    }
    assert_eq!(Cx::default(), Cx { isa: Isa::default(), par: Par::Rayon });
}

#[test]
#[ignore = "run in a child process by the tests below"]
fn child_asks_for_the_tiers() {
    assert!(!tiers().is_empty());
}

fn default_under(variable: Option<(&str, &str)>) -> (String, Vec<String>) {
    let output = child("child_reports_its_default", variable);
    assert!(output.status.success(), "{output:?}");
    let mut reports = lines_of_the_crate(&output.stdout);
    assert_eq!(reports.len(), 3, "{output:?}");
    reports.dedup();
    assert_eq!(reports.len(), 1, "the default changed: {reports:?}");
    (reports.remove(0), lines_of_the_crate(&output.stderr))
}

#[test]
fn names_of_tiers_are_read_back() {
    for tier in Tier::ALL {
        assert_eq!(tier.to_string().parse(), Ok(tier));
    }
    assert_eq!(Tier::ALL.map(|tier| tier.to_string()), ["portable", "avx2", "avx512"]);
    for wrong in ["", "AVX2", " avx2", "avx", "avx512f", "sse2"] {
        assert_eq!(wrong.parse::<Tier>(), Err(Error::UnknownTier { got: wrong.to_owned() }));
    }
    let error = "avx9".parse::<Tier>().unwrap_err();
    assert_eq!(error.to_string(), "\"avx9\" is not a tier, expected portable, avx2 or avx512");
}

#[test]
fn available_tiers_are_those_that_can_be_had() {
    let available = tiers();
    assert_eq!(available.first().map(|isa| isa.tier()), Some(Tier::Portable));
    assert_eq!(available.last(), Some(&Isa::best()));
    assert!(available.is_sorted_by(|a, b| a.tier() < b.tier()), "{available:?}");
    for tier in Tier::ALL {
        match Isa::new(tier) {
            Ok(isa) => assert!(isa.tier() == tier && available.contains(&isa)),
            Err(error) => {
                assert_eq!(error, Error::Tier { wanted: tier });
                assert!(available.iter().all(|isa| isa.tier() != tier));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_tier_needs_all_of_its_features() {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("popcnt");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    assert_eq!(Isa::new(Tier::Avx2).is_ok(), avx2);
    assert_eq!(Isa::new(Tier::Avx512).is_ok(), avx512);
}

#[test]
fn without_a_word_the_default_is_the_best_tier() {
    let best = Isa::best();
    let (report, complaints) = default_under(None);
    assert_eq!(report, format!("drlim: default {best}, Ok({best:?})"));
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn drlim_isa_lowers_the_default() {
    for isa in tiers() {
        let (report, complaints) = default_under(Some(("DRLIM_ISA", &isa.to_string())));
        assert_eq!(report, format!("drlim: default {isa}, Ok({isa:?})"));
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

#[test]
fn a_tier_that_is_not_there_gives_the_next_one_down_and_one_line() {
    for tier in Tier::ALL.into_iter().filter(|&tier| Isa::new(tier).is_err()) {
        let below = tiers().into_iter().rfind(|isa| isa.tier() < tier).unwrap();
        let (report, complaints) = default_under(Some(("DRLIM_ISA", &tier.to_string())));
        let error = Error::Tier { wanted: tier };
        assert_eq!(report, format!("drlim: default {below}, Err({error:?})"));
        assert_eq!(complaints, [format!("drlim: DRLIM_ISA: {error}; using {below}")]);
    }
}

#[test]
fn an_unknown_tier_gives_the_best_one_and_one_line() {
    let best = Isa::best();
    for wrong in ["avx1024", "", "AVX2"] {
        let (report, complaints) = default_under(Some(("DRLIM_ISA", wrong)));
        let error = Error::UnknownTier { got: wrong.to_owned() };
        assert_eq!(report, format!("drlim: default {best}, Err({error:?})"));
        assert_eq!(complaints, [format!("drlim: DRLIM_ISA: {error}; using {best}")]);
    }
}

#[test]
fn tests_fail_where_an_ensured_tier_is_not_there() {
    let ensured = |wanted: &str| {
        let output = child("child_asks_for_the_tiers", Some(("DRLIM_ENSURE_ISA", wanted)));
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for tier in Tier::ALL {
        let (passed, complaint) = ensured(&tier.to_string());
        assert_eq!(passed, Isa::new(tier).is_ok(), "{tier}: {complaint}");
    }
    for wrong in ["avx1024", ""] {
        let (passed, complaint) = ensured(wrong);
        assert!(!passed && complaint.contains("is not a tier"), "{wrong:?}: {complaint}");
    }
}
