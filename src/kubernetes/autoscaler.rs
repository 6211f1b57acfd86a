//! What adds nodes when pods do not fit: Cluster Autoscaler or Karpenter, or both.
//!
//! A few small reads every now and then. Where nothing may be read, nothing is detected, and the log says so once.

use plimsoll_core::{
    autoscaler::{NodeAutoscaler, NodeGroup, karpenter, status},
    cluster::Change,
    object::{ObjectKey, ObjectMeta, autoscaling::CapacityBuffer, meta::StringMap},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    health::Feed,
    request::{self, Failure, present},
    watch::{Backoff, Context, Error, Quiet, versions},
};
use crate::clock;

/// Largest answer that is read, in bytes: a ConfigMap holds at most 1 MiB, and a page of claims less than that.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Objects of a page of a list.
const PAGE: u32 = 500;
/// Most pages of a list.
const MAX_PAGES: usize = 40;
/// Versions of Karpenter's kinds that are read, the newest first.
const POOLS: [&str; 2] = ["karpenter.sh/v1", "karpenter.sh/v1beta1"];
/// The same of CapacityBuffers.
const BUFFERS: [&str; 2] = ["autoscaling.x-k8s.io/v1beta1", "autoscaling.x-k8s.io/v1alpha1"];
/// When Cluster Autoscaler wrote its status.
pub(crate) const UPDATED: &str = "cluster-autoscaler.kubernetes.io/last-updated";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigMap {
    metadata: Metadata,
    data: StringMap,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    annotations: StringMap,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Option<Vec<Value>>,
    #[serde(default)]
    metadata: ListMetadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: String,
}

/// Objects of a kind, and one that does not decode.
struct Listed<T> {
    items: Vec<T>,
    /// Which and why.
    bad: Option<String>,
}

/// Looks until nobody reads the changes any more.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let (mut last, mut quiet, mut backoff) = (None, Quiet::default(), Backoff::default());
    loop {
        let wait = match detect(&context, &mut quiet).await {
            Ok(found) => {
                context.health.heard(Feed::NodeAutoscaler, clock::now());
                if last.as_ref() != Some(&found) {
                    announce(last.as_ref().and_then(Option::as_ref), found.as_ref());
                    context.send(Change::NodeAutoscaler(found.clone())).await?;
                    last = Some(found);
                }
                context.health.listed(Feed::NodeAutoscaler, []);
                backoff.reset();
                context.settings.autoscaler_interval
            }
            Err(failure) => {
                context.health.failed(Feed::NodeAutoscaler, failure.to_string());
                if quiet.speak(&failure) {
                    warn!(%failure, "cannot look for a node autoscaler");
                }
                backoff.next(&failure)
            }
        };
        sleep(wait).await;
    }
}

/// Says when there is another one than before, not each time that it says something.
fn announce(before: Option<&NodeAutoscaler>, now: Option<&NodeAutoscaler>) {
    let evidence = |it: Option<&NodeAutoscaler>| it.map_or("none", |it| &*it.evidence).to_owned();
    if before.is_none() || evidence(before) != evidence(now) {
        info!(evidence = evidence(now), "node autoscaler");
    }
}

async fn detect(context: &Context, quiet: &mut Quiet) -> Result<Option<NodeAutoscaler>, Failure> {
    let cluster_autoscaler = permitted(cluster_autoscaler(context).await, "the status of Cluster Autoscaler", quiet)?;
    let karpenter = karpenter(context, quiet).await;
    let karpenter = permitted(karpenter, "NodePools of Karpenter", quiet)?;
    let found = match (cluster_autoscaler, karpenter) {
        (Some(mut one), Some(other)) => {
            one.evidence = format!("{} and {}", one.evidence, other.evidence);
            one.groups.extend(other.groups);
            one.problem = one.problem.or(other.problem);
            Some(one)
        }
        (one, other) => one.or(other),
    };
    let Some(mut found) = found else { return Ok(None) };
    let (buffers, problem) = permitted(buffers(context).await, "CapacityBuffers", quiet)?.unwrap_or_default();
    found.buffers = buffers;
    found.problem = found.problem.or(problem);
    Ok(Some(found))
}

/// What is kept free, in the newest version that is served, and why that is not all known.
async fn buffers(context: &Context) -> Result<Option<(Vec<CapacityBuffer>, Option<String>)>, Failure> {
    for version in BUFFERS {
        let Listed { items, bad } = all(context, &format!("/apis/{version}/capacitybuffers")).await?;
        if !items.is_empty() || bad.is_some() {
            return Ok(Some((items.into_iter().map(trimmed).collect(), bad)));
        }
    }
    let unknown = beyond(context, "capacitybuffers", &BUFFERS).await?;
    Ok(unknown.map(|(_, problem)| (Vec::new(), Some(problem))))
}

/// The version in which a resource is served if it is in none of those that are read, and what to say of that.
async fn beyond(context: &Context, resource: &str, read: &[&str; 2]) -> Result<Option<(String, String)>, Failure> {
    let path = format!("/apis/{}/{resource}", read[0]);
    let is_read = |path: &str| path.strip_prefix("/apis/").is_some_and(|version| read.contains(&version));
    let unknown = versions::unknown(context, &path, is_read).await?;
    Ok(unknown.map(|version| (version.clone(), versions::describe(resource, &version))))
}

/// Only what is read; words of conditions would make every look a change.
fn trimmed(mut buffer: CapacityBuffer) -> CapacityBuffer {
    buffer.metadata =
        ObjectMeta { namespace: buffer.metadata.namespace, name: buffer.metadata.name, ..ObjectMeta::default() };
    for condition in &mut buffer.status.conditions {
        condition.message.clear();
    }
    buffer
}

async fn cluster_autoscaler(context: &Context) -> Result<Option<NodeAutoscaler>, Failure> {
    let ObjectKey { namespace, name } = &context.settings.autoscaler_status;
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
    let Some(found) = present(get::<ConfigMap>(context, &path).await)? else { return Ok(None) };
    let evidence = format!("ConfigMap {namespace}/{name}");
    let updated = found.metadata.annotations.get(UPDATED).and_then(|text| status::updated(text));
    let text = found.data.get("status").map_or("", String::as_str);
    let (groups, problem) = match read_status(text) {
        Ok(groups) => (groups, None),
        Err(error) => (Vec::new(), Some(format!("{evidence} cannot be read: {error}"))),
    };
    Ok(Some(NodeAutoscaler { evidence, groups, updated, problem, ..NodeAutoscaler::default() }))
}

/// The status in either of its forms.
pub(crate) fn read_status(text: &str) -> Result<Vec<NodeGroup>, String> {
    let old = status::of_text(text);
    if text.starts_with("Cluster-autoscaler status") {
        return Ok(old);
    }
    let status: Result<status::Status, _> = serde_saphyr::from_str(text);
    status.map(status::Status::groups).map_err(|error| error.to_string().chars().take(200).collect())
}

/// Where Karpenter tells of claims that it could not launch: events of objects without a namespace are in `default`.
pub(crate) fn stock_outs() -> String {
    let reason = karpenter::STOCK_OUT;
    format!("/api/v1/namespaces/default/events?fieldSelector=reason%3D{reason}%2CinvolvedObject.kind%3DNodeClaim")
}

/// Karpenter's pools. If they are there and it cannot be known what they say, nothing may be expected of them.
async fn karpenter(context: &Context, quiet: &mut Quiet) -> Result<Option<NodeAutoscaler>, Failure> {
    let Some((version, pools)) = pools(context).await? else { return Ok(None) };
    let mut found = NodeAutoscaler { evidence: format!("NodePools of {version}"), ..NodeAutoscaler::default() };
    let pools = match pools {
        Ok(pools) => pools,
        Err(problem) => {
            found.problem = Some(problem);
            return Ok(Some(found));
        }
    };
    match all(context, &format!("/apis/{version}/nodeclaims")).await {
        Ok(Listed { items, bad: None }) => found.groups = karpenter::groups(pools, &items),
        Ok(Listed { bad, .. }) => found.problem = bad,
        Err(failure) if failure.is(403) => {
            found.problem = Some(format!("{}: NodeClaims may not be read", found.evidence));
        }
        Err(failure) => return Err(failure),
    }
    let failed = permitted(all(context, &stock_outs()).await.map(Some), "events of NodeClaims", quiet)?;
    karpenter::refuse(&mut found.groups, &failed.map(|listed| listed.items).unwrap_or_default(), clock::now());
    Ok(Some(found))
}

/// The version in which there are pools, and these, or why it cannot be known what they say.
async fn pools(context: &Context) -> Result<Option<(String, Result<Vec<karpenter::NodePool>, String>)>, Failure> {
    for version in POOLS {
        let pools = match all(context, &format!("/apis/{version}/nodepools")).await {
            Ok(Listed { bad: Some(bad), .. }) => Err(bad),
            Ok(Listed { items, bad: None }) if items.is_empty() => continue,
            Ok(Listed { items, bad: None }) => Ok(items),
            // The API server says so of a group that it does not have, too.
            Err(failure) if failure.is(403) && !versions::serves(context, version).await? => continue,
            Err(failure) if failure.is(403) => Err(format!("NodePools of {version}: they may not be read")),
            Err(failure) => return Err(failure),
        };
        return Ok(Some((version.to_owned(), pools)));
    }
    let unknown = beyond(context, "nodepools", &POOLS).await?;
    Ok(unknown.map(|(version, problem)| (version, Err(problem))))
}

/// All objects of a kind; none where the kind is not served.
async fn all<T: DeserializeOwned>(context: &Context, path: &str) -> Result<Listed<T>, Failure> {
    let (mut listed, mut next) = (Listed { items: Vec::new(), bad: None }, String::new());
    let first = if path.contains('?') { '&' } else { '?' };
    for _ in 0..MAX_PAGES {
        let more = if next.is_empty() { String::new() } else { format!("&continue={next}") };
        let Some(list) = present(get::<List>(context, &format!("{path}{first}limit={PAGE}{more}")).await)? else {
            break;
        };
        for object in list.items.unwrap_or_default() {
            match T::deserialize(&object) {
                Ok(item) => listed.items.push(item),
                Err(error) => {
                    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                    listed.bad.get_or_insert_with(|| format!("{path}: {name:?} cannot be read: {error}"));
                }
            }
        }
        next = list.metadata.next;
        if next.is_empty() {
            return Ok(listed);
        }
    }
    if next.is_empty() {
        Ok(listed)
    } else {
        Err(Failure::Unreadable(format!("{path} has more than {MAX_PAGES} pages")))
    }
}

async fn get<T: DeserializeOwned>(context: &Context, path: &str) -> Result<T, Failure> {
    request::get(&context.client, path, MAX_ANSWER, context.settings.call_timeout).await
}

/// What may not be read is no evidence, as what is not there is none; the administrator has chosen so.
fn permitted<T>(
    answer: Result<Option<T>, Failure>,
    what: &'static str,
    quiet: &mut Quiet,
) -> Result<Option<T>, Failure> {
    match answer {
        Err(failure) if failure.is(403) => {
            if quiet.speak_once(&failure) {
                warn!(%failure, what, "not permitted to look for what node autoscalers say, so nothing is known of it");
            }
            Ok(None)
        }
        other => other,
    }
}
