//! Answers without a cluster: a fixed set of metrics, one for each way to be refused.

use jiff::Timestamp;
use plimsoll_core::{
    answer::{Answers, CustomRequest, ExternalValue, ObjectValue, Objects, Reason, Refusal},
    object::{ObjectKey, meta::StringMap},
    quantity::Milli,
    selector::Selector,
};

/// Sample time of everything.
pub(crate) const AT: &str = "2026-11-20T10:00:00.750Z";

/// The fixed set.
#[derive(Debug, Default)]
pub(crate) struct Fixed;

fn refusal(reason: Reason) -> Refusal {
    Refusal { reason, message: format!("because of {}", reason.as_str()) }
}

fn at() -> Timestamp {
    AT.parse().unwrap()
}

/// Every reason, by the name of the metric that is refused with it.
pub(crate) const REASONS: [Reason; 7] = [
    Reason::NotFound,
    Reason::BadRequest,
    Reason::Ambiguous,
    Reason::SourceDown,
    Reason::Stale,
    Reason::NoData,
    Reason::NotReady,
];

impl Answers for Fixed {
    fn external(&self, namespace: &str, metric: &str, selector: &Selector) -> Result<Vec<ExternalValue>, Refusal> {
        if let Some(reason) = REASONS.into_iter().find(|reason| reason.as_str() == metric) {
            return Err(refusal(reason));
        }
        if metric == "nothing" {
            return Ok(Vec::new());
        }
        let labels = [("namespace", namespace), ("metric", metric), ("selector", &selector.to_string())];
        let labels: StringMap = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Ok(vec![ExternalValue { value: Milli(12_000_000), at: at(), labels }])
    }

    fn custom(&self, request: &CustomRequest) -> Result<Vec<ObjectValue>, Refusal> {
        let names: Vec<&str> = match (&request.objects, request.metric.as_str()) {
            (_, "nothing") => vec![],
            (Objects::Named(name), "twins") => vec![name, name],
            (Objects::Named(name), _) => vec![name],
            (Objects::Matching(selector), _) if selector.to_string() == "app=none" => vec![],
            (Objects::Matching(_), _) => vec!["a", "b"],
        };
        let (kind, api_version) = match request.resource.as_str() {
            "pods" => ("Pod", "v1"),
            "nodes" => ("Node", "v1"),
            "namespaces" => ("Namespace", "v1"),
            "ingresses.networking.k8s.io" => ("Ingress", "networking.k8s.io/v1"),
            _ => return Err(refusal(Reason::NotFound)),
        };
        let value = |name: &str| ObjectValue {
            kind: kind.to_owned(),
            api_version: api_version.to_owned(),
            object: ObjectKey::new(&*request.namespace, name),
            value: Milli(500),
            at: at(),
        };
        Ok(names.into_iter().map(value).collect())
    }

    fn external_metrics(&self) -> Vec<String> {
        vec!["inference_queue_length".to_owned(), "plimsoll_desired_replicas".to_owned()]
    }

    fn custom_metrics(&self) -> Vec<String> {
        ["namespaces/quota_left", "pods/gpu_utilization", "pods/inference_queue_length"].map(str::to_owned).to_vec()
    }
}
