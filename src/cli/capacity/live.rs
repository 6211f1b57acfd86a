//! Objects of a cluster that answers: what `kubectl get` would print, read page by page.

use std::{io::Write, path::Path, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use kube::Client;
use plimsoll_core::object::group;
use serde_json::Value;

use crate::kubernetes::{
    self,
    request::{self, Failure},
};

/// Objects of a page.
const PAGE: usize = 500;
/// Largest page, in bytes.
const MAX_PAGE: usize = 128 * 1024 * 1024;
/// Most pages of a kind.
const MAX_PAGES: usize = 1_000;
/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers that mean that there is none of a kind, which a cluster may lack.
const MAY_LACK: &[u16] = &[404];
/// Answers after which a kind is not known, so that what it decides is not known either.
const MAY_HIDE: &[u16] = &[403, 404];

/// What is listed where under which kind, and which refusals are none.
const KINDS: [(&str, &str, &[u16]); 28] = [
    ("/api/v1/nodes", "NodeList", &[]),
    ("/api/v1/pods", "PodList", &[]),
    ("/api/v1/namespaces", "NamespaceList", &[]),
    ("/api/v1/resourcequotas", "ResourceQuotaList", &[]),
    ("/api/v1/limitranges", "LimitRangeList", &[]),
    ("/apis/node.k8s.io/v1/runtimeclasses", "RuntimeClassList", &[]),
    ("/apis/scheduling.k8s.io/v1/priorityclasses", "PriorityClassList", &[]),
    ("/apis/resource.k8s.io/v1/deviceclasses", "DeviceClassList", MAY_LACK),
    ("/apis/resource.k8s.io/v1/resourceslices", "ResourceSliceList", MAY_HIDE),
    ("/apis/resource.k8s.io/v1/resourceclaims", "ResourceClaimList", MAY_HIDE),
    ("/apis/resource.k8s.io/v1/resourceclaimtemplates", "ResourceClaimTemplateList", MAY_HIDE),
    ("/apis/kueue.x-k8s.io/v1beta1/localqueues", "LocalQueueList", MAY_HIDE),
    ("/apis/kueue.x-k8s.io/v1beta1/clusterqueues", "ClusterQueueList", MAY_HIDE),
    ("/apis/kueue.x-k8s.io/v1beta1/resourceflavors", "ResourceFlavorList", MAY_HIDE),
    ("/apis/kueue.x-k8s.io/v1beta1/cohorts", "CohortList", MAY_HIDE),
    ("/apis/kueue.x-k8s.io/v1beta2/localqueues", "LocalQueueList", MAY_HIDE),
    ("/apis/kueue.x-k8s.io/v1beta2/clusterqueues", "ClusterQueueList", MAY_HIDE),
    ("/apis/kueue.x-k8s.io/v1beta2/resourceflavors", "ResourceFlavorList", MAY_HIDE),
    ("/apis/kueue.x-k8s.io/v1beta2/cohorts", "CohortList", MAY_HIDE),
    ("/apis/karpenter.sh/v1/nodepools", "NodePoolList", MAY_LACK),
    ("/apis/karpenter.sh/v1/nodeclaims", "NodeClaimList", MAY_LACK),
    ("/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status", "ConfigMap", MAY_LACK),
    ("/api/v1/persistentvolumeclaims", "PersistentVolumeClaimList", MAY_HIDE),
    ("/api/v1/persistentvolumes", "PersistentVolumeList", MAY_HIDE),
    ("/apis/storage.k8s.io/v1/storageclasses", "StorageClassList", MAY_HIDE),
    ("/apis/storage.k8s.io/v1/csinodes", "CSINodeList", MAY_HIDE),
    ("/apis/storage.k8s.io/v1/csidrivers", "CSIDriverList", MAY_HIDE),
    ("/apis/storage.k8s.io/v1/volumeattachments", "VolumeAttachmentList", MAY_HIDE),
];

/// A workload by kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    group: &'static str,
    resource: &'static str,
    name: String,
}

/// Everything that decides, and the workload if one is named.
pub(super) fn read(
    kubeconfig: Option<&Path>,
    workload: Option<(&Named, &str)>,
    talk: &mut impl Write,
) -> anyhow::Result<(Vec<Value>, Option<Value>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Another part of the process may have chosen it already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = kubernetes::client(kubeconfig).await?;
        let mut lists = Vec::new();
        for (path, kind, absent) in KINDS {
            let resource = path.rsplit('/').next().unwrap_or(path);
            let mut pages = pages(&client, path, absent).await.with_context(|| format!("reading {resource}"))?;
            for page in &mut pages {
                page["kind"] = kind.into();
            }
            let count: usize = pages.iter().map(|page| page["items"].as_array().map_or(1, Vec::len)).sum();
            writeln!(talk, "plimsoll: read {count} {resource}")?;
            lists.extend(pages);
        }
        let workload = match workload {
            Some((named, namespace)) => Some(named.get(&client, namespace).await?),
            None => None,
        };
        Ok((lists, workload))
    })
}

/// A list page by page, or a single object.
async fn pages(client: &Client, path: &str, absent: &[u16]) -> anyhow::Result<Vec<Value>> {
    let (mut pages, mut next) = (Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let more = if next.is_empty() { String::new() } else { format!("&continue={next}") };
        let page = request::get::<Value>(client, &format!("{path}?limit={PAGE}{more}"), MAX_PAGE, PATIENCE).await;
        let page = match page {
            Err(failure) if absent.iter().any(|code| failure.is(*code)) => return Ok(pages),
            page => page?,
        };
        page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().clone_into(&mut next);
        pages.push(page);
        if next.is_empty() {
            return Ok(pages);
        }
    }
    bail!("there are more than {} of them", MAX_PAGES * PAGE)
}

impl Named {
    /// What the API server answers under the name; its kind is said, since single objects need not say it.
    async fn get(&self, client: &Client, namespace: &str) -> anyhow::Result<Value> {
        let Self { group, resource, name } = self;
        let path = format!("/apis/{group}/v1/namespaces/{namespace}/{resource}/{name}");
        match request::get(client, &path, MAX_PAGE, PATIENCE).await {
            Err(failure) if failure.is(404) => {
                Err(anyhow!("there is no {resource}/{name} in namespace {namespace:?}; -n names another namespace"))
            }
            found => Ok(found?),
        }
    }
}

/// Whether an error means that the cluster cannot be reached.
pub(super) fn is_unreachable(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(|failure| matches!(failure, Failure::Unreachable(_) | Failure::Silent(_)))
    })
}

impl std::str::FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = "write KIND/NAME, e.g. deployment/chat";
        let (kind, name) = text.split_once('/').ok_or_else(|| anyhow!("{form}"))?;
        let (group, resource) = match kind.to_ascii_lowercase().as_str() {
            "deployment" | "deployments" | "deploy" => ("apps", "deployments"),
            "statefulset" | "statefulsets" | "sts" => ("apps", "statefulsets"),
            "replicaset" | "replicasets" | "rs" => ("apps", "replicasets"),
            "leaderworkerset" | "leaderworkersets" | "lws" => (group::API_GROUP, "leaderworkersets"),
            _ => bail!(
                "{kind:?} is not known here: give a deployment, a statefulset, a replicaset, a leaderworkerset, or \
                 --for with a file"
            ),
        };
        let plain = !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.'));
        if plain { Ok(Self { group, resource, name: name.to_owned() }) } else { bail!("{name:?} is no name: {form}") }
    }
}
