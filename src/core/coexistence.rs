//! Who answers External metrics: the API `external.metrics.k8s.io` belongs to one server of a cluster, and KEDA wants
//! it too.
//!
//! ```text
//!  owner of the APIService   requests of KEDA's HPAs    External metrics of ours   said to be
//!  ours                      refused, with a cure       served                     standalone
//!  ours, KEDA configured     passed on to KEDA          served                     in front of KEDA
//!  KEDA's                    KEDA's                     not asked for              beside KEDA
//! ```
//!
//! Nothing here ever changes the owner: it is read, told, and left alone.

use serde::Serialize;

use crate::object::{ApiService, ObjectKey};

/// Name of the APIService.
pub const API_SERVICE: &str = "v1beta1.external.metrics.k8s.io";
/// Label in the metric selector of every HPA that KEDA makes (`controllers/keda/hpa.go` v2.21.0); its metrics server
/// answers nothing without it (`pkg/provider/provider.go`).
pub const SCALED_OBJECT_LABEL: &str = "scaledobject.keda.sh/name";
/// What KEDA's manifests and chart are labelled with.
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "keda-operator");

/// Who the API belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "owner", content = "of")]
pub enum Owner {
    /// Our Service.
    Ours,
    /// KEDA's metrics server, behind that Service.
    Keda(ObjectKey),
    /// Somebody else's Service.
    Other(ObjectKey),
    /// kube-apiserver itself, which serves no such metrics: whoever made the APIService named no Service.
    Local,
    /// There is no APIService.
    Nobody,
    /// It may not be read.
    Unknown(String),
}

/// The API as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalApi {
    /// Who it belongs to.
    #[serde(flatten)]
    pub owner: Owner,
    /// Why kube-apiserver does not ask the owner; none while it does.
    pub unavailable: Option<String>,
}

/// How Plimsoll and KEDA share a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Coexistence {
    /// External metrics are ours alone.
    Standalone,
    /// They are KEDA's; ours are Pods metrics and triggers.
    BesideKeda,
    /// They are ours, and what KEDA's HPAs ask is passed on.
    InFrontOfKeda,
    /// They are somebody else's.
    BesideOther,
    /// Nobody is asked for them.
    Unserved,
    /// Nobody knows.
    Unknown,
}

// === impl Owner ===

impl Owner {
    /// A word of a closed set, for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Keda(_) => "keda",
            Self::Other(_) => "other",
            Self::Local => "local",
            Self::Nobody => "nobody",
            Self::Unknown(_) => "unknown",
        }
    }

    /// All such words.
    pub const LABELS: [&'static str; 6] = ["ours", "keda", "other", "local", "nobody", "unknown"];
}

// === impl ExternalApi ===

impl ExternalApi {
    /// What an APIService says, or its absence; `ours` is the Service that leads to us.
    #[must_use]
    pub fn of(found: Option<&ApiService>, ours: &ObjectKey) -> Self {
        let Some(found) = found else { return Self { owner: Owner::Nobody, unavailable: None } };
        let owner = found.spec.service.as_ref().map_or(Owner::Local, |service| {
            let key = ObjectKey::new(&*service.namespace, &*service.name);
            let labels = &found.metadata.labels;
            let part_of_keda = labels.get(PART_OF.0).is_some_and(|part| *part == *PART_OF.1);
            match key {
                key if key == *ours => Owner::Ours,
                key if part_of_keda || service.name.contains("keda") => Owner::Keda(key),
                key => Owner::Other(key),
            }
        });
        let available = found.status.conditions.iter().find(|condition| condition.kind == "Available");
        let unavailable = available.filter(|condition| condition.status != "True").map(|condition| {
            let text = format!("{}: {}", condition.reason, condition.message);
            text.chars().take(500).collect()
        });
        Self { owner, unavailable }
    }

    /// It may not be read, or cannot be for long.
    #[must_use]
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self { owner: Owner::Unknown(reason.into()), unavailable: None }
    }

    /// How the cluster is shared; `passes_on` says whether KEDA's metrics server is configured.
    #[must_use]
    pub const fn coexistence(&self, passes_on: bool) -> Coexistence {
        match self.owner {
            Owner::Ours if passes_on => Coexistence::InFrontOfKeda,
            Owner::Ours => Coexistence::Standalone,
            Owner::Keda(_) => Coexistence::BesideKeda,
            Owner::Other(_) => Coexistence::BesideOther,
            Owner::Local | Owner::Nobody => Coexistence::Unserved,
            Owner::Unknown(_) => Coexistence::Unknown,
        }
    }

    /// Who answers in our place, for a sentence; none where it is us or nobody knows.
    #[must_use]
    pub fn elsewhere(&self) -> Option<String> {
        match &self.owner {
            Owner::Ours | Owner::Unknown(_) => None,
            Owner::Keda(service) => Some(format!("KEDA ({service}) owns the APIService {API_SERVICE}")),
            Owner::Other(service) => Some(format!("{service} owns the APIService {API_SERVICE}")),
            Owner::Local => Some(format!("the APIService {API_SERVICE} names no Service")),
            Owner::Nobody => Some(format!("there is no APIService {API_SERVICE}")),
        }
    }

    /// What it means, in a sentence with a cure where one is needed.
    #[must_use]
    pub fn sentence(&self, passes_on: bool) -> String {
        let owned = match (&self.owner, self.elsewhere()) {
            (Owner::Unknown(reason), _) => {
                return format!("who owns the APIService {API_SERVICE} is not known: {reason}");
            }
            (Owner::Ours, _) if passes_on => {
                "External metrics are served here; what KEDA's HPAs ask is passed on to KEDA".to_owned()
            }
            (_, None) => "External metrics are served here".to_owned(),
            (Owner::Keda(_), Some(elsewhere)) => format!(
                "{elsewhere}, so External metrics are not asked for here; Pods metrics and KEDA's triggers are (plimsoll \
                 migrate makes ScaledObjects of HPAs)"
            ),
            (_, Some(elsewhere)) => format!("{elsewhere}, so External metrics are not asked for here"),
        };
        let useless = passes_on && self.elsewhere().is_some();
        let useless = if useless { "; keda.url has no effect" } else { "" };
        match &self.unavailable {
            None => format!("{owned}{useless}"),
            Some(reason) if passes_on && reason.contains("x509") => format!(
                "{owned}{useless}; kube-apiserver does not ask: {reason}; KEDA's operator may have written its authority \
                 into the APIService: start it with --enable-apiservice-patching=false"
            ),
            Some(reason) => format!("{owned}{useless}; kube-apiserver does not ask: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    fn api(service: &Value, labels: &Value, conditions: &Value) -> ExternalApi {
        let found = json!({
            "metadata": {"name": API_SERVICE, "labels": labels},
            "spec": {"service": service, "groupPriorityMinimum": 100},
            "status": {"conditions": conditions},
        });
        let found: ApiService = serde_json::from_value(found).unwrap();
        ExternalApi::of(Some(&found), &ObjectKey::new("plimsoll-system", "plimsoll"))
    }

    fn owned_by(namespace: &str, name: &str) -> ExternalApi {
        api(&json!({"namespace": namespace, "name": name, "port": 443}), &Value::Null, &Value::Null)
    }

    #[test]
    fn the_owner_is_whom_the_api_service_leads_to() {
        assert_eq!(owned_by("plimsoll-system", "plimsoll").owner, Owner::Ours);
        assert_eq!(owned_by("other", "plimsoll").owner.label(), "other");
        for name in ["keda-metrics-apiserver", "keda-operator-metrics-apiserver"] {
            assert_eq!(owned_by("keda", name).owner, Owner::Keda(ObjectKey::new("keda", name)));
        }
        let labels = json!({"app.kubernetes.io/part-of": "keda-operator"});
        let renamed = api(&json!({"namespace": "scaling", "name": "metrics"}), &labels, &Value::Null);
        assert_eq!(renamed.owner.label(), "keda");
        assert_eq!(api(&Value::Null, &Value::Null, &Value::Null).owner, Owner::Local);
        let ours = ObjectKey::new("plimsoll-system", "plimsoll");
        assert_eq!(ExternalApi::of(None, &ours).owner, Owner::Nobody);
    }

    #[test]
    fn the_three_ways_to_share_a_cluster_are_told_apart() {
        let (ours, kedas) = (owned_by("plimsoll-system", "plimsoll"), owned_by("keda", "keda-metrics-apiserver"));
        assert_eq!(ours.coexistence(false), Coexistence::Standalone);
        assert_eq!(kedas.coexistence(false), Coexistence::BesideKeda);
        assert_eq!(ours.coexistence(true), Coexistence::InFrontOfKeda);
        assert_eq!(owned_by("a", "b").coexistence(true), Coexistence::BesideOther);
        assert_eq!(ExternalApi::unknown("403").coexistence(true), Coexistence::Unknown);
    }

    #[test]
    fn a_sentence_says_what_is_not_served_and_what_helps() {
        let kedas = owned_by("keda", "keda-metrics-apiserver");
        assert!(
            kedas.sentence(false).starts_with("KEDA (keda/keda-metrics-apiserver) owns"),
            "{}",
            kedas.sentence(false)
        );
        assert!(kedas.sentence(false).contains("plimsoll migrate"));
        assert!(kedas.sentence(true).ends_with("keda.url has no effect"), "{}", kedas.sentence(true));
        assert_eq!(ExternalApi::unknown("403").elsewhere(), None);
    }

    #[test]
    fn an_authority_that_somebody_replaced_is_suspected_where_kedas_operator_may_do_so() {
        let service = json!({"namespace": "plimsoll-system", "name": "plimsoll"});
        let message = "failing or missing response: x509: certificate signed by unknown authority";
        let condition = json!({
            "type": "Available", "status": "False", "reason": "FailedDiscoveryCheck", "message": message,
        });
        let ours = api(&service, &Value::Null, &json!([condition]));
        assert_eq!(ours.unavailable.as_deref(), Some(&*format!("FailedDiscoveryCheck: {message}")));
        assert!(ours.sentence(true).contains("--enable-apiservice-patching=false"));
        assert!(!ours.sentence(false).contains("patching") && ours.sentence(false).contains("x509"));
    }

    #[test]
    fn every_owner_has_one_of_the_labels() {
        let all = [Owner::Ours, Owner::Local, Owner::Nobody, Owner::Unknown(String::new())];
        assert!(all.iter().all(|owner| Owner::LABELS.contains(&owner.label())));
    }
}
