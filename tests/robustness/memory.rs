//! A process with little memory: what a caller asks for by a number alone, and what a file unpacks to, is
//! refused where there is none for it. Nothing aborts.
//!
//! Sizes rise by steps beyond the limit, so that different buffers of a call are the first for which there
//! is no room.

#![cfg(target_os = "linux")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;

use drlim::batch::PairList;
use drlim::data::idx::{parse_images, parse_labels};
use drlim::nn::{AvgPool2d, Backward, Conv2d, Dense, Forward, Layer, Network, Shape, Workspace};
use drlim::optim::Sgd;
use drlim::pairs::{nearest, nearest_others, neighbour_graph};
use drlim::siamese::{Siamese, Towers};
use drlim::{Cx, Error, Graph, Mat, Par, Result, gradcheck};

use crate::readers::bomb;

/// Tells a process that another one has started it, with this much memory.
const LIMITED: &str = "DRLIM_TEST_LIMITED";

/// Kilobytes of addresses: of which the program and its libraries take some.
const KILOBYTES: usize = 192 << 10;

/// A call, of a size such that it takes about so many bytes.
type Sized = (&'static str, fn(usize) -> Result<()>);

fn cx() -> Cx {
    Cx { par: Par::Serial, ..Cx::default() }
}

/// So many rows of no elements, which take no memory.
fn rows(n: usize) -> Mat<'static, f32> {
    Mat::new(&[], n, 0).unwrap()
}

fn dense(inputs: usize, outputs: usize) -> Result<Network<f32>> {
    Network::builder(Shape::flat(inputs)).layer("map", Dense::new(outputs)).build(1)
}

fn small_images() -> Network<f32> {
    Network::builder(Shape::image(1, 4, 4))
        .layer("conv", Conv2d::new(2, 3).padding(1))
        .layer("pool", AvgPool2d::new(2))
        .layer("dense", Dense::new(1))
        .build(1)
        .unwrap()
}

const CALLS: [Sized; 18] = [
    ("Graph::from_pairs", |bytes| Graph::from_pairs(bytes / 16, &[(0, 1)]).map(drop)),
    ("PairList::new", |bytes| PairList::new(bytes / 4, &[(0, 1)]).map(drop)),
    ("nearest", |bytes| nearest(&cx(), rows(bytes / 32), rows(5), 4).map(drop)),
    ("nearest_others", |bytes| nearest_others(&cx(), rows(bytes / 32), 4).map(drop)),
    ("neighbour_graph", |bytes| neighbour_graph(&cx(), rows(bytes / 160), 4).map(drop)),
    ("Network, wide", |bytes| dense(bytes / 12, 1).map(drop)),
    ("Network, high", |bytes| dense(1, bytes / 16).map(drop)),
    ("Network of images", |bytes| {
        let side = ((bytes / 30) as f64).sqrt() as usize + 2;
        let net = Network::<f32>::builder(Shape::image(1, side, side));
        net.layer("conv", Conv2d::new(1, side - 1)).build(1).map(drop)
    }),
    ("Network of maps", |bytes| {
        let net = Network::<f32>::builder(Shape::image(1, 2, 2));
        net.layer("conv", Conv2d::new(bytes / 40, 1)).build(1).map(drop)
    }),
    ("Workspace::training", |bytes| Workspace::training(&small_images(), bytes / 500).map(drop)),
    ("Workspace::inference", |bytes| Workspace::inference(&small_images(), bytes / 36).map(drop)),
    ("Siamese", |bytes| Siamese::new(dense(1, 1)?, Sgd::new(), bytes / 150).map(drop)),
    ("Siamese of many parameters", |bytes| {
        Siamese::new(dense(1, bytes / 60)?, Sgd::new(), 1).map(drop)
    }),
    ("Towers", |bytes| {
        Towers::new([dense(1, 1)?, dense(1, 1)?], [Sgd::new(), Sgd::new()], bytes / 40).map(drop)
    }),
    ("Towers of many parameters", |bytes| {
        let nets = [dense(1, bytes / 120)?, dense(1, bytes / 120)?];
        Towers::new(nets, [Sgd::new(), Sgd::new()], 1).map(drop)
    }),
    ("check_network", |bytes| {
        let net = Network::<f64>::builder(Shape::flat(4096)).layer("weary", Weary).build(1);
        let check =
            AssertUnwindSafe(|| gradcheck::check_network(&mut net?, bytes / (56 * 4096), 1));
        // Where the layer is asked, there is memory.
        match catch_unwind(check) {
            Ok(checked) => checked.map(drop),
            Err(panic) => {
                assert!(panic.is::<()>(), "another panic than the layer's");
                Ok(())
            }
        }
    }),
    ("padded images", |bytes| {
        let one = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7];
        parse_images(&one)?.padded::<f32>(((bytes / 4) as f64).sqrt() as usize).map(drop)
    }),
    ("labels that unpack", |bytes| {
        if bytes < 150 << 20 {
            return Ok(());
        }
        parse_labels(&bomb(&[bytes as u32], bytes)).map(drop)
    }),
];

/// A layer that is only good for being asked.
struct Weary;

impl Layer<f64> for Weary {
    fn describe(&self) -> String {
        "Weary".into()
    }
    fn connect(&mut self, input: Shape) -> std::result::Result<Shape, String> {
        Ok(input)
    }
    fn forward(&self, _: &Cx, _: Forward<f64>) {
        resume_unwind(Box::new(()));
    }
    fn backward(&self, _: &Cx, _: Backward<f64>) {}
}

/// Whether an error says that there is too little memory.
fn is_of_memory(error: &Error) -> bool {
    match error {
        Error::Overflow { .. } => true,
        Error::Network { reason, .. } => reason.contains("overflows"),
        Error::File { reason, .. } => reason.contains("memory"),
        _ => false,
    }
}

#[test]
#[ignore = "a process that another test starts with little memory"]
fn asks_for_more_than_there_is() {
    if std::env::var_os(LIMITED).is_none() {
        return;
    }
    for (name, call) in CALLS {
        let (mut done, mut refused) = (0, 0);
        // From where everything fits.
        let mut bytes = 64 << 20;
        while bytes < 2048 * KILOBYTES {
            match call(bytes) {
                Ok(()) => done += 1,
                Err(error) => {
                    assert!(is_of_memory(&error), "{name}: {error}");
                    refused += 1;
                }
            }
            bytes += bytes / 4;
        }
        println!("\n{name}: {done} done, {refused} refused.");
    }
    println!("\nasked all");
}

#[test]
fn what_there_is_no_memory_for_is_refused() {
    let output = Command::new("sh")
        .args(["-c", &format!(r#"ulimit -v {KILOBYTES} && exec "$@""#), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1"])
        .arg("memory::asks_for_more_than_there_is")
        // Threads and their heaps take addresses.
        .envs([(LIMITED, "1"), ("MALLOC_ARENA_MAX", "1"), ("RAYON_NUM_THREADS", "1")])
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let [said, complained] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(said.contains("asked all"), "{}:\n{said}\n{complained}", output.status);
    for (name, _) in CALLS {
        let line = said.lines().find(|line| line.starts_with(&format!("{name}: "))).unwrap();
        println!("{line}");
        assert!(!line.contains(": 0 done"), "{line}");
        assert!(!line.contains(" 0 refused."), "{line}");
    }
}
