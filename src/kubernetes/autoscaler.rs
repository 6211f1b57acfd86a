//! Whether something adds nodes when pods do not fit: Cluster Autoscaler or Karpenter.
//!
//! Only evidence is looked for, a few small reads every now and then. Where nothing may be read, nothing is
//! detected, and the log says so once.

use plimsoll_core::{cluster::Change, object::ObjectKey};
use serde::Deserialize;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    health::Feed,
    request::{self, Failure},
    watch::{Backoff, Context, Error, Quiet},
};
use crate::clock;

/// Largest answer that is read, in bytes: a ConfigMap holds at most 1 MiB.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

#[derive(Debug, Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Object>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    preferred_version: GroupVersion,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersion {
    group_version: String,
}

/// Looks until nobody reads the changes any more.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let (mut last, mut quiet, mut backoff) = (None, Quiet::default(), Backoff::default());
    loop {
        let wait = match detect(&context, &mut quiet).await {
            Ok(evidence) => {
                context.health.heard(Feed::NodeAutoscaler, clock::now());
                if last.as_ref() != Some(&evidence) {
                    info!(evidence = evidence.as_deref().unwrap_or("none"), "node autoscaler");
                    context.send(Change::NodeAutoscaler(evidence.clone())).await?;
                    last = Some(evidence);
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

async fn detect(context: &Context, quiet: &mut Quiet) -> Result<Option<String>, Failure> {
    if let Some(found) = permitted(cluster_autoscaler(context).await, quiet)? {
        return Ok(Some(found));
    }
    permitted(karpenter(context).await, quiet)
}

async fn cluster_autoscaler(context: &Context) -> Result<Option<String>, Failure> {
    let ObjectKey { namespace, name } = &context.settings.autoscaler_status;
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
    let found: Option<Object> = present(get(context, &path).await)?;
    Ok(found.map(|_| format!("ConfigMap {namespace}/{name}")))
}

async fn karpenter(context: &Context) -> Result<Option<String>, Failure> {
    let Some(group) = present(get::<Group>(context, "/apis/karpenter.sh").await)? else { return Ok(None) };
    let version = group.preferred_version.group_version;
    let pools: Option<List> = present(get(context, &format!("/apis/{version}/nodepools?limit=1")).await)?;
    let first = pools.and_then(|list| list.items.into_iter().next());
    Ok(first.map(|pool| format!("NodePool {version} {}", pool.metadata.name)))
}

async fn get<T: serde::de::DeserializeOwned>(context: &Context, path: &str) -> Result<T, Failure> {
    request::get(&context.client, path, MAX_ANSWER, context.settings.call_timeout).await
}

/// What is not there is no evidence.
fn present<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.is(404) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What may not be read is no evidence either; the administrator has chosen so.
fn permitted(answer: Result<Option<String>, Failure>, quiet: &mut Quiet) -> Result<Option<String>, Failure> {
    match answer {
        Err(failure) if failure.is(403) => {
            if quiet.speak_once(&failure) {
                warn!(%failure, "not permitted to look for a node autoscaler, so none is detected");
            }
            Ok(None)
        }
        other => other,
    }
}
