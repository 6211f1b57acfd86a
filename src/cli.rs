//! The command line: one subcommand per file, stdout is data, stderr is talk.
//!
//! Exit codes: 0 ok, 1 failed, 2 usage, 3 findings, 4 unreachable.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};

pub mod capacity;
pub mod check;
pub mod clamp;
mod documents;
pub mod hpa;
pub mod jsonl;
pub mod migrate;
pub mod serve;

/// Capacity-aware autoscaling signals for GPU inference on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the metrics adapter.
    Serve(Box<serve::Args>),
    /// Horizontal pod autoscalers, offline.
    Hpa(hpa::Args),
    /// How many more replicas of a workload the scheduler could place, and what limits them.
    Capacity(capacity::Args),
    /// The values that an HPA would be served so that it cannot pass what fits.
    Clamp(clamp::Args),
    /// What is wrong, or will surprise, in KEDA objects with our triggers, offline.
    Check(check::Args),
    /// Turn HPAs with our metrics into KEDA ScaledObjects, and back, offline.
    Migrate(migrate::Args),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Parses the arguments, runs the subcommand and turns its result into an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Hpa(args) => hpa::run(args),
        Command::Capacity(args) => capacity::run(args),
        Command::Clamp(args) => clamp::run(args),
        Command::Check(args) => check::run(args),
        Command::Migrate(args) => migrate::run(args),
        Command::Completion { shell } => completion(shell),
    };
    result.unwrap_or_else(|error| {
        // Whoever reads has had enough, such as `head`.
        let is_closed = |it: &io::Error| it.kind() == io::ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(is_closed) {
            return ExitCode::SUCCESS;
        }
        eprintln!("plimsoll: {error:#}");
        ExitCode::FAILURE
    })
}

/// Prints a script in one piece: its generator does not bear that nobody reads on.
fn completion(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "plimsoll", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        Cli::command().debug_assert();
    }
}
