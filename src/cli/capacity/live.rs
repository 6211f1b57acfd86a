//! Objects of a cluster that answers: what `kubectl get` would print, read page by page.

use std::{io::Write, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use kube::Client;
use serde_json::Value;

use super::named::{Named, WORKLOADS, WorkloadKind};
use crate::kubernetes::{
    self, autoscaler,
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
const KINDS: [(&str, &str, &[u16]); 32] = [
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
    ("/apis/karpenter.sh/v1/nodepools", "NodePoolList", MAY_HIDE),
    ("/apis/karpenter.sh/v1/nodeclaims", "NodeClaimList", MAY_HIDE),
    ("/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status", "ConfigMap", MAY_HIDE),
    ("/apis/autoscaling.x-k8s.io/v1/provisioningrequests", "ProvisioningRequestList", MAY_HIDE),
    ("/api/v1/podtemplates", "PodTemplateList", MAY_HIDE),
    ("/apis/autoscaling.x-k8s.io/v1alpha1/capacitybuffers", "CapacityBufferList", MAY_HIDE),
    ("/apis/autoscaling.x-k8s.io/v1beta1/capacitybuffers", "CapacityBufferList", MAY_HIDE),
    ("/api/v1/persistentvolumeclaims", "PersistentVolumeClaimList", MAY_HIDE),
    ("/api/v1/persistentvolumes", "PersistentVolumeList", MAY_HIDE),
    ("/apis/storage.k8s.io/v1/storageclasses", "StorageClassList", MAY_HIDE),
    ("/apis/storage.k8s.io/v1/csinodes", "CSINodeList", MAY_HIDE),
    ("/apis/storage.k8s.io/v1/csidrivers", "CSIDriverList", MAY_HIDE),
    ("/apis/storage.k8s.io/v1/volumeattachments", "VolumeAttachmentList", MAY_HIDE),
];

/// Paths of everything that decides and of what can be asked about, for `kubectl get --raw`.
pub(super) fn paths() -> impl Iterator<Item = String> {
    // Many, and seldom asked about.
    let workloads = WORKLOADS.iter().filter(|kind| kind.resource != "replicasets");
    KINDS.iter().map(|(path, ..)| (*path).to_owned()).chain(workloads.map(WorkloadKind::path))
}

/// Kinds that are read only from clusters in which each of them is served.
pub(super) fn required() -> impl Iterator<Item = &'static str> {
    KINDS.iter().filter(|(.., absent)| absent.is_empty()).filter_map(|(_, kind, _)| kind.strip_suffix("List"))
}

/// Everything that decides, and the workload if one is named; without a namespace in that which the kubeconfig chooses.
pub(super) fn read(
    kubeconfig: Option<&Path>,
    workload: Option<&Named>,
    namespace: Option<&str>,
    talk: &mut impl Write,
) -> anyhow::Result<(Vec<Value>, Option<Value>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Another part of the process may have chosen it already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = kubernetes::client(kubeconfig).await?;
        let mut lists = Vec::new();
        let (mut read, mut hidden) = (Vec::new(), Vec::new());
        let stock_outs = autoscaler::stock_outs();
        for (path, kind, absent) in KINDS.into_iter().chain([(&*stock_outs, "EventList", MAY_HIDE)]) {
            let resource = path.split('?').next().unwrap_or(path).rsplit('/').next().unwrap_or(path);
            let pages = match pages(&client, path, absent).await.with_context(|| format!("reading {resource}"))? {
                Pages::Read(pages) => pages,
                Pages::Hidden => {
                    hidden.push(resource);
                    continue;
                }
            };
            let count: usize = pages.iter().map(|page| page["items"].as_array().map_or(1, Vec::len)).sum();
            if count > 0 {
                read.push(format!("{count} {resource}"));
            }
            lists.extend(pages.into_iter().map(|mut page| {
                page["kind"] = kind.into();
                page
            }));
        }
        writeln!(talk, "plimsoll: read {}", read.join(", "))?;
        if hidden.contains(&"nodeclaims") {
            // Without what is arriving, what may be added is not known either.
            lists.retain(|page| page["kind"] != "NodePoolList");
        }
        hidden.dedup();
        if !hidden.is_empty() {
            let hidden = hidden.join(", ");
            writeln!(talk, "plimsoll: you may not list {hidden}: what they decide is not known here")?;
        }
        let workload = match workload {
            Some(named) => Some(named.get(&client, namespace.unwrap_or(client.default_namespace())).await?),
            None => None,
        };
        Ok((lists, workload))
    })
}

/// What is listed under a path.
enum Pages {
    /// All pages; none where the kind is not served. Or a single object.
    Read(Vec<Value>),
    /// It may not be read.
    Hidden,
}

async fn pages(client: &Client, path: &str, absent: &[u16]) -> anyhow::Result<Pages> {
    let (mut pages, mut next) = (Vec::new(), String::new());
    let first = if path.contains('?') { '&' } else { '?' };
    for _ in 0..MAX_PAGES {
        let more = if next.is_empty() { String::new() } else { format!("&continue={next}") };
        let page = request::get::<Value>(client, &format!("{path}{first}limit={PAGE}{more}"), MAX_PAGE, PATIENCE).await;
        let page = match page {
            Err(failure) if failure.is(403) && absent.contains(&403) => return Ok(Pages::Hidden),
            Err(failure) if failure.is(404) && absent.contains(&404) => return Ok(Pages::Read(pages)),
            page => page?,
        };
        page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().clone_into(&mut next);
        pages.push(page);
        if next.is_empty() {
            return Ok(Pages::Read(pages));
        }
    }
    bail!("there are more than {} of them", MAX_PAGES * PAGE)
}

impl Named {
    /// What the API server answers under the name; its kind is said, since single objects need not say it.
    async fn get(&self, client: &Client, namespace: &str) -> anyhow::Result<Value> {
        match request::get(client, &self.path(namespace), MAX_PAGE, PATIENCE).await {
            Err(failure) if failure.is(404) => Err(self.missing(&format!("namespace {namespace:?}"))),
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
