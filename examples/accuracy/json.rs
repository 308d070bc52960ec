//! The report for programs.

use drlim::Isa;
use serde_json::{Value, json};

use crate::Measured;
use crate::measure::record::Line;

/// Everything that was measured, each tier by itself.
pub fn report(isas: &[Isa], seed: u64, measured: &Measured) -> String {
    let tiers: Vec<String> = isas.iter().map(Isa::to_string).collect();
    let errors: Vec<Value> = measured.lines.iter().flat_map(errors).collect();
    let specials: Vec<Value> = (measured.held.iter())
        .map(|held| {
            json!({
                "call": held.name,
                "type": held.element,
                "tier": held.isa.to_string(),
                "positions": held.positions,
                "broken": held.broken,
            })
        })
        .collect();
    let all = json!({ "tiers": tiers, "seed": seed, "errors": errors, "specials": specials });
    format!("{all:#}\n")
}

fn errors(line: &Line) -> Vec<Value> {
    let of_tier = |(isa, worst): &(Isa, _)| {
        let worst: &crate::measure::record::Worst = worst;
        json!({
            "kernel": line.bound.kernel,
            "result": line.bound.result,
            "type": line.element,
            "tier": isa.to_string(),
            "bound": line.bound.text,
            "ulp": worst.ulps,
            "error": worst.error,
            "allowed": worst.allowed,
            "input": worst.case.map(|case| case.class.name()),
            "d": worst.case.map(|case| case.sizes.d),
            "n": worst.case.map(|case| case.sizes.n),
            "results": worst.results,
        })
    };
    line.tiers.iter().map(of_tier).collect()
}
