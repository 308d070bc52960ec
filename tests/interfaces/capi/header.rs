//! What the header declares: functions, and the names of their parameters.

use std::fs;
use std::path::Path;

/// A function with its parameters, and whether each of these could be wrong: pointers, matrices and codes.
pub struct Declared {
    pub function: String,
    pub parameters: Vec<String>,
}

/// Everything that can fail.
pub fn declared() -> Vec<Declared> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/drlim.h");
    let text = fs::read_to_string(path).unwrap();
    let code: String = text.lines().map(|line| line.split("//").next().unwrap()).collect();
    let statements = code.split(';').filter_map(|statement| {
        let (_, statement) = statement.rsplit_once("drlim_status drlim_")?;
        let (name, parameters) = statement.strip_suffix(')')?.split_once('(')?;
        let parameters = parameters.split(',').filter(|parameter| {
            // Numbers that are right as they are: sums of another call.
            !["drlim_sums", "drlim_anchor_totals"].iter().any(|of| parameter.contains(of))
        });
        let last = |words: &str| words.split([' ', '*']).next_back().unwrap().to_owned();
        let parameters = parameters.map(last).collect();
        Some(Declared { function: format!("drlim_{name}"), parameters })
    });
    statements.collect()
}

#[test]
fn the_header_is_understood() {
    let declared = declared();
    let of = |name: &str| declared.iter().find(|of| of.function == name).unwrap();
    assert_eq!(of("drlim_context_new").parameters, ["tier", "threads", "context"]);
    let rows = &of("drlim_rows_f64").parameters;
    assert_eq!(rows[..4], ["context", "objective", "a", "b"]);
    assert_eq!(rows.len(), 9);
    assert!(declared.len() > 35, "{}", declared.len());
}
