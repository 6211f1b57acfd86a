//! `plimsoll clamp`: what an HPA would be served, offline.
//!
//! One JSON object a line in, one a line out. In: `hpa` (autoscaling/v2), `scale` {specReplicas, statusReplicas,
//! selector}, `pods` [v1 Pod], `values` (raw, in the shape of `plimsoll hpa evaluate`), `capacity` {bound, fits:
//! {class, lo, hi}}, `policy` {hold}. Out: `values` as served in the same shape, `cap`, `clamped`, `reason`.
//!
//! The grant is bound + lo, and nothing beyond bound where the class is `unknown`. External, Pods and Object values
//! are taken for ours; Resource values pass untouched and escape the cap, which the reason says.

use std::{
    io::{self, BufReader},
    process::ExitCode,
};

use plimsoll_core::policy::Policy;

use super::jsonl;

mod apply;
mod shape;

/// Arguments of `plimsoll clamp`.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_help = "One JSON object a line on standard input: {hpa, scale, pods, values, capacity: {bound, fits: \
                        {class, lo, hi}}, policy: {hold: true|false}}; one a line on standard output: {values, cap, \
                        clamped, reason}. The grant is bound + lo. With hold (the default) replicas above the grant \
                        stay; without, the surplus is shed as far as no bound pod is lost.")]
pub struct Args {
    /// Tolerance of kube-controller-manager, for HPAs that set none.
    #[arg(long, value_name = "RATIO", default_value_t = Policy::default().tolerance)]
    horizontal_pod_autoscaler_tolerance: f64,
    /// Scale-down window of kube-controller-manager in seconds, for HPAs that set none.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    downscale_stabilization_seconds: u32,
}

/// Answers standard input on standard output.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tolerance = args.horizontal_pod_autoscaler_tolerance;
    anyhow::ensure!(
        (0.0..=100.0).contains(&tolerance),
        "--horizontal-pod-autoscaler-tolerance is a ratio of at least 0, e.g. 0.1"
    );
    let policy = Policy {
        tolerance,
        downscale_stabilization: jiff::SignedDuration::from_secs(args.downscale_stabilization_seconds.into()),
        ..Policy::default()
    };
    jsonl::run(BufReader::new(io::stdin().lock()), io::stdout().lock(), |line: shape::Line| {
        apply::clamp(&line, &policy)
    })
}
