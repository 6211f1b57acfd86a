//! The API server, asked in JSON as it is.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use http::Request;
use kube::Client;
use plimsoll_e2e::queue_cases::CASE;
use serde_json::{Value, json};

/// Everything else that decides about a case, by path and kind.
pub(crate) const KINDS: [(&str, &str); 8] = [
    ("/api/v1/nodes", "Node"),
    ("/api/v1/pods", "Pod"),
    ("/api/v1/limitranges", "LimitRange"),
    ("/api/v1/resourcequotas", "ResourceQuota"),
    ("/apis/resource.k8s.io/v1/deviceclasses", "DeviceClass"),
    ("/apis/resource.k8s.io/v1/resourceslices", "ResourceSlice"),
    ("/apis/resource.k8s.io/v1/resourceclaims", "ResourceClaim"),
    ("/apis/resource.k8s.io/v1/resourceclaimtemplates", "ResourceClaimTemplate"),
];
/// Kueue's kinds.
pub(crate) const KUEUE: [(&str, &str); 4] = [
    ("localqueues", "LocalQueue"),
    ("clusterqueues", "ClusterQueue"),
    ("resourceflavors", "ResourceFlavor"),
    ("cohorts", "Cohort"),
];
/// The versions in which it serves them.
pub(crate) const VERSIONS: [&str; 2] = ["v1beta1", "v1beta2"];
const WORKLOADS: &str = "/apis/kueue.x-k8s.io/v1beta2/workloads";

pub(crate) struct Api {
    client: Client,
}

// === impl Api ===

impl Api {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) async fn create(&self, object: &Value) -> Result<()> {
        let request = Request::post(all_of(object)).header("Content-Type", "application/json");
        self.send(request, Some(object)).await.map(drop)
    }

    /// Makes an object, or changes it to this.
    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        let path = format!("{}?fieldManager=e2e&force=true", path(object));
        self.send(Request::patch(path).header("Content-Type", "application/apply-patch+yaml"), Some(object))
            .await
            .map(drop)
    }

    pub(crate) async fn merge(&self, object: &Value, change: &Value) -> Result<()> {
        let request = Request::patch(path(object)).header("Content-Type", "application/merge-patch+json");
        self.send(request, Some(change)).await.map(drop)
    }

    pub(crate) async fn get(&self, object: &Value) -> Result<Value> {
        let mut found = self.send(Request::get(path(object)), None).await?;
        found["apiVersion"] = object["apiVersion"].clone();
        found["kind"] = object["kind"].clone();
        Ok(found)
    }

    /// What there is of a kind in a case: a list of its own, which says that there are no others.
    pub(crate) async fn list(&self, path: &str, kind: &str, case: &str) -> Result<Value> {
        let label = format!("labelSelector={CASE}%3D{case}");
        let mut list = self.send(Request::get(format!("{path}?{label}")), None).await?;
        list["kind"] = json!(format!("{kind}List"));
        Ok(list)
    }

    /// The pods of cases.
    pub(crate) async fn pods(&self, cases: &[&str]) -> Result<Vec<Value>> {
        let label = format!("labelSelector={CASE}%20in%20({})", cases.join(","));
        self.items(&format!("/api/v1/pods?{label}")).await
    }

    /// The pods that Kueue knows, by their unique identifiers, and whether it has said that they have to wait.
    pub(crate) async fn known(&self) -> Result<BTreeMap<String, bool>> {
        let waits = |workload: &Value| {
            let conditions = workload["status"]["conditions"].as_array();
            let refused = |it: &Value| it["type"] == "QuotaReserved" && it["status"] == "False";
            conditions.is_some_and(|all| all.iter().any(refused))
        };
        let owner = |it: &Value| it.pointer("/metadata/ownerReferences/0/uid")?.as_str().map(str::to_owned);
        Ok(self.items(WORKLOADS).await?.iter().filter_map(|it| Some((owner(it)?, waits(it)))).collect())
    }

    async fn items(&self, path: &str) -> Result<Vec<Value>> {
        let mut list = self.send(Request::get(path), None).await?;
        Ok(serde_json::from_value(list["items"].take())?)
    }

    async fn send(&self, request: http::request::Builder, body: Option<&Value>) -> Result<Value> {
        let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request = request.body(body)?;
        let what = request.uri().to_string();
        self.client.request(request).await.with_context(|| what)
    }
}

/// Where an object is created.
fn all_of(object: &Value) -> String {
    let of = |field: &str| object[field].as_str().unwrap_or_default();
    let group = match of("apiVersion") {
        "v1" => "/api/v1".to_owned(),
        version => format!("/apis/{version}"),
    };
    let plural = format!("{}s", of("kind").to_lowercase());
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
        None => format!("{group}/{plural}"),
    }
}

fn path(object: &Value) -> String {
    format!("{}/{}", all_of(object), object["metadata"]["name"].as_str().unwrap_or_default())
}
