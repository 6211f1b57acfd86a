//! Which resource serves a kind: asked of the API server's discovery, remembered for a while.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::Target;
use crate::kubernetes::{
    request::Failure,
    watch::{
        Context,
        versions::{self, ResourceList},
    },
};

/// How long an answer is believed; a failure is asked about again sooner.
const BELIEVED: Duration = Duration::from_secs(300);
/// How long a kind that is not served is not asked about again.
const ABSENT: Duration = Duration::from_secs(30);

/// Group, version and kind.
type Kind = (String, String, String);

/// What discovery said of kinds.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    known: BTreeMap<Kind, Answer>,
}

#[derive(Debug)]
struct Answer {
    /// Plural name of the resource; none if the version does not serve the kind with a scale.
    resource: Option<String>,
    until: Instant,
}

// === impl Discovery ===

impl Discovery {
    /// Path of the scale of a target.
    pub(super) async fn path(&mut self, context: &Context, target: &Target) -> Result<String, Failure> {
        let workload = &target.workload;
        for segment in [&workload.group, &target.version, &workload.namespace, &workload.name] {
            check(segment)?;
        }
        let base = match workload.group.as_str() {
            "" => format!("/api/{}", target.version),
            group => format!("/apis/{group}/{}", target.version),
        };
        let resource = self.resource(context, target, &base).await?;
        Ok(format!("{base}/namespaces/{}/{resource}/{}/scale", workload.namespace, workload.name))
    }

    async fn resource(&mut self, context: &Context, target: &Target, base: &str) -> Result<String, Failure> {
        let kind = (target.workload.group.clone(), target.version.clone(), target.workload.kind.clone());
        let now = Instant::now();
        self.known.retain(|_, answer| answer.until > now);
        if let Some(answer) = self.known.get(&kind) {
            return answer.resource.clone().ok_or_else(|| absent(target));
        }
        let list = versions::resources(context, base).await?;
        let resource = list.and_then(|list| scaled(list, &target.workload.kind));
        let until = now + if resource.is_some() { BELIEVED } else { ABSENT };
        self.known.insert(kind, Answer { resource: resource.clone(), until });
        resource.ok_or_else(|| absent(target))
    }
}

/// The resource of the kind that has a scale. Subresources are listed as `name/scale`, with the kind `Scale`.
fn scaled(list: ResourceList, kind: &str) -> Option<String> {
    let scales: Vec<_> =
        list.resources.iter().filter_map(|resource| resource.name.strip_suffix("/scale")).map(str::to_owned).collect();
    let mut named = list.resources.into_iter().filter(|resource| resource.kind == kind).map(|resource| resource.name);
    named.find(|name| scales.contains(name))
}

fn absent(target: &Target) -> Failure {
    Failure::Refused {
        code: 404,
        reason: "NotFound".to_owned(),
        message: format!(
            "{}/{} serves no {} with a scale",
            target.workload.group, target.version, target.workload.kind
        ),
        retry_after: None,
    }
}

/// An HPA is a tenant's text: nothing of it may leave its place in the path.
fn check(segment: &str) -> Result<(), Failure> {
    let plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':'));
    if plain && !matches!(segment, "." | "..") {
        return Ok(());
    }
    Err(Failure::Request(format!("{segment:?} is no name of a Kubernetes object")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::watch::versions::Resource;

    fn resource(name: &str, kind: &str) -> Resource {
        Resource { name: name.to_owned(), kind: kind.to_owned() }
    }

    #[test]
    fn a_kind_is_found_by_its_scale() {
        let list = || ResourceList {
            resources: vec![
                resource("sets", "Set"),
                resource("sets/status", "Set"),
                resource("sets/scale", "Scale"),
                resource("jobs", "Job"),
            ],
        };
        assert_eq!(scaled(list(), "Set").as_deref(), Some("sets"));
        assert_eq!(scaled(list(), "Job"), None);
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        for name in ["a/b", "..", "a?watch=1", "a%2fb", "a b", "a#"] {
            assert!(check(name).is_err(), "{name}");
        }
        for name in ["", "llm-7b.v2", "system:x"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }
}
