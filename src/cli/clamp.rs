//! `plimsoll clamp`.

use std::process::ExitCode;

/// Arguments of `plimsoll clamp`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
