//! At any moment the path leads to a whole file: processes that are killed while they save, and saves
//! that fail.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use drlim::nn::{Dense, Network, Shape};
use drlim::{Error, checkpoint};

use crate::checkpoints::network;
use crate::support::{Folder, Random};

/// Where a process that a test has started finds the file to save to.
const PATH: &str = "DRLIM_TEST_CHECKPOINT";

fn path_of_child() -> Option<PathBuf> {
    std::env::var_os(PATH).map(PathBuf::from)
}

/// This test binary again, running one of its ignored tests on a file.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "--nocapture"])
        .arg(format!("checkpoints::{test}"))
        .env(PATH, path);
    command
}

/// 256 KB, so that a write takes a while.
fn large() -> Network<f32> {
    Network::builder(Shape::flat(255)).layer("map", Dense::new(256)).build(1).unwrap()
}

/// The number that all parameters are.
fn number(path: &Path) -> u32 {
    let mut net = large();
    checkpoint::load(&mut net, path).unwrap();
    let first = net.params()[0];
    assert!(net.params().iter().all(|&value| value == first), "of one save alone");
    first as u32
}

#[test]
#[ignore = "a process that another test starts and kills"]
fn saves_without_end() {
    let Some(path) = path_of_child() else { return };
    let mut net = large();
    let first = number(&path);
    for n in first + 1.. {
        net.params_mut().fill(n as f32);
        checkpoint::save(&net, &path).unwrap();
        if n == first + 1 {
            println!("\nsaved once");
        }
    }
}

#[test]
fn a_process_that_is_killed_at_any_moment_leaves_a_whole_file() {
    let folder = Folder::new("killed");
    let path = folder.join("net.safetensors");
    let mut net = large();
    net.params_mut().fill(0.0);
    checkpoint::save(&net, &path).unwrap();
    let mut random = Random::new(1);
    let (mut last, mut half_written) = (0, 0);
    for kill in 0..40 {
        let mut process = child("replaced::saves_without_end", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(lines.map(Result::unwrap).any(|line| line == "saved once"), "kill {kill}");
        std::thread::sleep(Duration::from_micros(random.between::<f64>(0.0, 2e4) as u64));
        process.kill().unwrap();
        process.wait().unwrap();

        let found = number(&path);
        assert!(found > last, "{found} after {last}: what was saved stays saved");
        last = found;
        for name in folder.names().iter().filter(|name| *name != "net.safetensors") {
            assert!(name.starts_with("net.safetensors.") && name.ends_with(".tmp"), "{name}");
            fs::remove_file(folder.join(name)).unwrap();
            half_written += 1;
        }
    }
    println!("40 kills in {last} saves, {half_written} of them within a write");
}

#[test]
fn a_save_that_cannot_be_put_in_place_leaves_nothing_behind() {
    let folder = Folder::new("in-the-way");
    fs::create_dir(folder.join("taken")).unwrap();
    fs::write(folder.join("taken").join("a file"), b"kept").unwrap();
    for path in [folder.join("taken"), folder.join("missing/net"), folder.join("..")] {
        let error = checkpoint::save(&network::<f32>(1), &path).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        assert_eq!(folder.names(), ["taken"], "{error}");
    }
    assert_eq!(fs::read(folder.join("taken/a file")).unwrap(), b"kept");
}

#[test]
#[ignore = "a process that another test starts with little room"]
fn saves_what_is_too_large() {
    let Some(path) = path_of_child() else { return };
    let error = checkpoint::save(&large(), &path).unwrap_err();
    println!("\nrefused: {error}");
}

/// The system's limit of a file's size stands for a full disk.
#[cfg(unix)]
#[test]
fn a_save_that_runs_out_of_room_leaves_the_old_file() {
    let folder = Folder::new("no-room");
    let path = folder.join("net.safetensors");
    let mut old = large();
    old.params_mut().fill(7.0);
    checkpoint::save(&old, &path).unwrap();

    let child = child("replaced::saves_what_is_too_large", &path);
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 16; exec "$@""#, "sh"])
        .arg(child.get_program())
        .args(child.get_args())
        .env(PATH, &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("refused: ") && said.contains("File too large"), "{said}");
    assert_eq!((folder.names(), number(&path)), (vec!["net.safetensors".to_owned()], 7));
}
