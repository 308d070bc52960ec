//! An example as a user meets it: a process of its own, on a tiny data set, in a folder that goes when the test ends.
//!
//! `cargo test` builds the examples beside the tests; `cargo test --test house` alone takes those that were built
//! last.

#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use drlim::Rng;

/// Pixels of an image in each direction.
pub const SIDE: usize = 8;
pub const TRAIN: usize = 40;
pub const TEST: usize = 12;

/// A folder that is gone when the test ends.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("drlim-example-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A data set of two classes, 3 and 7: a bright column on the left or on the right, and noise.
    pub fn with_digits(name: &str) -> Self {
        let place = Place::new(name);
        let mut rng = Rng::new(1);
        for (part, count) in [("train", TRAIN), ("t10k", TEST)] {
            let labels: Vec<u8> = (0..count).map(|i| if i % 2 == 0 { 3 } else { 7 }).collect();
            let mut pixels = Vec::new();
            for &label in &labels {
                for at in 0..SIDE * SIDE {
                    let bright = at % SIDE == usize::from(label) - 2;
                    pixels.push(rng.below(60) as u8 + if bright { 190 } else { 0 });
                }
            }
            place.write_idx(&format!("{part}-images-idx3-ubyte"), &[count, SIDE, SIDE], &pixels);
            place.write_idx(&format!("{part}-labels-idx1-ubyte"), &[count], &labels);
        }
        place
    }

    pub fn write_idx(&self, name: &str, dimensions: &[usize], elements: &[u8]) {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        dimensions.iter().for_each(|&d| bytes.extend((d as u32).to_be_bytes()));
        bytes.extend(elements);
        fs::write(self.join(name), bytes).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs an example of this build.
pub fn example(name: &str, arguments: &[&str]) -> Output {
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().nth(2).unwrap();
    let example = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(example.exists(), "{} is not there: cargo build --example {name}", example.display());
    Command::new(example).args(arguments).output().unwrap()
}
