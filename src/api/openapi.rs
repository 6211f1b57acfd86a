//! OpenAPI v2 and v3 documents of the metrics APIs.
//!
//! kube-apiserver downloads v3 (`/openapi/v3`, then each group and version) and falls back to v2; without them it
//! logs a failure per minute. Every schema is written out where it is used: a shared definition with a name of
//! Kubernetes would clash with kube-apiserver's own when the documents are merged.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::{
    failure::Failure,
    reply::{Accept, Document, JSON, Reply},
    route::{CustomVersion, GroupVersion},
};

/// The document that lists the others, each with the digest of its content.
pub(crate) fn v3_root(headers: &HeaderMap) -> Result<Reply, Failure> {
    Accept::new(headers).json()?;
    let mut paths = Map::new();
    for of in GroupVersion::ALL {
        let name = format!("apis/{}", of.api_version());
        let digest = Document::new(JSON, &v3_document(of))?.digest;
        paths.insert(name.clone(), json!({ "serverRelativeURL": format!("/openapi/v3/{name}?hash={digest}") }));
    }
    Ok(Document::new(JSON, &json!({ "paths": paths }))?.reply(headers))
}

/// One group and version.
pub(crate) fn v3(of: GroupVersion, headers: &HeaderMap) -> Result<Reply, Failure> {
    Accept::new(headers).json()?;
    Ok(Document::new(JSON, &v3_document(of))?.reply(headers))
}

/// All of them, in the old form.
pub(crate) fn v2(headers: &HeaderMap) -> Result<Reply, Failure> {
    Accept::new(headers).json()?;
    let mut paths = Map::new();
    let mut definitions = Map::new();
    for of in GroupVersion::ALL {
        let list = definition(of);
        let schema = json!({ "$ref": format!("#/definitions/{list}") });
        for route in routes(of) {
            let responses = json!({ "200": { "description": "OK", "schema": schema } });
            let parameters: Vec<_> = route.parameters().map(v2_parameter).collect();
            let operation = operation(of, route, &responses);
            paths.insert(route.path(of), json!({ "get": operation, "parameters": parameters }));
        }
        definitions.insert(list, list_schema(of));
    }
    let body = json!({
        "swagger": "2.0",
        "info": { "title": "Plimsoll", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "definitions": definitions,
    });
    Ok(Document::new(JSON, &body)?.reply(headers))
}

fn v3_document(of: GroupVersion) -> Value {
    let list = definition(of);
    let mut paths = Map::new();
    for route in routes(of) {
        let schema = json!({ "$ref": format!("#/components/schemas/{list}") });
        let responses = json!({ "200": { "description": "OK", "content": { JSON: { "schema": schema } } } });
        let parameters: Vec<_> = route.parameters().map(v3_parameter).collect();
        let operation = operation(of, route, &responses);
        paths.insert(route.path(of), json!({ "get": operation, "parameters": parameters }));
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Plimsoll", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": { list: list_schema(of) } },
    })
}

// === routes ===

/// A documented route of a group and version.
struct Documented {
    id: &'static str,
    /// Below `/apis/{group}/{version}`.
    path: &'static str,
    description: &'static str,
    query: &'static [&'static str],
}

const EXTERNAL: [Documented; 1] = [Documented {
    id: "listNamespacedExternalMetric",
    path: "/namespaces/{namespace}/{metric}",
    description: "An External metric of a namespace",
    query: &["labelSelector"],
}];

const CUSTOM: [Documented; 3] = [
    Documented {
        id: "readNamespacedMetric",
        path: "/namespaces/{namespace}/{resource}/{name}/{metric}",
        description: "A metric of one object, or with the name * of all that a selector matches",
        query: &["labelSelector", "metricLabelSelector"],
    },
    Documented {
        id: "readNamespaceMetric",
        path: "/namespaces/{namespace}/metrics/{metric}",
        description: "A metric of the namespace itself",
        query: &["metricLabelSelector"],
    },
    Documented {
        id: "readMetric",
        path: "/{resource}/{name}/{metric}",
        description: "A metric of an object without a namespace, or with the name * of all that a selector matches",
        query: &["labelSelector", "metricLabelSelector"],
    },
];

fn routes(of: GroupVersion) -> impl Iterator<Item = &'static Documented> {
    let routes: &'static [Documented] = match of {
        GroupVersion::External => &EXTERNAL,
        GroupVersion::Custom(_) => &CUSTOM,
    };
    routes.iter()
}

impl Documented {
    fn path(&self, of: GroupVersion) -> String {
        format!("/apis/{}{}", of.api_version(), self.path)
    }

    /// Names of the parameters, with where they stand.
    fn parameters(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let in_path = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        in_path.map(|name| (name, "path")).chain(self.query.iter().map(|name| (*name, "query")))
    }
}

fn operation(of: GroupVersion, route: &Documented, responses: &Value) -> Value {
    let group = if of == GroupVersion::External { "External" } else { "Custom" };
    json!({
        "operationId": format!("{}{group}{}", route.id, of.version()),
        "description": route.description,
        "produces": [JSON],
        "responses": responses,
    })
}

fn v2_parameter((name, place): (&str, &str)) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "type": "string" })
}

fn v3_parameter((name, place): (&str, &str)) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "schema": { "type": "string" } })
}

// === schemas ===

/// Name of the list's definition, in the style of Go packages.
fn definition(of: GroupVersion) -> String {
    let (package, kind) = match of {
        GroupVersion::External => ("external_metrics", "ExternalMetricValueList"),
        GroupVersion::Custom(_) => ("custom_metrics", "MetricValueList"),
    };
    format!("io.k8s.metrics.pkg.apis.{package}.{}.{kind}", of.version())
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn list_schema(of: GroupVersion) -> Value {
    let kind = if of == GroupVersion::External { "ExternalMetricValueList" } else { "MetricValueList" };
    json!({
        "description": "Metric values at a point in time",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("Group and version"),
            "kind": text("Kind"),
            "metadata": { "type": "object" },
            "items": { "type": "array", "items": item_schema(of) },
        },
        "x-kubernetes-group-version-kind": [{ "group": of.group(), "version": of.version(), "kind": kind }],
    })
}

fn item_schema(of: GroupVersion) -> Value {
    let selector = json!({ "type": "object", "description": "Which series of the metric" });
    let object = json!({ "type": "object", "description": "The object that the metric is about" });
    let mut properties = json!({
        "timestamp": { "type": "string", "format": "date-time", "description": "Sample time" },
        "value": text("Kubernetes quantity"),
    });
    let own = match of {
        GroupVersion::External => json!({
            "metricName": text("Name of the metric"),
            "metricLabels": { "type": "object", "additionalProperties": { "type": "string" } },
        }),
        GroupVersion::Custom(CustomVersion::V1beta1) => json!({
            "describedObject": object, "metricName": text("Name of the metric"), "selector": selector,
        }),
        GroupVersion::Custom(CustomVersion::V1beta2) => json!({
            "describedObject": object,
            "metric": { "type": "object", "properties": { "name": text("Name of the metric"), "selector": selector } },
        }),
    };
    if let (Value::Object(all), Value::Object(own)) = (&mut properties, own) {
        all.extend(own);
    }
    json!({ "type": "object", "properties": properties })
}
