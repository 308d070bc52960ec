//! The report for people: a line for each result and element type, with all tiers beside each other.

use std::fmt::Write;

use drlim::Isa;

use crate::Measured;
use crate::measure::bounds::Unit;
use crate::measure::record::{Case, Line, Worst};
use crate::measure::specials::Held;

/// Columns before those of the tiers.
const NAMES: usize = 65;

/// Which processor, tiers and seed, and what the columns are.
pub fn head(isas: &[Isa], seed: u64) -> String {
    let tiers: Vec<String> = isas.iter().map(Isa::to_string).collect();
    format!(
        "Worst errors against exact results (double-double), over inputs that are hard on sums.\n\n\
         tiers      {}\n\
         processor  {}\n\
         seed       {seed}\n\n\
         ULP    the worst error in units of the last place of the result: large where a sum cancels.\n\
         error  that which comes nearest to its bound, in eps times the sum of the magnitudes of all\n\
         \x20      terms; where the bound has another unit, in that.\n\
         %      how much of the bound it uses.  D: elements of a row.  n, N, B, P: terms of a sum.\n",
        tiers.join(", "),
        features()
    )
}

/// What tiers are decided by.
fn features() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let all = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("popcnt", is_x86_feature_detected!("popcnt")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bw", is_x86_feature_detected!("avx512bw")),
            ("avx512dq", is_x86_feature_detected!("avx512dq")),
            ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ];
        let there: Vec<&str> =
            all.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        format!("{} with {}", std::env::consts::ARCH, there.join(" "))
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH.to_owned()
}

pub fn columns(isas: &[Isa]) -> String {
    let mut text = format!("\n{:NAMES$}", "");
    isas.iter().for_each(|isa| text += &format!("{:>22}  ", isa.to_string()));
    let _ = write!(text, "\n{:16}{:30}{:5}{:14}", "kernel", "result", "type", "bound");
    isas.iter().for_each(|_| {
        let _ = write!(text, "{:>8}{:>9}{:>5}  ", "ULP", "error", "%");
    });
    text + "  nearest to its bound on\n"
}

/// The lines of a kernel.
pub fn rows(lines: &[Line]) -> String {
    let mut text = String::from("\n");
    for line in lines {
        let wide = line.element == "f64";
        let (mut bound, mut unit) = (line.bound.text, 1.0);
        if let Unit::Share(shares) = line.bound.unit {
            unit = shares[usize::from(wide)];
            bound = bound.split(" | ").nth(usize::from(wide)).unwrap_or(bound);
        }
        let (kernel, result, element) = (line.bound.kernel, line.bound.result, line.element);
        let _ = write!(text, "{kernel:16}{result:30}{element:5}{bound:14}");
        for (_, worst) in &line.tiers {
            let Worst { ulps, error, .. } = worst;
            let (ulps, error, share) = (short(*ulps), short(error * unit), 100.0 * worst.share());
            let _ = write!(text, "{ulps:>8}{error:>9}{share:>5.0}  ");
        }
        let (_, worst) = line.worst();
        let mark = if worst.share() > 1.0 { "  EXCEEDED" } else { "" };
        let _ = writeln!(text, "  {}{mark}", worst.case.map(place).unwrap_or_default());
    }
    text
}

/// The input on which something was seen.
fn place(Case { class, sizes }: Case) -> String {
    let name = class.name();
    match (sizes.d, sizes.n) {
        (1, 1) => name.to_owned(),
        (d, 1) => format!("{name}, D {d}"),
        (1, n) => format!("{name}, n {n}"),
        (d, n) => format!("{name}, D {d}, n {n}"),
    }
}

/// Three digits.
fn short(x: f64) -> String {
    match x {
        0.0 => "0".to_owned(),
        0.01..1000.0 => format!("{x:.*}", if x < 10.0 { 2 } else { 1 }),
        _ => format!("{x:.1e}"),
    }
}

/// Where NaN and infinities go, a line for each call and type.
pub fn specials(held: &[Held]) -> String {
    let mut text = String::from(
        "\nNaN and both infinities in each position of each input, on all tiers and in both types: they\n\
         reach what depends on them, as the formula says, and nothing else.\n\n",
    );
    let first = held.first().map(|held| (held.element, held.isa));
    let once = held.iter().filter(|held| Some((held.element, held.isa)) == first);
    for Held { name, positions, .. } in once {
        let mut of_name = held.iter().filter(|held| held.name == *name);
        let broken = of_name.find_map(|held| Some((held.isa, held.element, held.broken.as_ref()?)));
        let verdict = match broken {
            None => "holds".to_owned(),
            Some((isa, element, broken)) => format!("BROKEN in {element} on {isa}: {broken}"),
        };
        let _ = writeln!(text, "{name:32}{positions:>6} positions  {verdict}");
    }
    text
}

pub fn end(measured: &Measured, broken: usize, seconds: f64) -> String {
    let tiers = || measured.lines.iter().flat_map(|line| &line.tiers);
    let results: u64 = tiers().map(|(_, worst)| worst.results).sum();
    let verdict = match broken {
        0 => "every bound is kept".to_owned(),
        n => format!("{n} bounds are exceeded"),
    };
    format!("\n{results} results compared in {seconds:.0} s: {verdict}.\n")
}
