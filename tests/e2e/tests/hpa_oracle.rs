//! `plimsoll hpa evaluate` against the real controller of Kubernetes 1.36.3, case by case.
//!
//! Needs two programs, named by environment variables that `make e2e` sets: `PLIMSOLL_BIN` (the plimsoll binary)
//! and `PLIMSOLL_E2E_ORACLE` (the folder of `hpa-oracle`, as printed by `tools/build.sh hpa-oracle`). Without them
//! these tests fail. `PLIMSOLL_E2E_CASES` sets the number of random cases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    env,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use jiff::Timestamp;
use plimsoll_e2e::hpa_cases;
use serde_json::Value;

/// Random cases of one run.
const CASES: u64 = 20_000;
/// Cases that are held in memory at once: some 100 KB each.
const BATCH: u64 = 500;

/// Both programs with one set of flags.
struct Peers {
    plimsoll: PathBuf,
    oracle: PathBuf,
    flags: Vec<&'static str>,
}

impl Peers {
    fn new(flags: &[&'static str]) -> Self {
        let var = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `make e2e`"));
        let oracle = Path::new(&var("PLIMSOLL_E2E_ORACLE")).join("hpa-oracle");
        Self { plimsoll: var("PLIMSOLL_BIN").into(), oracle, flags: flags.to_vec() }
    }

    /// What both answer, in comparable form, line by line.
    fn answers(&self, cases: &[Value]) -> (Vec<Value>, Vec<Value>) {
        let mut plimsoll = Command::new(&self.plimsoll);
        plimsoll.args(["hpa", "evaluate"]).args(&self.flags);
        let mut oracle = Command::new(&self.oracle);
        oracle.args(&self.flags);
        thread::scope(|scope| {
            let ours = scope.spawn(|| answers(plimsoll, cases));
            let real = answers(oracle, cases);
            (ours.join().unwrap(), real)
        })
    }

    fn differ(&self, case: &Value) -> bool {
        let (ours, real) = self.answers(std::slice::from_ref(case));
        ours != real
    }

    fn compare_random(&self, first: u64, count: u64) {
        for start in (0..count).step_by(usize::try_from(BATCH).unwrap()) {
            let seeds = first + start..first + (start + BATCH).min(count);
            self.compare(&seeds.map(hpa_cases::random).collect::<Vec<_>>());
        }
    }

    fn compare(&self, cases: &[Value]) {
        let (ours, real) = self.answers(cases);
        assert_eq!(ours.len(), cases.len(), "plimsoll must answer every case");
        assert_eq!(real.len(), cases.len(), "the oracle must answer every case");
        let different: Vec<_> = (0..cases.len()).filter(|&index| ours[index] != real[index]).collect();
        if let Some(&first) = different.first() {
            let case = self.shrink(cases[first].clone());
            let (ours, real) = self.answers(std::slice::from_ref(&case));
            let (count, all) = (different.len(), cases.len());
            panic!("{count} of {all} cases differ; the first, made small:\n{case}\nours: {ours:?}\nreal: {real:?}");
        }
    }

    /// Takes away what is not needed for the difference.
    fn shrink(&self, mut case: Value) -> Value {
        'again: loop {
            for path in paths(&case, "") {
                let mut smaller = case.clone();
                if remove(&mut smaller, &path) && is_case(&smaller) && self.differ(&smaller) {
                    case = smaller;
                    continue 'again;
                }
            }
            return case;
        }
    }
}

fn answers(mut command: Command, cases: &[Value]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let mut file = BufWriter::new(File::create(&input).unwrap());
    for case in cases {
        writeln!(file, "{case}").unwrap();
    }
    file.flush().unwrap();
    command.stdin(File::open(&input).unwrap()).stdout(File::create(&output).unwrap()).stderr(Stdio::piped());
    let done = command.spawn().unwrap().wait_with_output().unwrap();
    let text = std::fs::read_to_string(&output).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| comparable(serde_json::from_str(line).unwrap())).collect();
    if !done.status.success() {
        let talk = String::from_utf8_lossy(&done.stderr);
        eprintln!("{command:?} ended with {} after {} lines: {talk}", done.status, lines.len());
    }
    lines
}

/// Error texts are free, and a time may be written in several ways.
fn comparable(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                *value = match (key.as_str(), value.take()) {
                    ("error", error) => Value::Bool(!error.is_null()),
                    ("time", Value::String(time)) => {
                        Value::String(time.parse::<Timestamp>().unwrap().as_nanosecond().to_string())
                    }
                    (_, other) => comparable(other),
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = comparable(item.take())),
        _ => {}
    }
    value
}

/// JSON pointers to everything inside, outer things first.
fn paths(value: &Value, at: &str) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        _ => vec![],
    };
    let mut found: Vec<_> = children.iter().map(|(key, _)| format!("{at}/{key}")).collect();
    found.extend(children.iter().flat_map(|(key, value)| paths(value, &format!("{at}/{key}"))));
    found
}

fn remove(value: &mut Value, path: &str) -> bool {
    let (parent, key) = path.rsplit_once('/').unwrap();
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => map.remove(&key.replace("~1", "/").replace("~0", "~")).is_some(),
        Some(Value::Array(items)) => {
            items.remove(key.parse().unwrap());
            true
        }
        _ => false,
    }
}

/// Whether what the controller takes for granted is still there.
fn is_case(case: &Value) -> bool {
    let member = |metric: &Value| match metric["type"].as_str() {
        Some("Pods") => metric.pointer("/pods/target/averageValue").is_some_and(|value| !value.is_null()),
        Some("ContainerResource") => !metric["containerResource"].is_null(),
        Some(kind) => !metric[kind.to_ascii_lowercase()].is_null(),
        None => false,
    };
    let metrics = case.pointer("/hpa/spec/metrics").and_then(Value::as_array);
    let complete = ["/hpa", "/now"].iter().all(|path| case.pointer(path).is_some());
    complete && metrics.is_none_or(|metrics| metrics.iter().all(member))
}

fn count() -> u64 {
    env::var("PLIMSOLL_E2E_CASES").map_or(CASES, |text| text.parse().expect("PLIMSOLL_E2E_CASES is a number"))
}

#[test]
fn random_evaluations_equal_those_of_the_real_controller() {
    Peers::new(&[]).compare_random(0, count());
}

#[test]
fn random_evaluations_with_other_flags_equal_those_of_the_real_controller() {
    let flags = [
        "--horizontal-pod-autoscaler-downscale-stabilization=1m30s",
        "--horizontal-pod-autoscaler-tolerance=0.05",
        "--horizontal-pod-autoscaler-cpu-initialization-period=1m",
        "--horizontal-pod-autoscaler-initial-readiness-delay=0s",
    ];
    // Other seeds than the ones above.
    Peers::new(&flags).compare_random(1_000_000_000, count() / 4);
}

#[test]
fn the_table_holds_the_answers_of_the_real_controller() {
    let table = hpa_cases::table().unwrap();
    let cases: Vec<_> = table.iter().map(|tabled| tabled.case.clone()).collect();
    let peers = Peers::new(&[]);
    peers.compare(&cases);
    let (_, real) = peers.answers(&cases);
    for (tabled, real) in table.iter().zip(real) {
        assert_eq!(comparable(tabled.answer.clone()), real, "{}", tabled.name);
    }
}
