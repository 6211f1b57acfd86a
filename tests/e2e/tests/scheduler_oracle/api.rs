//! The API server of a control plane that only schedules, asked in JSON as it is.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use plimsoll_e2e::{
    ControlPlane,
    plane::{Components, Settings},
};
use serde_json::{Value, json};

/// Requests under way at once.
const CONCURRENCY: usize = 16;

/// Pods of all namespaces.
pub(crate) const PODS: &str = "/api/v1/pods";
pub(crate) const NODES: &str = "/api/v1/nodes";

/// Pods of a namespace.
pub(crate) fn pods_in(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
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

    /// None if the API server refuses the object as invalid.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Option<()> {
        match self.send(Request::post(path).header("Content-Type", "application/json"), Some(object)).await {
            Ok(_) => Some(()),
            Err(kube::Error::Api(status)) if status.code == 422 => None,
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
        self.plane.client.request(request.body(body).unwrap()).await
    }
}
