//! A crate that depends on this one compiles none of its kernels, in debug builds or in others: it is
//! built in seconds, and what it calls is as fast as this crate was built. Of a user's own loss, it
//! compiles the function that takes a block of pairs through that loss, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

/// The options of `rustc` that a debug build and a release build have.
const DEBUG: &[&str] = &["-Copt-level=0", "-Cdebug-assertions=on"];
const RELEASE: &[&str] = &["-Copt-level=3"];

/// The library as this test was linked with it: the latest one beside the test.
fn library() -> PathBuf {
    let test = env::current_exe().unwrap();
    let built = fs::read_dir(test.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libdrlim-") && name.ends_with(".rlib")
    };
    let written = |path: &PathBuf| -> SystemTime { path.metadata().unwrap().modified().unwrap() };
    built.filter(is_library).max_by_key(written).expect("the library lies beside its tests")
}

/// The names of the functions that a user's crate has in it, its own and those that it has compiled for
/// itself, when it is built with some options. Mangled such that they say of what types they are.
fn functions_of(source: &str, options: &[&str]) -> Vec<String> {
    let library = library();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("users_crate");
    fs::create_dir_all(&folder).unwrap();
    let name = source.trim_end_matches(".rs");
    let to = folder.join(format!("{name}-{}.ll", options[0].trim_start_matches("-C")));
    let compiled = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--crate-name=user", "--emit=llvm-ir"])
        .args(["-Csymbol-mangling-version=v0", "-Ccodegen-units=1"])
        .args(options)
        .arg("-L")
        .arg(format!("dependency={}", library.parent().unwrap().display()))
        .arg("--extern")
        .arg(format!("drlim={}", library.display()))
        .arg("-o")
        .arg(&to)
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interfaces/users_crate").join(source),
        )
        .output()
        .expect("rustc, of the toolchain that built this test");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let text = fs::read_to_string(to).unwrap();
    let defined = text.lines().filter(|line| line.starts_with("define "));
    defined.map(|line| line.split(['@', '(']).nth(1).unwrap().to_owned()).collect()
}

/// The losses of `own.rs`.
const OWN: [&str; 2] = ["OwnPairs", "OwnTriplets"];

/// Whether a function runs a kernel with the lanes of a tier, is a kernel, or splits its work over threads.
fn is_kernel(function: &str) -> bool {
    let parts = ["4simd8dispatch", "6Kernel", "8parallel5split", "10rayon_core"];
    function.contains("5drlim") && parts.iter().any(|part| function.contains(part))
}

#[test]
fn calls_with_the_librarys_losses_and_layers_compile_no_kernel() {
    for options in [DEBUG, RELEASE] {
        let functions = functions_of("calls.rs", options);
        assert!(functions.iter().any(|function| function.contains("4user6in_f32")));
        let kernels: Vec<_> = functions.iter().filter(|function| is_kernel(function)).collect();
        assert!(kernels.is_empty(), "{options:?}: {} kernels, {kernels:#?}", kernels.len());
    }
}

#[test]
fn a_users_loss_is_compiled_for_blocks_of_it_and_for_nothing_else() {
    for options in [DEBUG, RELEASE] {
        let functions = functions_of("own.rs", options);
        let kernels: Vec<_> = functions.iter().filter(|function| is_kernel(function)).collect();
        for loss in OWN {
            assert!(kernels.iter().any(|kernel| kernel.contains(loss)), "{options:?}: {loss}");
        }
        let is_own = |kernel: &str| OWN.iter().any(|loss| kernel.contains(loss));
        let others: Vec<_> = kernels.iter().filter(|kernel| !is_own(kernel)).collect();
        assert!(others.is_empty(), "{options:?}: {others:#?}");
    }
}
