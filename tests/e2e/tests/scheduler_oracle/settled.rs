//! When the scheduler is through with the replicas.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use plimsoll_e2e::cluster_cases::CASE;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    api::{Api, PODS},
    storage,
};

/// The scheduler tries a pod again a second after it found no place; nothing in so long means that it is done.
const QUIET: Duration = Duration::from_millis(1500);
/// Longer than the scheduler ever lets a pod wait that it will try again: ten seconds.
const BACKOFF: Duration = Duration::from_secs(12);
/// How long nothing may change while there is something left to do.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the scheduler says of a pod that has no node. A selector that cannot be evaluated is an error.
const GIVEN_UP: [&str; 3] = ["Unschedulable", "SchedulerError", "SchedulingGated"];
/// What it says while a controller has not made the claim of a pod, or may not.
const NO_CLAIM: &str = "waiting for ephemeral volume controller";

/// What the scheduler has made of the replicas, by case.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Settled {
    /// How many have a node.
    pub(crate) bound: BTreeMap<String, u64>,
    /// Those that it has said nothing of.
    pub(crate) ignored: BTreeMap<String, BTreeSet<String>>,
    /// How many have no claim.
    claimless: usize,
    /// Claims and volumes that are being bound.
    binding: BTreeSet<String>,
}

// === impl Settled ===

impl Settled {
    /// Waits until the scheduler has looked at all replicas and binds no more. What is less than was promised has
    /// until the scheduler would have tried again. After [`PATIENCE`] some may be ignored.
    pub(crate) async fn wait(api: &Api, promised: &BTreeMap<String, u64>) -> Self {
        let (mut before, mut since) = (Self::default(), Instant::now());
        loop {
            let binding = storage::provision(api).await;
            let now =
                Self { binding, ..Self::of(&api.items(&format!("{PODS}?labelSelector=replica"), "v1", "Pod").await) };
            if now != before {
                (before, since) = (now, Instant::now());
            } else if since.elapsed() >= now.quiet(promised) {
                assert!(now.binding.is_empty(), "not bound after {PATIENCE:?}: {:?}", now.binding);
                return now;
            }
            sleep(Duration::from_millis(400)).await;
        }
    }

    fn of(pods: &[Value]) -> Self {
        let mut settled = Self::default();
        for pod in pods {
            let text = |it: &Value| it.as_str().unwrap().to_owned();
            let case = text(&pod["metadata"]["labels"][CASE]);
            if pod.pointer("/spec/nodeName").is_some() {
                *settled.bound.entry(case).or_default() += 1;
                continue;
            }
            let conditions = pod["status"]["conditions"].as_array();
            let verdict =
                conditions.into_iter().flatten().find(|it| GIVEN_UP.iter().any(|reason| it["reason"] == *reason));
            match verdict {
                None => drop(settled.ignored.entry(case).or_default().insert(text(&pod["metadata"]["name"]))),
                Some(verdict) => {
                    let claimless = verdict["message"].as_str().is_some_and(|message| message.contains(NO_CLAIM));
                    settled.claimless += usize::from(claimless);
                }
            }
        }
        settled
    }

    /// How long nothing more must happen for this to be the end.
    fn quiet(&self, promised: &BTreeMap<String, u64>) -> Duration {
        let bound = |case: &String| self.bound.get(case).copied().unwrap_or(0);
        let is_short = || promised.iter().any(|(case, least)| bound(case) < *least);
        if !self.ignored.is_empty() || !self.binding.is_empty() {
            PATIENCE
        } else if self.claimless > 0 || is_short() {
            BACKOFF
        } else {
            QUIET
        }
    }
}
