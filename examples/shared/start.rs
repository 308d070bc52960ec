//! How an example starts: its command line is read, it runs on as many threads as were asked for, and what goes
//! wrong is one line.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use super::Failure;

/// Reads the command line and runs. Help is no error; any other failure is told in one line that begins with the
/// example's name, and ends the process with 2.
pub fn start<A: Parser>(name: &str, run: impl FnOnce(A) -> Result<(), Failure>) -> ExitCode {
    let done = match A::try_parse_from(std::env::args_os()) {
        Ok(args) => run(args),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            print!("{error}");
            Ok(())
        }
        Err(error) => Err(first_paragraph(&error.to_string()).into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{name}: {}", one_line(&failure.to_string()));
            ExitCode::from(2)
        }
    }
}

/// Runs on so many threads, or on one a core.
pub fn on_threads(
    threads: Option<usize>,
    run: impl FnOnce() -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = threads {
        pool = pool.num_threads(threads);
    }
    pool.build()?.install(run)
}

/// The message: the usage follows it.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let joined = lines.collect::<Vec<_>>().join(" ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

/// Paths and arguments may hold line breaks; a message has none.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
