//! `plimsoll serve`.

use std::process::ExitCode;

/// Arguments of `plimsoll serve`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
