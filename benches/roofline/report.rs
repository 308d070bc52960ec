//! The table, on the terminal and as JSON.

use serde_json::json;

/// One measurement.
pub struct Line {
    pub kernel: &'static str,
    pub shape: String,
    pub element: &'static str,
    pub tier: String,
    pub threads: usize,
    pub best_ms: f64,
    pub median_ms: f64,
    pub rate: f64,
    pub unit: &'static str,
    /// Of the limit: its time over this one's, or this one's rate over its.
    pub share: f64,
    /// The share that is aimed at, where one is.
    pub goal: Option<f64>,
}

impl Line {
    /// The share that is real work, where the naive algorithm's is counted: each pair is measured once.
    /// (Where classes are pulled as one, or skipped, it is less.)
    fn real(&self) -> Option<f64> {
        match self.kernel {
            "all_pairs_labels" => Some(0.75 * self.share),
            "nearest" => Some(0.5 * self.share),
            _ => None,
        }
    }
}

#[derive(Default)]
pub struct Report {
    pub lines: Vec<Line>,
}

impl Report {
    pub fn print(&self) {
        println!(
            "{:<19} {:>12} {:>4} {:>9} {:>3} {:>10} {:>10} {:>9} {:<8} {:>6} {:>5} {:>5}",
            "kernel",
            "shape",
            "type",
            "tier",
            "thr",
            "best ms",
            "median ms",
            "rate",
            "",
            "share",
            "real",
            "goal"
        );
        for line in &self.lines {
            let goal = line.goal.map_or(String::new(), |goal| format!("{goal:.2}"));
            let verdict = match line.goal {
                Some(goal) if line.share >= goal => "met",
                Some(_) => "missed",
                None => "",
            };
            println!(
                "{:<19} {:>12} {:>4} {:>9} {:>3} {:>10.4} {:>10.4} {:>9.2} {:<8} {:>6.2} {:>5} {:>5} {verdict}",
                line.kernel,
                line.shape,
                line.element,
                line.tier,
                line.threads,
                line.best_ms,
                line.median_ms,
                line.rate,
                line.unit,
                line.share,
                line.real().map_or(String::new(), |share| format!("{share:.2}")),
                goal,
            );
        }
    }

    pub fn json(&self) -> String {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                json!({
                    "kernel": line.kernel,
                    "shape": line.shape,
                    "element": line.element,
                    "tier": line.tier,
                    "threads": line.threads,
                    "best_ms": line.best_ms,
                    "median_ms": line.median_ms,
                    "rate": line.rate,
                    "unit": line.unit,
                    "share": line.share,
                })
            })
            .collect();
        serde_json::to_string_pretty(&lines).expect("a list of plain objects")
    }
}
