//! `plimsoll hpa`: horizontal pod autoscalers, offline.
//!
//! `plimsoll hpa evaluate` reads one evaluation a line and answers with what kube-controller-manager 1.36 would do.
//! Flags carry the names and defaults of kube-controller-manager's.

use std::{io, process::ExitCode};

use clap::Subcommand;
use jiff::Timestamp;
use plimsoll_core::{
    hpa::{ControllerConfig, GoDuration, Outcome, Situation, State, Values, evaluate},
    object::{HorizontalPodAutoscaler, Pod, Scale},
};
use serde::Deserialize;

use super::jsonl;
use crate::clock;

/// Arguments of `plimsoll hpa`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// The form of a line in and of a line out.
const LINES: &str = "\
Each line in is one evaluation:
  {hpa, scale: {specReplicas, statusReplicas, selector}, pods: [Pod],
   values: {external: [{metric, selector, values: [quantity]}],
            pods: [{metric, selector, values: {pod: quantity}}],
            object: [{metric, object: {kind, name}, value}],
            resource: [{pod, timestamp, window, containers: {name: {cpu, memory}}}]},
   now, state: {recommendations: [{replicas, time}],
                scaleUpEvents: [{replicaChange, time, outdated}], scaleDownEvents: [...]}}
A value that is absent could not be fetched; selector is the canonical string, \"\" when there is none. Times are
RFC 3339, windows Go durations.

Each line out is its answer:
  {desiredReplicas, error, proposals: [{type, metric, replicas | error}],
   conditions: [{type, status, reason}], state}
The state is what the next evaluation is given.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Evaluate HPAs as kube-controller-manager 1.36 does: JSON Lines in, JSON Lines out.
    #[command(after_long_help = LINES)]
    Evaluate(Flags),
}

/// The flags of kube-controller-manager that change what an HPA does.
#[derive(Debug, clap::Args)]
struct Flags {
    /// Period of evaluations. One evaluation does not depend on it; it is accepted so that a controller's flags can
    /// be given unchanged.
    #[arg(long = "horizontal-pod-autoscaler-sync-period", default_value = "15s")]
    sync_period: GoDuration,
    /// Nothing shrinks below a recommendation of this past.
    #[arg(long = "horizontal-pod-autoscaler-downscale-stabilization", default_value = "5m")]
    downscale_stabilization: GoDuration,
    /// How far from 1 the ratio of value to target must be for a change.
    #[arg(long = "horizontal-pod-autoscaler-tolerance", default_value_t = 0.1)]
    tolerance: f64,
    /// After its start, the time in which a pod's CPU may be left aside.
    #[arg(long = "horizontal-pod-autoscaler-cpu-initialization-period", default_value = "5m")]
    cpu_initialization_period: GoDuration,
    /// After its start, the time in which a change of readiness counts as the first one.
    #[arg(long = "horizontal-pod-autoscaler-initial-readiness-delay", default_value = "30s")]
    initial_readiness_delay: GoDuration,
}

/// One line of input.
#[derive(Debug, Deserialize)]
struct Line {
    hpa: HorizontalPodAutoscaler,
    #[serde(default)]
    scale: Option<Scale>,
    #[serde(default)]
    pods: Option<Vec<Pod>>,
    #[serde(default)]
    values: Option<Values>,
    #[serde(default)]
    now: Option<Timestamp>,
    #[serde(default)]
    state: Option<State>,
}

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Evaluate(flags) = args.command;
    let config = flags.config();
    jsonl::run(io::stdin().lock(), io::stdout().lock(), |line: Line| Ok(line.answer(&config)))
}

impl Line {
    fn answer(self, config: &ControllerConfig) -> Outcome {
        let pods = self.pods.unwrap_or_default();
        let values = self.values.unwrap_or_default();
        let state = self.state.unwrap_or_default();
        let scale = self.scale.as_ref();
        let situation = Situation { hpa: &self.hpa, scale, pods: &pods, values: &values, state: &state };
        evaluate(&situation, config, self.now.unwrap_or_else(clock::now))
    }
}

impl Flags {
    fn config(&self) -> ControllerConfig {
        ControllerConfig {
            sync_period: self.sync_period,
            downscale_stabilization: self.downscale_stabilization,
            cpu_initialization_period: self.cpu_initialization_period,
            initial_readiness_delay: self.initial_readiness_delay,
            tolerance: self.tolerance,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Named cases with what the real controller answered, as `tests/e2e/tests/hpa_oracle.rs` verifies.
    const RECORDED: &str = include_str!("../../tests/e2e/cases/hpa.jsonl");

    /// Error texts are free.
    fn without_texts(mut answer: Value) -> Value {
        let proposals = answer["proposals"].as_array_mut().unwrap();
        for proposal in proposals.iter_mut().filter(|proposal| proposal.get("error").is_some()) {
            proposal["error"] = "any".into();
        }
        if !answer["error"].is_null() {
            answer["error"] = "any".into();
        }
        answer
    }

    #[test]
    fn recorded_answers_of_the_real_controller_are_given_again() {
        for line in RECORDED.lines() {
            let mut recorded: Value = serde_json::from_str(line).unwrap();
            let case: Line = serde_json::from_value(recorded["in"].take()).unwrap();
            let answer = serde_json::to_value(case.answer(&ControllerConfig::default())).unwrap();
            assert_eq!(without_texts(answer), recorded["out"], "{}", recorded["name"]);
        }
    }

    #[test]
    fn flags_default_to_those_of_the_controller() {
        #[derive(clap::Parser)]
        struct Wrapper {
            #[command(flatten)]
            flags: Flags,
        }
        let defaults = <Wrapper as clap::Parser>::try_parse_from(["hpa"]).unwrap().flags.config();
        assert_eq!(defaults, ControllerConfig::default());
        let set = ["hpa", "--horizontal-pod-autoscaler-sync-period=2s", "--horizontal-pod-autoscaler-tolerance", "0"];
        let config = <Wrapper as clap::Parser>::try_parse_from(set).unwrap().flags.config();
        assert_eq!((config.sync_period, config.tolerance), (GoDuration::from_secs(2), 0.0));
    }

    #[test]
    fn everything_but_the_hpa_may_be_absent_or_null() {
        for text in [r#"{"hpa":{}}"#, r#"{"hpa":{},"scale":null,"pods":null,"values":null,"now":null,"state":null}"#] {
            let line: Line = serde_json::from_str(text).unwrap();
            assert!(line.answer(&ControllerConfig::default()).error.is_some());
        }
    }
}
