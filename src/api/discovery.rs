//! What is served: classic discovery and the aggregated form (`apidiscovery.k8s.io` v2 and v2beta1).
//!
//! Advisory and cheap: from memory, in a stable order, never empty (an empty list makes kubectl and helm print a
//! warning with every command). A metric that is not listed can still be asked for.

use http::HeaderMap;
use plimsoll_core::answer::Answers;
use serde_json::{Value, json};

use super::{
    failure::Failure,
    reply::{Accept, Document, JSON, Reply},
    route::{CUSTOM, CustomVersion, EXTERNAL, GroupVersion},
};

/// Aggregated discovery, as kube-apiserver asks for it (`k8s.io/kube-aggregator` v0.36.3
/// `pkg/apiserver/handler_discovery.go`). The reply's type must be equal to the letter.
const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// Resources whose objects have no namespace.
const CLUSTER_SCOPED: [&str; 3] = ["nodes", "namespaces", "persistentvolumes"];

/// A metric in discovery: `resource` or `resource/subresource`.
struct Listed {
    name: String,
    namespaced: bool,
    kind: &'static str,
    verb: &'static str,
}

/// `/apis`.
pub(crate) fn groups<A: Answers>(answers: &A, headers: &HeaderMap) -> Result<Reply, Failure> {
    // In this order a client without preference gets the last, plain JSON.
    let chosen = Accept::new(headers).choose(&[V2BETA1, V2, JSON]).ok_or_else(|| Failure::not_acceptable(JSON))?;
    let body = match chosen {
        V2 => aggregated(answers, "apidiscovery.k8s.io/v2"),
        V2BETA1 => aggregated(answers, "apidiscovery.k8s.io/v2beta1"),
        _ => json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [api_group(CUSTOM), api_group(EXTERNAL)] }),
    };
    Ok(Document::new(chosen, &body)?.reply(headers))
}

/// `/apis/{group}`.
pub(crate) fn group(name: &str, headers: &HeaderMap) -> Result<Reply, Failure> {
    Accept::new(headers).json()?;
    let mut body = api_group(name);
    body["kind"] = json!("APIGroup");
    body["apiVersion"] = json!("v1");
    Ok(Document::new(JSON, &body)?.reply(headers))
}

/// `/apis/{group}/{version}`: what kube-apiserver probes to call the API available.
pub(crate) fn resources<A: Answers>(of: GroupVersion, answers: &A, headers: &HeaderMap) -> Result<Reply, Failure> {
    Accept::new(headers).json()?;
    let resource = |listed: Listed| {
        json!({
            "name": listed.name,
            "singularName": "",
            "namespaced": listed.namespaced,
            "kind": listed.kind,
            "verbs": [listed.verb],
        })
    };
    let resources: Vec<_> = list(of, answers).into_iter().map(resource).collect();
    let body = json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": of.api_version(),
        "resources": resources,
    });
    Ok(Document::new(JSON, &body)?.reply(headers))
}

fn versions(group: &str) -> impl Iterator<Item = GroupVersion> {
    GroupVersion::ALL.into_iter().filter(move |known| known.group() == group)
}

fn api_group(name: &str) -> Value {
    let all: Vec<_> = versions(name)
        .map(|known| json!({ "groupVersion": known.api_version(), "version": known.version() }))
        .collect();
    let preferred = all.first().cloned();
    json!({ "name": name, "versions": all, "preferredVersion": preferred })
}

fn list<A: Answers>(of: GroupVersion, answers: &A) -> Vec<Listed> {
    match of {
        GroupVersion::External => {
            let listed = |name| Listed { name, namespaced: true, kind: "ExternalMetricValueList", verb: "get" };
            answers.external_metrics().into_iter().map(listed).collect()
        }
        GroupVersion::Custom(CustomVersion::V1beta1 | CustomVersion::V1beta2) => {
            let listed = |name: String| {
                let resource = name.split('/').next().unwrap_or_default();
                let namespaced = !CLUSTER_SCOPED.contains(&resource);
                Listed { name, namespaced, kind: "MetricValueList", verb: "get" }
            };
            answers.custom_metrics().into_iter().map(listed).collect()
        }
    }
}

// === aggregated ===

fn aggregated<A: Answers>(answers: &A, api_version: &str) -> Value {
    let version = |known: GroupVersion| {
        json!({
            "version": known.version(),
            "resources": tree(list(known, answers)),
            "freshness": "Current",
        })
    };
    let group = |name: &'static str| {
        json!({
            "metadata": { "name": name, "creationTimestamp": null },
            "versions": versions(name).map(version).collect::<Vec<_>>(),
        })
    };
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": api_version,
        "metadata": {},
        "items": [group(CUSTOM), group(EXTERNAL)],
    })
}

/// Subresources under their resource. A resource that exists only as a parent has an empty response kind, as in
/// `k8s.io/apiserver` v0.36.3 `pkg/endpoints/installer.go` `ConvertGroupVersionIntoToDiscovery`.
fn tree(list: Vec<Listed>) -> Vec<Value> {
    let nobody = json!({ "group": "", "version": "", "kind": "" });
    let mut resources: Vec<(String, Value)> = Vec::new();
    for listed in list {
        let (resource, subresource) =
            listed.name.split_once('/').map_or((&*listed.name, None), |(parent, name)| (parent, Some(name)));
        let response = json!({ "group": "", "version": "", "kind": listed.kind });
        let scope = if listed.namespaced { "Namespaced" } else { "Cluster" };
        let index = resources.iter().position(|(name, _)| name == resource).unwrap_or_else(|| {
            let kind = if subresource.is_some() { &nobody } else { &response };
            resources.push((
                resource.to_owned(),
                json!({ "resource": resource, "responseKind": kind, "scope": scope, "singularResource": "", "verbs": [] }),
            ));
            resources.len() - 1
        });
        let Some((_, parent)) = resources.get_mut(index) else { continue };
        match subresource {
            None => parent["verbs"] = json!([listed.verb]),
            Some(name) => {
                let child = json!({ "subresource": name, "responseKind": response, "verbs": [listed.verb] });
                match parent.get_mut("subresources").and_then(Value::as_array_mut) {
                    Some(children) => children.push(child),
                    None => parent["subresources"] = json!([child]),
                }
            }
        }
    }
    resources.into_iter().map(|(_, value)| value).collect()
}
