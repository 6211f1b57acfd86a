//! A child process that cannot outlive its owner, with its output in a file.
//!
//! Each child runs under a small shell that holds our end of a pipe: when the pipe closes, because [`Process`] is
//! dropped, the test panics, or the whole test process is killed, the shell ends the child. It runs in a process
//! group of its own, so that a Ctrl-C at the terminal reaches only the owner, which then ends everything in order.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Error, Result, bail};

/// `$0` is the signal that asks the child to end; after 5 s of it, KILL. The status of the child is passed on.
const WATCHDOG: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
child=$!
(
  read -r _ <&3
  kill -s "$0" "$child"
  n=0
  while [ "$n" -lt 50 ] && kill -0 "$child"; do sleep 0.1; n=$((n + 1)); done
  kill -s KILL "$child"
) 2>/dev/null >/dev/null &
watchdog=$!
wait "$child"
status=$?
kill "$watchdog" 2>/dev/null
exit "$status"
"#;

/// How a child is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At once: its state is thrown away anyway.
    Kill,
    /// By TERM, as Kubernetes does it.
    Term,
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    leash: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    /// Starts `binary` with `arguments`; both of its outputs go to `<logs>/<name>.log`.
    pub fn spawn(name: &str, binary: &Path, arguments: &[String], logs: &Path, ending: Ending) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("creating {}", log.display()))?;
        let signal = if ending == Ending::Term { "TERM" } else { "KILL" };
        let mut child = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, signal])
            .arg(binary)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name} ({})", binary.display()))?;
        let leash = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, leash, log })
    }

    /// An error with the end of its log if it has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}):\n{}", self.name, self.tail(20));
        }
        Ok(())
    }

    /// Resolves when it has ended, which nobody asked it to.
    pub async fn ended(&mut self) -> Error {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        tail(&self.log, lines).unwrap_or_else(|error| format!("({error:#})"))
    }

    /// Its whole log.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        drop(self.leash.take());
        self.child.wait().with_context(|| format!("waiting for {} to end", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the shell ends the child in any case.
        let _ = self.stop();
    }
}

/// Logs of an hour-long run may be large: only their end is read.
const TAIL_BYTES: u64 = 256 * 1024;

fn tail(path: &Path, lines: usize) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(pid: &str) -> bool {
        Path::new("/proc").join(pid.trim()).join("exe").exists()
    }

    fn sleeper(logs: &Path, ending: Ending) -> (Process, String) {
        let script = "echo $$; exec sleep 600".to_owned();
        let process = Process::spawn("sleeper", Path::new("/bin/sh"), &["-c".into(), script], logs, ending).unwrap();
        let pid = loop {
            let text = process.log().unwrap();
            if text.ends_with('\n') {
                break text;
            }
            std::thread::yield_now();
        };
        (process, pid)
    }

    #[test]
    fn a_dropped_process_is_gone_when_drop_returns() {
        for ending in [Ending::Kill, Ending::Term] {
            let logs = tempfile::tempdir().unwrap();
            let (process, pid) = sleeper(logs.path(), ending);
            assert!(running(&pid));
            drop(process);
            assert!(!running(&pid));
        }
    }

    #[test]
    fn an_ended_process_is_reported_with_its_log() {
        let logs = tempfile::tempdir().unwrap();
        let arguments = ["-c".to_owned(), "echo out of luck >&2; exit 3".to_owned()];
        let mut process = Process::spawn("short", Path::new("/bin/sh"), &arguments, logs.path(), Ending::Kill).unwrap();
        process.child.wait().unwrap();
        let error = process.check().unwrap_err().to_string();
        assert!(error.contains("short ended (exit status: 3)") && error.contains("out of luck"), "{error}");
    }
}
