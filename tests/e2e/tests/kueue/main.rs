//! The real Kueue 0.15 beside the adapter: it admits the pods of Deployments one by one, as far as their queues have quota.

mod api;
mod grow;
mod oracle;
mod tally;

use std::process::ExitCode;

use plimsoll_e2e::{
    Adapter, ControlPlane, adapter,
    kueue::Kueue,
    plane::Settings,
    scenario,
    suite::{self, Cluster},
};
use tokio::sync::OnceCell;

/// Ended with the process, after everything that it admits.
static KUEUE: OnceCell<Kueue> = OnceCell::const_new();

fn main() -> ExitCode {
    let scenarios = vec![
        scenario!(oracle::what_is_answered_is_what_kueue_lets_through),
        scenario!(grow::a_workload_grows_to_the_quota_of_its_queue_and_no_pod_waits_for_it),
    ];
    suite::main(scenarios, async || {
        let plane = ControlPlane::start(&Settings::default()).await?;
        let kueue = Kueue::start(&plane).await?;
        KUEUE.set(kueue).map_err(|_| anyhow::anyhow!("Kueue was started twice"))?;
        let adapter = Adapter::start(&plane, &adapter::Settings::default()).await?;
        Ok(Cluster { adapter, prometheus: None, plane })
    })
}
