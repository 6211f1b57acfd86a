//! The `plimsoll` binary: see [`plimsoll::cli`].

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Evaluations and lists come and go beside what is kept for long; it returns what they leave (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    plimsoll::cli::main()
}
