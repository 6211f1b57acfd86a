//! A workload by kind and name, as kubectl names them, and where it is found among objects.

use anyhow::{anyhow, bail};
use plimsoll_core::object::group;
use serde_json::Value;

use super::objects::{namespace_of, text};

/// A kind of workload that can be named.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WorkloadKind {
    /// Its name.
    pub(super) name: &'static str,
    /// API group.
    pub(super) group: &'static str,
    /// Plural name in paths.
    pub(super) resource: &'static str,
    /// Its other names.
    also: &'static [&'static str],
}

/// The kinds that can be named.
pub(super) const WORKLOADS: [WorkloadKind; 4] = [
    WorkloadKind { name: "Deployment", group: "apps", resource: "deployments", also: &["deployment", "deploy"] },
    WorkloadKind { name: "StatefulSet", group: "apps", resource: "statefulsets", also: &["statefulset", "sts"] },
    WorkloadKind { name: "ReplicaSet", group: "apps", resource: "replicasets", also: &["replicaset", "rs"] },
    WorkloadKind {
        name: group::KIND,
        group: group::API_GROUP,
        resource: "leaderworkersets",
        also: &["leaderworkerset", "lws"],
    },
];

/// A workload by kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    kind: &'static WorkloadKind,
    /// Its name.
    name: String,
}

// === impl WorkloadKind ===

impl WorkloadKind {
    /// Where objects of the kind are listed.
    pub(super) fn path(&self) -> String {
        format!("/apis/{}/v1/{}", self.group, self.resource)
    }
}

// === impl Named ===

impl Named {
    /// Where the API server has it.
    pub(super) fn path(&self, namespace: &str) -> String {
        format!("/apis/{}/v1/namespaces/{namespace}/{}/{}", self.kind.group, self.kind.resource, self.name)
    }

    /// That it is not there, as an error.
    pub(super) fn missing(&self, place: &str) -> anyhow::Error {
        anyhow!("there is no {}/{} in {place}; -n names another namespace", self.kind.resource, self.name)
    }

    /// The one object of that name among documents; without a namespace, the only one in any.
    pub(super) fn find<'d>(
        &self,
        namespace: Option<&str>,
        documents: impl Iterator<Item = &'d Value>,
    ) -> anyhow::Result<Value> {
        let mut found = Vec::new();
        documents.for_each(|document| self.search(document, "", &mut found));
        found.retain(|object| namespace.is_none_or(|namespace| namespace_of(object) == namespace));
        let mut namespaces: Vec<_> = found.iter().map(namespace_of).collect();
        namespaces.sort();
        namespaces.dedup();
        match (found.pop(), namespaces.as_slice()) {
            (Some(object), [_]) => Ok(object),
            (Some(_), several) => {
                bail!(
                    "{}/{} is in several namespaces, so name one with -n: {}",
                    self.kind.resource,
                    self.name,
                    several.join(", ")
                )
            }
            (None, _) => {
                Err(self
                    .missing(&namespace.map_or("the input".to_owned(), |it| format!("namespace {it:?} of the input"))))
            }
        }
    }

    /// Items of typed lists do not say their kind themselves.
    fn search(&self, document: &Value, kind: &str, found: &mut Vec<Value>) {
        let said = text(document, "/kind").unwrap_or_else(|| kind.to_owned());
        match document {
            Value::Array(items) => {
                for item in items {
                    self.search(item, kind, found);
                }
            }
            Value::Object(fields) => match fields.get("items").and_then(Value::as_array) {
                Some(items) => {
                    let kind = said.strip_suffix("List").unwrap_or_default();
                    for item in items {
                        self.search(item, kind, found);
                    }
                }
                None if said == self.kind.name && text(document, "/metadata/name").as_deref() == Some(&self.name) => {
                    let mut object = document.clone();
                    object["kind"] = said.into();
                    object["apiVersion"] = format!("{}/v1", self.kind.group).into();
                    found.push(object);
                }
                None => {}
            },
            _ => {}
        }
    }
}

impl std::str::FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = "write KIND/NAME, e.g. deployment/chat";
        let (given, name) = text.split_once('/').ok_or_else(|| anyhow!("{form}"))?;
        let lower = given.to_ascii_lowercase();
        // As kubectl, with or without version and group: deployments.apps, deployment.v1.apps.
        let short = lower.split('.').next().unwrap_or_default();
        let kind = WORKLOADS.iter().find(|kind| kind.resource == short || kind.also.contains(&short)).ok_or_else(|| {
            anyhow!(
                "{given:?} is not known here: give a deployment, a statefulset, a replicaset, a leaderworkerset, or --for \
                 with a file"
            )
        })?;
        let plain = !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.'));
        if plain { Ok(Self { kind, name: name.to_owned() }) } else { bail!("{name:?} is no name: {form}") }
    }
}
