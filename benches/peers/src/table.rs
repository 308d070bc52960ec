//! The table: one line for each library on each work.

pub struct Line {
    pub work: &'static str,
    pub shape: String,
    pub library: &'static str,
    pub way: &'static str,
    /// In seconds.
    pub best: f64,
    pub median: f64,
}

/// The version that this program was built with.
fn version(library: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = format!("name = \"{library}\"\nversion = \"");
    let (_, rest) = lock.split_once(&entry).expect("every library is in the lock file");
    rest.split_once('"').expect("a version in quotes").0
}

/// Sizes as one word.
pub fn shape(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

pub fn print(lines: &[Line]) {
    println!(
        "{:<36} {:>14}  {:<42} {:>9} {:>9} {:>7}",
        "work", "shape", "library", "best, ms", "median", "drlim's"
    );
    for line in lines {
        let drlim = lines.iter().find(|other| {
            (other.work, &other.shape, other.library) == (line.work, &line.shape, "drlim")
        });
        let times =
            drlim.map_or("-".to_string(), |drlim| format!("x {:.2}", line.best / drlim.best));
        let way = if line.way.is_empty() { String::new() } else { format!(", {}", line.way) };
        println!(
            "{:<36} {:>14}  {:<42} {:>9.3} {:>9.3} {times:>7}",
            line.work,
            line.shape,
            format!("{} {}{way}", line.library, version(line.library)),
            line.best * 1e3,
            line.median * 1e3,
        );
    }
}
