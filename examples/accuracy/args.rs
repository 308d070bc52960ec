//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// The name of what is no kernel: NaN and infinities.
pub const SPECIALS: &str = "specials";

/// Measures the worst errors of every kernel, and holds them against the documented bounds.
#[derive(Parser)]
#[command(name = "accuracy")]
pub struct Args {
    /// Only kernels whose name holds this; `specials` for NaN and infinities
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Of all inputs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Also writes everything to a file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Args {
    /// Whether what has this name is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.kernel.as_ref().is_none_or(|part| name.contains(part.as_str()))
    }
}

/// Reads the command line, or ends the program with what is wrong with it.
pub fn parse() -> Args {
    Args::parse()
}
