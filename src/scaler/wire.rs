//! From and to messages.

use std::sync::Arc;

use plimsoll_core::{
    answer::{Reason, Refusal},
    object::ObjectKey,
    quantity::Milli,
    trigger::{Problem, Trigger},
};
use tonic::{Status, metadata::MetadataValue};

/// The messages and the service, made from `proto/externalscaler.proto`.
#[allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated")]
pub mod proto {
    tonic::include_proto!("externalscaler");
}

use proto::{GetMetricSpecResponse, GetMetricsResponse, MetricSpec, MetricValue, ScaledObjectRef};

/// Longest text of an error: it travels in a header.
const MAX_TEXT: usize = 1_000;

/// A question, understood.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The ScaledObject or ScaledJob.
    pub(super) object: ObjectKey,
    /// Its trigger.
    pub(super) trigger: Arc<Trigger>,
}

impl Asked {
    pub(super) fn of(reference: ScaledObjectRef) -> Result<Self, Status> {
        let ScaledObjectRef { name, namespace, scaler_metadata } = reference;
        let metadata = scaler_metadata.into_iter().collect();
        let trigger = Trigger::parse(&metadata).map_err(|problems| invalid(&namespace, &name, &problems))?;
        Ok(Self { object: ObjectKey::new(namespace, name), trigger: Arc::new(trigger) })
    }
}

/// Everything that is wrong, in one text.
fn invalid(namespace: &str, name: &str, problems: &[Problem]) -> Status {
    let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let text = format!(
        "trigger metadata of {namespace}/{name}: {}; `plimsoll check -f` finds this before it is applied",
        all.join("; ")
    );
    Status::invalid_argument(cut(&text))
}

/// A refusal as KEDA logs it, with the reason for machines beside it.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let text = cut(&refusal.message);
    let mut status = match refusal.reason {
        Reason::NotFound => Status::not_found(text),
        Reason::BadRequest => Status::invalid_argument(text),
        Reason::Ambiguous => Status::failed_precondition(text),
        Reason::SourceDown | Reason::Stale | Reason::NoData | Reason::NotReady => Status::unavailable(text),
    };
    status.metadata_mut().insert("plimsoll-reason", MetadataValue::from_static(refusal.reason.as_str()));
    status
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// The one metric of a trigger: nothing but a function of its metadata.
pub(super) fn spec(trigger: &Trigger) -> GetMetricSpecResponse {
    let target = trigger.target();
    let spec = MetricSpec {
        metric_name: trigger.metric_name.clone(),
        // Never 0, which KEDA would divide by.
        target_size: (target.0 / 1000).max(1),
        target_size_float: target.0 as f64 / 1000.0,
    };
    GetMetricSpecResponse { metric_specs: vec![spec] }
}

/// One value, under the name that was asked for. The whole number is rounded down: a cap must not grow.
pub(super) fn value(name: String, value: Milli) -> GetMetricsResponse {
    let value = value.servable();
    let value =
        MetricValue { metric_name: name, metric_value: value.0 / 1000, metric_value_float: value.0 as f64 / 1000.0 };
    GetMetricsResponse { metric_values: vec![value] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Asked, Status> {
        let scaler_metadata = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Asked::of(ScaledObjectRef { name: "chat".to_owned(), namespace: "ml".to_owned(), scaler_metadata })
    }

    #[test]
    fn both_forms_of_a_target_are_filled_and_neither_is_zero() {
        let trigger = asked(&[("signal", "queueLength"), ("threshold", "0.5")]).unwrap().trigger;
        let spec = &spec(&trigger).metric_specs[0];
        assert_eq!((spec.target_size, spec.target_size_float), (1, 0.5));
    }

    #[test]
    fn both_forms_of_a_value_are_filled_and_the_whole_one_does_not_grow() {
        let response = value("x".to_owned(), Milli(79_999));
        let one = &response.metric_values[0];
        assert_eq!((response.metric_values.len(), one.metric_value, one.metric_value_float), (1, 79, 79.999));
    }

    #[test]
    fn bad_metadata_are_an_invalid_argument_that_names_the_object_and_the_key() {
        let status = asked(&[("signal", "queueLength"), ("treshold", "1")]).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        for part in ["ml/chat", "treshold: unknown key, did you mean \"threshold\"?", "plimsoll check"] {
            assert!(status.message().contains(part), "{status:?}");
        }
    }
}
