//! Where `unsafe` stands: in the files of the inventory in `CONTRIBUTING.md`, as often as it says, and
//! nowhere else; each use with its reason.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Blocks and implementations, and functions that ask something of their callers, those that are exported
/// included.
type Uses = [usize; 2];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder, by their path from the root.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn code(line: &str) -> &str {
    line.split("//").next().unwrap()
}

fn uses(text: &str) -> Uses {
    let count = |what: &str| text.lines().map(|line| code(line).matches(what).count()).sum();
    let [block, implementation, function] = ["{", "impl", "fn"].map(|end| format!("unsafe {end}"));
    let [blocks, implementations, functions]: [usize; 3] =
        [block, implementation, function].map(|what| count(&what));
    let exported: usize = count(&EXPORTED.concat());
    [blocks + implementations, functions + exported]
}

/// In two parts, so that this file has none.
const EXPORTED: [&str; 2] = ["unsafe", "(no_mangle)"];

/// The rows `| path | blocks | functions | ... |` of the inventory.
fn inventory() -> BTreeMap<String, Uses> {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `src/"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let number = |at: usize| cells[at].parse().unwrap_or_else(|_| panic!("{row}"));
        (cells[1].trim_matches('`').to_owned(), [number(2), number(3)])
    })
    .collect()
}

#[test]
fn the_inventory_lists_every_use_of_unsafe() {
    let mut found = BTreeMap::new();
    for path in sources(&root().join("src")) {
        let uses = uses(&fs::read_to_string(&path).unwrap());
        if uses != [0, 0] {
            let path = path.strip_prefix(root()).unwrap();
            found.insert(path.to_str().unwrap().replace('\\', "/"), uses);
        }
    }
    assert!(found.len() > 5, "{found:?}");
    assert_eq!(found, inventory());
}

#[test]
fn every_other_module_forbids_it() {
    let listed = inventory();
    // Their children have some, and a child cannot allow what its parent forbids.
    let parents = [
        "src/lib.rs",
        "src/capi/mod.rs",
        "src/kernel/mod.rs",
        "src/kernel/gemm/mod.rs",
        "src/kernel/pairwise/mod.rs",
        "src/kernel/rows/mod.rs",
        "src/memory/mod.rs",
        "src/simd/mod.rs",
    ];
    let mut forbidding = 0;
    for path in sources(&root().join("src")) {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        let forbids = fs::read_to_string(&path).unwrap();
        let forbids = forbids.lines().any(|line| line == "#![forbid(unsafe_code)]");
        let may = listed.contains_key(&name) || parents.contains(&&*name);
        assert!(forbids != may, "{name}: forbids {forbids}, listed {may}");
        forbidding += usize::from(forbids);
    }
    assert!(forbidding > 50, "{forbidding}");
}

#[test]
fn every_use_has_its_reason_above_it() {
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| uses(line) != [0, 0]) {
            // Attributes and the rest of a statement may stand between.
            let above = &lines[at.saturating_sub(9)..at];
            // What an exported function asks stands in its header.
            let exported = line.contains(&EXPORTED.concat());
            let reason = match uses(line)[1] {
                _ if exported => "///",
                0 => "SAFETY:",
                _ => "# Safety",
            };
            let declared = code(line).contains("fn stream"); // by the trait
            let given = above.iter().any(|line| line.contains(reason));
            assert!(given || declared, "{}:{}: {line}", path.display(), at + 1);
        }
    }
}
