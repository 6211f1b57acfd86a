//! JSON Lines in, JSON Lines out: the shape of the batch commands.
//!
//! Each input line is answered by exactly one output line, in order, so that a caller may stream. A line that cannot
//! be read is answered by `{"error": …, "line": n}` and does not end the run; the exit code is then 1.

use std::{
    io::{self, BufRead, Read, Write},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};

/// Longest line that is read, in bytes: an HPA with 5,000 full pods is about 45 MB.
const MAX_LINE: u64 = 64 * 1024 * 1024;

#[derive(Serialize)]
struct LineError {
    error: String,
    line: u64,
}

/// Answers every line of `input` on `output`.
pub fn run<I, O>(
    input: impl BufRead,
    output: impl Write,
    answer: impl Fn(I) -> anyhow::Result<O>,
) -> anyhow::Result<ExitCode>
where
    I: DeserializeOwned,
    O: Serialize,
{
    let mut input = input;
    let mut output = io::BufWriter::new(output);
    let mut failed = false;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).context("reading the input")?;
        if read == 0 {
            break;
        }
        anyhow::ensure!((read as u64) < MAX_LINE, "line {number} is longer than {MAX_LINE} bytes");
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let outcome = serde_json::from_slice(&line).map_err(anyhow::Error::from).and_then(&answer);
        match outcome {
            Ok(value) => serde_json::to_writer(&mut output, &value),
            Err(error) => {
                failed = true;
                serde_json::to_writer(&mut output, &LineError { error: format!("{error:#}"), line: number })
            }
        }
        .context("writing the output")?;
        output.write_all(b"\n").context("writing the output")?;
        // A caller that sends one line and waits for its answer must not wait for a full buffer.
        output.flush().context("writing the output")?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
