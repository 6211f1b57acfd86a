//! Versions of a kind: a cluster may serve one in others than those that are read here, older or newer.
//!
//! Such objects must not be read as if they were of a known version, and they are no sign that there are none.

use serde::Deserialize;

use super::Context;
use crate::kubernetes::request::{self, Failure, present};

/// Most versions of a group that are looked at.
const MAX_VERSIONS: usize = 8;
/// Largest answer of discovery that is read, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// `metav1.APIGroup`.
#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersion {
    group_version: String,
}

/// `metav1.APIResourceList`.
#[derive(Debug, Deserialize)]
pub(crate) struct ResourceList {
    /// Resources and subresources.
    pub(crate) resources: Vec<Resource>,
}

/// `metav1.APIResource`.
#[derive(Debug, Deserialize)]
pub(crate) struct Resource {
    /// Name in the plural; of a subresource with that before it, as in `deployments/scale`.
    pub(crate) name: String,
    /// Its kind; empty if it is not told.
    #[serde(default)]
    pub(crate) kind: String,
}

/// The group and version in which a resource, known by its path, is served, if it is in none that `knows` knows.
pub(crate) async fn unknown(
    context: &Context,
    path: &str,
    knows: impl Fn(&str) -> bool,
) -> Result<Option<String>, Failure> {
    let Some((group, resource)) = parts(path) else { return Ok(None) };
    let Some(group) = get::<Group>(context, &format!("/apis/{group}")).await? else { return Ok(None) };
    let mut unknown = None;
    for GroupVersion { group_version } in group.versions.into_iter().take(MAX_VERSIONS) {
        let path = format!("/apis/{group_version}");
        let list = resources(context, &path).await?;
        if list.is_none_or(|list| list.resources.iter().all(|served| served.name != resource)) {
            continue;
        }
        if knows(&path) {
            return Ok(None);
        }
        unknown = unknown.or(Some(group_version));
    }
    Ok(unknown)
}

/// Whether a group is served in a version, as `group/version`.
pub(crate) async fn serves(context: &Context, version: &str) -> Result<bool, Failure> {
    Ok(resources(context, &format!("/apis/{version}")).await?.is_some())
}

/// What is served below `/api/version` or `/apis/group/version`; none where that is not served.
pub(crate) async fn resources(context: &Context, path: &str) -> Result<Option<ResourceList>, Failure> {
    get(context, path).await
}

/// Why what is served in that version is not known.
pub(crate) fn describe(resource: &str, version: &str) -> String {
    format!("the API server has {resource} in {version}, a version that is not understood")
}

/// Group and resource of `/apis/group/version/resource`.
fn parts(path: &str) -> Option<(&str, &str)> {
    let mut parts = path.strip_prefix("/apis/")?.split('/');
    Some((parts.next()?, parts.nth(1)?))
}

async fn get<T: serde::de::DeserializeOwned>(context: &Context, path: &str) -> Result<Option<T>, Failure> {
    present(request::get(&context.client, path, MAX_ANSWER, context.settings.call_timeout).await)
}
