//! The reference under `docs/reference` is generated from the code and compared with what is committed.
//!
//! `PLIMSOLL_BLESS=1 cargo test --test it reference` writes it anew.

use std::{fmt::Write as _, fs, path::Path};

use clap::{Command, CommandFactory};
use plimsoll_core::policy::{MetricKind, Policy};

const NOTE: &str = "<!-- Generated from the code: PLIMSOLL_BLESS=1 cargo test --test it reference -->\n\n";

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    if std::env::var_os("PLIMSOLL_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{name} is out of date: PLIMSOLL_BLESS=1 cargo test --test it reference");
}

fn describe(command: &Command, path: &str, out: &mut String) {
    let path = format!("{path}{}", command.get_name());
    let help =
        command.clone().mut_args(|arg| arg.hide_env_values(true)).bin_name(&path).term_width(100).render_long_help();
    let help: Vec<_> = help.to_string().lines().map(str::trim_end).map(str::to_owned).collect();
    writeln!(out, "## `{path}`\n\n```text\n{}\n```\n", help.join("\n").trim()).unwrap();
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        describe(sub, &format!("{path} "), out);
    }
}

#[test]
fn the_commands_are_those_of_the_reference() {
    let mut out = format!(
        "{NOTE}# Commands\n\nstdout is data, stderr is talk. Exit codes: 0 ok, 1 failed, 2 usage, 3 findings, 4 unreachable.\n\n"
    );
    describe(&plimsoll::cli::Cli::command(), "", &mut out);
    compare("commands.md", &format!("{}\n", out.trim_end()));
}

#[test]
fn the_metric_names_are_those_of_the_reference() {
    let mut out =
        format!("{NOTE}# Metric names\n\nNames that HPAs use, as configured by default (`policy.metrics`).\n\n");
    out.push_str("| name | External | Pods |\n|---|---|---|\n");
    for metric in Policy::default().metrics {
        let (external, pods) = match &metric.kind {
            MetricKind::PerPod { signal } => {
                (format!("`{signal}`, summed over the workload's pods"), format!("`{signal}` of each pod"))
            }
            MetricKind::PerWorkload { signal } => {
                (format!("`{signal}` of the whole workload; times the replicas for an AverageValue target"), "-".into())
            }
            MetricKind::CapacityGuard => {
                ("0, \"no vote\", beside metrics that carry demand; refused where it is alone".into(), "-".into())
            }
            MetricKind::DesiredReplicas => {
                ("the granted replicas, times the target; refused without metrics that carry demand".into(), "-".into())
            }
        };
        writeln!(out, "| `{}` | {external} | {pods} |", metric.name).unwrap();
    }
    out.push_str("\nUnits: `queueLength` in requests, `gpuUtilization` in percent, `latencyP99` in seconds.\n");
    compare("metrics.md", &out);
}

#[test]
fn the_tutorial_shows_what_its_examples_answer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let arguments = ["capacity", "-f", "examples/two-nodes.yaml", "deployment/chat"];
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_plimsoll")).current_dir(root).args(arguments).output().unwrap();
    let shown = format!("$ plimsoll {}\n{}```", arguments.join(" "), String::from_utf8(output.stdout).unwrap());
    let tutorial = fs::read_to_string(root.join("docs/tutorial/first-light.md")).unwrap();
    assert!(tutorial.contains(&shown), "the tutorial does not show:\n{shown}");
}
