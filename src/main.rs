//! The `plimsoll` binary: see [`plimsoll::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll::cli::main()
}
