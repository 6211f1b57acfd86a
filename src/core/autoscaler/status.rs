//! The status that Cluster Autoscaler writes into its ConfigMap (`clusterstate/api/types.go`): YAML since 1.30, and the
//! text of before, which people read.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::Deserialize;

use super::{NodeGroup, Refusal, RefusalKind};
use crate::object::meta::{null_as_default, null_items_as_default};

/// Most groups that are kept.
const MAX_GROUPS: usize = 2_000;

/// `ClusterAutoscalerStatus`, the read part.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// `Running` or `Initializing`.
    #[serde(deserialize_with = "null_as_default")]
    pub autoscaler_status: String,
    #[serde(deserialize_with = "null_items_as_default")]
    node_groups: Vec<Group>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Group {
    #[serde(deserialize_with = "null_as_default")]
    name: String,
    #[serde(deserialize_with = "null_as_default")]
    health: Health,
    #[serde(deserialize_with = "null_as_default")]
    scale_up: ScaleUp,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Health {
    #[serde(deserialize_with = "null_as_default")]
    status: String,
    #[serde(deserialize_with = "null_as_default")]
    node_counts: Counts,
    #[serde(deserialize_with = "null_as_default")]
    cloud_provider_target: u32,
    #[serde(deserialize_with = "null_as_default")]
    max_size: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    #[serde(deserialize_with = "null_as_default")]
    registered: Registered,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Registered {
    #[serde(deserialize_with = "null_as_default")]
    ready: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScaleUp {
    #[serde(deserialize_with = "null_as_default")]
    status: String,
    #[serde(deserialize_with = "null_as_default")]
    backoff_info: BackoffInfo,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BackoffInfo {
    #[serde(deserialize_with = "null_as_default")]
    error_code: String,
    #[serde(deserialize_with = "null_as_default")]
    error_message: String,
}

// === impl Status ===

impl Status {
    /// The groups, by name.
    #[must_use]
    pub fn groups(self) -> Vec<NodeGroup> {
        let mut groups: Vec<_> = self.node_groups.into_iter().take(MAX_GROUPS).map(Group::node_group).collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        groups
    }
}

impl Group {
    fn node_group(self) -> NodeGroup {
        let Health { status, node_counts, cloud_provider_target: target, max_size } = self.health;
        let BackoffInfo { error_code, error_message } = self.scale_up.backoff_info;
        let refusal = if self.scale_up.status == "Backoff" {
            let code = if error_code.is_empty() { "backoff" } else { &error_code };
            Some(Refusal::by_code(code, &error_message))
        } else if target >= max_size {
            Some(full(max_size))
        } else if status == "Unhealthy" {
            let message = "too many of its nodes are not healthy".to_owned();
            Some(Refusal { kind: RefusalKind::Unavailable, message })
        } else {
            None
        };
        NodeGroup {
            name: self.name,
            max: Some(max_size),
            target,
            arriving: target.saturating_sub(node_counts.registered.ready),
            refusal,
            ..NodeGroup::default()
        }
    }
}

fn full(max: u32) -> Refusal {
    Refusal { kind: RefusalKind::Limit, message: format!("it has its {max} nodes already") }
}

/// The groups in the text form of before 1.30.
#[must_use]
pub fn of_text(text: &str) -> Vec<NodeGroup> {
    let mut groups: Vec<Group> = Vec::new();
    for line in text.lines().map(str::trim).take(MAX_GROUPS * 16) {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match (key, groups.last_mut()) {
            ("Name", _) => groups.push(Group { name: value.to_owned(), ..Group::default() }),
            ("Health", Some(group)) => {
                group.health = Health {
                    status: first_word(value),
                    cloud_provider_target: number(value, "cloudProviderTarget="),
                    max_size: number(value, "maxSize="),
                    node_counts: Counts { registered: Registered { ready: number(value, "ready=") } },
                };
            }
            ("ScaleUp", Some(group)) => group.scale_up.status = first_word(value),
            _ => {}
        }
    }
    Status { node_groups: groups, ..Status::default() }.groups()
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The number behind a key that stands at the start of a word.
fn number(text: &str, key: &str) -> u32 {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ','));
    words.filter_map(|word| word.strip_prefix(key)).find_map(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The time in the annotation `cluster-autoscaler.kubernetes.io/last-updated`, as Go prints times:
/// `2026-11-21 03:04:05.123456789 +0000 UTC`.
#[must_use]
pub fn updated(text: &str) -> Option<Timestamp> {
    let mut words = text.split_whitespace();
    let (date, time) = (words.next()?, words.next()?);
    let zone = words.next().unwrap_or("+0000");
    let moment: DateTime = format!("{date}T{time}").parse().ok()?;
    let utc = moment.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let (sign, digits) = zone.split_at_checked(1)?;
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = minutes.parse::<i64>().ok()?.checked_mul(60)?;
    let seconds = hours.parse::<i64>().ok()?.checked_mul(3600)?.checked_add(minutes)?;
    let offset = jiff::SignedDuration::from_secs(if sign == "-" { -seconds } else { seconds });
    utc.checked_sub(offset).ok()
}
