//! How long nodes take to come, learnt by group from those that came while somebody looked.
//!
//! ```text
//!  wanted (its group is bringing one more) ──────> usable (ready, its GPUs registered)
//!   └ or made, where nobody saw it wanted   the time between is one sample
//! ```
//!
//! With few samples the configured timeout holds. Otherwise a node is overdue once it takes twice as long as any that was
//! seen, and its group is not counted on until it has come or has been given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{NodeGroup, registration::Registration};
use crate::{cluster::View, object::Node, policy::Policy};

/// Samples of a group that are kept: enough for a median, few enough to follow a provider that becomes slower.
const SAMPLES: usize = 32;
/// Fewer samples than these say nothing.
const FEW: usize = 3;
/// What is assumed without samples: machines with GPUs come within two to fifteen minutes, mostly five.
const PRIOR: SignedDuration = SignedDuration::from_secs(300);
/// No node counts as overdue before that, however fast others came.
const SOONEST: SignedDuration = SignedDuration::from_secs(120);
/// Age of nodes whose arrival may still be noticed, and the longest sample.
const YOUNG: SignedDuration = SignedDuration::from_secs(3600);
/// Most young nodes, and most nodes of one group on their way, that are remembered.
const MAX_NODES: usize = 2_000;

/// What has been learnt, and who is expected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrivals {
    groups: BTreeMap<String, Group>,
    /// Young nodes that can be used.
    #[serde(skip)]
    come: BTreeSet<String>,
}

/// One group of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    /// Samples in seconds, the newest last.
    seconds: VecDeque<i64>,
    /// Since when each node on its way has been, the oldest first.
    expected: VecDeque<Timestamp>,
    /// Nodes on their way when the autoscaler was last heard.
    #[serde(skip)]
    said: u32,
    /// Nodes that have come, and that it still calls on their way.
    #[serde(skip)]
    ahead: u32,
}

/// Nodes of one group that are on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arriving {
    /// Name of the group.
    pub group: String,
    /// How many.
    pub nodes: usize,
    /// Since when the first of them has been wanted, as far as it was seen.
    pub since: Timestamp,
    /// When the first of them is likely to be usable.
    pub expected: Timestamp,
    /// When it is overdue.
    pub overdue: Timestamp,
    /// Earlier arrivals that this rests on; 0 for an assumption.
    pub samples: usize,
}

// === impl Arrivals ===

impl Arrivals {
    /// The state after a look at `groups` as they are now; `registration` tells whose GPUs are still to come.
    pub(super) fn continued(
        previous: Option<&Self>,
        groups: &[NodeGroup],
        view: &View,
        registration: &Registration<'_>,
        now: Timestamp,
    ) -> Self {
        let is_young = |node: &&Node| {
            node.metadata.creation_timestamp.is_some_and(|made| now.duration_since(made) < YOUNG)
                && node.is_ready()
                && !registration.has(node)
        };
        let usable: Vec<_> = view.nodes.values().filter(is_young).take(MAX_NODES).collect();
        let new = |node: &&&Node| previous.is_some_and(|previous| !previous.come.contains(&node.metadata.name));
        let new: Vec<_> = usable.iter().filter(new).collect();
        let known = |name: &str| previous.and_then(|previous| previous.groups.get(name)).cloned().unwrap_or_default();
        let continued = groups.iter().map(|group| {
            let mut known = known(&group.name);
            let came = new.iter().filter(|node| group.has(node));
            known.note(came.filter_map(|node| node.metadata.creation_timestamp), group.arriving, now);
            (group.name.clone(), known)
        });
        let groups = continued.filter(|(_, group)| *group != Group::default()).collect();
        Self { groups, come: usable.iter().map(|node| node.metadata.name.clone()).collect() }
    }

    /// Nodes of a group that take longer than they should.
    pub(super) fn overdue(&self, group: &str, policy: &Policy, now: Timestamp) -> u32 {
        let Some(group) = self.groups.get(group) else { return 0 };
        let latest = group.latest(policy);
        let late = group.expected.iter().filter(|since| now.duration_since(**since) >= latest).count();
        u32::try_from(late).unwrap_or(u32::MAX)
    }

    /// What is on its way, by group.
    #[must_use]
    pub fn arriving(&self, policy: &Policy) -> Vec<Arriving> {
        let groups = self.groups.iter().filter_map(|(name, group)| {
            let since = *group.expected.front()?;
            let after = |duration| since.checked_add(duration).unwrap_or(Timestamp::MAX);
            Some(Arriving {
                group: name.clone(),
                nodes: group.expected.len(),
                since,
                expected: after(group.typical().min(group.latest(policy))),
                overdue: after(group.latest(policy)),
                samples: if group.is_learnt() { group.seconds.len() } else { 0 },
            })
        });
        groups.collect()
    }
}

// === impl Group ===

impl Group {
    /// Takes note of nodes that came, by when each was made, then of how many are said to be on their way.
    fn note(&mut self, came: impl Iterator<Item = Timestamp>, said: u32, now: Timestamp) {
        for made in came {
            let Some(since) = self.expected.pop_front() else { break };
            self.ahead = self.ahead.saturating_add(1);
            let taken = now.duration_since(since.min(made));
            if taken > SignedDuration::ZERO && taken <= YOUNG {
                self.seconds.push_back(taken.as_secs().max(1));
            }
        }
        while self.seconds.len() > SAMPLES {
            self.seconds.pop_front();
        }
        for _ in self.said..said {
            if self.expected.len() < MAX_NODES {
                self.expected.push_back(now);
            }
        }
        for _ in said..self.said {
            // One that has come, or else the last one that was wanted is no longer.
            if self.ahead > 0 {
                self.ahead -= 1;
            } else {
                self.expected.pop_back();
            }
        }
        self.said = said;
        if said == 0 {
            self.expected.clear();
            self.ahead = 0;
        }
    }

    fn is_learnt(&self) -> bool {
        self.seconds.len() >= FEW
    }

    /// The median of the samples.
    fn typical(&self) -> SignedDuration {
        let mut sorted: Vec<_> = self.seconds.iter().copied().collect();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).filter(|_| self.is_learnt());
        median.map_or(PRIOR, |seconds| SignedDuration::from_secs(*seconds))
    }

    /// How long a node may take.
    fn latest(&self, policy: &Policy) -> SignedDuration {
        let longest = self.seconds.iter().max().filter(|_| self.is_learnt());
        let learnt = longest.map(|seconds| SignedDuration::from_secs(seconds.saturating_mul(2)).max(SOONEST));
        learnt.map_or(policy.provision_timeout, |learnt| learnt.min(policy.provision_timeout))
    }
}

#[cfg(test)]
mod tests;
