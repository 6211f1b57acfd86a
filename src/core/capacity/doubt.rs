//! What a template needs to be known of admission, and is not: kinds that are served but cannot be read.

use super::{LimitingFactor, Reason};
use crate::{cluster::View, object::PodSpec};

/// Why pods of a specification cannot be judged although their nodes can.
pub(super) fn of(spec: &PodSpec, namespace: &str, view: &View) -> Vec<Reason> {
    let doubt = |resource: &str, code, factor| {
        let why = view.unreadable(resource, namespace)?;
        Some(Reason::new(code, format!("{resource} in {namespace:?} are not all known: {why}"), factor))
    };
    let class = spec.runtime_class_name.as_deref().is_some_and(|name| !name.is_empty());
    let by_priority = spec.priority_class_name.is_empty() && is_scoped_by_priority(namespace, view);
    let doubts = [
        doubt("resourcequotas", "resourceQuota", LimitingFactor::Quota),
        doubt("limitranges", "limitRange", LimitingFactor::Quota),
        class.then(|| doubt("runtimeclasses", "runtimeClassName", LimitingFactor::Unmodelled)).flatten(),
        by_priority.then(|| doubt("priorityclasses", "priorityClassName", LimitingFactor::Quota)).flatten(),
    ];
    doubts.into_iter().flatten().collect()
}

/// Whether a quota is about some priorities only: then the class that pods get by default decides what it charges.
fn is_scoped_by_priority(namespace: &str, view: &View) -> bool {
    view.resource_quotas_in(namespace).any(|(_, quota)| {
        let selected = quota.spec.scope_selector.iter().flat_map(|selector| &selector.match_expressions);
        let mut scopes = quota.spec.scopes.iter().chain(selected.map(|scope| &scope.scope_name));
        scopes.any(|scope| scope == "PriorityClass")
    })
}
