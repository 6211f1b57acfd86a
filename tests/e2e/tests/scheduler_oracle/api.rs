//! The API server of a control plane that only schedules, asked in JSON as it is.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use plimsoll_e2e::{
    ControlPlane,
    plane::{Components, Settings},
};
use serde_json::{Value, json};
use tokio::time::sleep;

/// Requests under way at once.
const CONCURRENCY: usize = 16;

/// How often a request is sent again whose connection ended under it, as an API server ends some, and after how long.
const RETRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// Pods of all namespaces.
pub(crate) const PODS: &str = "/api/v1/pods";
pub(crate) const NODES: &str = "/api/v1/nodes";

pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
pub(crate) const PRIORITY_CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
pub(crate) const RUNTIME_CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";

/// Everything that decides about volumes, by path and kind.
pub(crate) const STORAGE: [(&str, &str); 6] = [
    (VOLUMES, "PersistentVolume"),
    (CLAIMS_TO_STORAGE, "PersistentVolumeClaim"),
    ("/apis/storage.k8s.io/v1/csinodes", "CSINode"),
    ("/apis/storage.k8s.io/v1/csidrivers", "CSIDriver"),
    (STORAGE_CLASSES, "StorageClass"),
    ("/apis/storage.k8s.io/v1/volumeattachments", "VolumeAttachment"),
];
pub(crate) const VOLUMES: &str = "/api/v1/persistentvolumes";
pub(crate) const CLAIMS_TO_STORAGE: &str = "/api/v1/persistentvolumeclaims";
pub(crate) const STORAGE_CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

/// Everything that decides about devices, by path and kind.
pub(crate) const DEVICES: [(&str, &str); 4] = [
    ("/apis/resource.k8s.io/v1/deviceclasses", "DeviceClass"),
    ("/apis/resource.k8s.io/v1/resourceslices", "ResourceSlice"),
    ("/apis/resource.k8s.io/v1/resourceclaimtemplates", "ResourceClaimTemplate"),
    (CLAIMS, "ResourceClaim"),
];
pub(crate) const CLAIMS: &str = "/apis/resource.k8s.io/v1/resourceclaims";

/// The `apiVersion` of what is at a path.
pub(crate) fn version_of(path: &str) -> &str {
    let version = path.strip_prefix("/apis/").or_else(|| path.strip_prefix("/api/")).unwrap();
    version.rsplit_once('/').unwrap().0
}

/// Everything of a kind of the core group in a namespace.
pub(crate) fn all_in(namespace: &str, plural: &str) -> String {
    format!("{NAMESPACES}/{namespace}/{plural}")
}

/// Where an object is created.
pub(crate) fn all_of(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let plural = if kind.ends_with('s') { format!("{kind}es") } else { format!("{kind}s") };
    match (object["metadata"]["namespace"].as_str(), object["apiVersion"].as_str().unwrap()) {
        (Some(namespace), "v1") => all_in(namespace, &plural),
        (Some(namespace), group) => format!("/apis/{group}/namespaces/{namespace}/{plural}"),
        (None, "v1") => format!("/api/v1/{plural}"),
        (None, group) => format!("/apis/{group}/{plural}"),
    }
}

/// Where it is.
pub(crate) fn path(object: &Value) -> String {
    format!("{}/{}", all_of(object), object["metadata"]["name"].as_str().unwrap())
}

pub(crate) struct Api {
    plane: ControlPlane,
}

// === impl Api ===

impl Api {
    pub(crate) async fn start() -> Self {
        let settings = Settings { components: Components::Scheduling, ..Settings::default() };
        Self { plane: ControlPlane::start(&settings).await.unwrap() }
    }

    pub(crate) async fn create_all(&self, path: &str, objects: Vec<Value>) {
        let creations = stream::iter(objects).map(async |object| self.create(path, &object).await.ok_or(()));
        creations.buffer_unordered(CONCURRENCY).try_collect::<Vec<_>>().await.expect("objects are accepted");
    }

    /// Creates objects, each where it belongs; a quota or a limit may refuse some.
    pub(crate) async fn create_each(&self, objects: Vec<Value>) {
        let creations = stream::iter(objects).map(async |it| self.create(&all_of(&it), &it).await.ok_or(()));
        creations.buffer_unordered(CONCURRENCY).try_collect::<Vec<_>>().await.expect("objects are accepted");
    }

    /// None if the API server refuses the object as invalid. What the namespace forbids is not an error.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Option<()> {
        loop {
            match self.send(Request::post(path).header("Content-Type", "application/json"), Some(object)).await {
                Ok(_) => return Some(()),
                Err(kube::Error::Api(status)) if status.code == 422 => return None,
                Err(kube::Error::Api(status)) if is_contention(&status) => {}
                // Of a request that was sent again the first may have been heard.
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => return Some(()),
                Err(kube::Error::Api(status)) if status.code == 403 => return Some(()),
                Err(error) => panic!("{path}: {error}\n{object}"),
            }
        }
    }

    /// Creates an object that may be there already.
    pub(crate) async fn create_once(&self, path: &str, object: &Value) {
        match self.send(Request::post(path).header("Content-Type", "application/json"), Some(object)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{path}: {error}\n{object}"),
        }
    }

    /// Changes an object if it is there: what belongs to a case that was refused may not be.
    pub(crate) async fn merge(&self, path: &str, change: &Value) {
        let request = Request::patch(path).header("Content-Type", "application/merge-patch+json");
        match self.send(request, Some(change)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("{path}: {error}\n{change}"),
        }
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.send(Request::delete(path), None).await.unwrap();
    }

    /// Deletes what is at some paths, if it is there.
    pub(crate) async fn delete_each(&self, paths: impl Iterator<Item = String>) {
        let deletions =
            stream::iter(paths).for_each_concurrent(CONCURRENCY, async |path| self.delete_if_there(&path).await);
        deletions.await;
    }

    /// What belongs to a case that was refused may not be there.
    pub(crate) async fn delete_if_there(&self, path: &str) {
        match self.send(Request::delete(path), None).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send(Request::get(path), None).await.unwrap()
    }

    /// What a list holds, each with its kind.
    pub(crate) async fn items(&self, path: &str, version: &str, kind: &str) -> Vec<Value> {
        let mut list = self.send(Request::get(path), None).await.unwrap();
        let items: Vec<Value> = serde_json::from_value(list["items"].take()).unwrap();
        let named = items.into_iter().map(|mut item| {
            item["kind"] = json!(kind);
            item["apiVersion"] = json!(version);
            item
        });
        named.collect()
    }

    async fn send(&self, request: http::request::Builder, body: Option<&Value>) -> Result<Value, kube::Error> {
        let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        let request = request.body(body).unwrap();
        for _ in 0..RETRIES {
            match self.plane.client.request(request.clone()).await {
                Err(kube::Error::Service(_) | kube::Error::HyperError(_)) => sleep(PAUSE).await,
                answer => return answer,
            }
        }
        self.plane.client.request(request).await
    }
}

/// Several creations at once want to charge the same quota: nothing is decided, and trying again is right.
fn is_contention(status: &kube::core::Status) -> bool {
    status.reason == "Conflict" || (status.code == 403 && status.message.contains("the object has been modified"))
}
