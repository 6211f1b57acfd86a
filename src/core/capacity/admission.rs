//! What admission makes of a pod template before the scheduler sees its pods, and why it may refuse them.
//!
//! Plugins `namespace/lifecycle`, `runtimeclass`, `priority` and `limitranger` (`plugin/pkg/admission`, v1.36.3), in their
//! order: overhead, node selector and tolerations of the RuntimeClass, then the defaults of each LimitRange, then its
//! limits. Pod-level requests have their defaults before all of them, so what a LimitRange adds does not change those.

use std::borrow::Cow;

use super::{LimitingFactor, Reason, requests};
use crate::{
    cluster::View,
    object::{
        PodSpec,
        admission::{LimitRange, LimitRangeItem, RuntimeClass},
        meta::StringMap,
        pod::{Container, ResourceList},
    },
    quantity::Quantity,
};

/// Amounts by resource name.
type Amounts<'a> = Vec<(&'a str, Quantity)>;

/// A pod specification after admission.
#[derive(Debug)]
pub(super) struct Admitted<'s> {
    pub(super) spec: Cow<'s, PodSpec>,
    /// Why no pod can be created, if none can.
    pub(super) refusal: Option<Reason>,
    /// What is not known about it.
    pub(super) unmodelled: Vec<Reason>,
}

/// What admission makes of pods of a specification in a namespace.
pub(super) fn admit<'s>(spec: &'s PodSpec, namespace: &str, view: &View) -> Admitted<'s> {
    let mut admitted = Admitted { spec: Cow::Borrowed(spec), refusal: None, unmodelled: Vec::new() };
    admitted.take_pod_level_defaults();
    let is_going = view.namespaces.get(namespace).is_some_and(|namespace| namespace.terminating);
    admitted.refuse(is_going.then(|| format!("namespace {namespace:?} is being deleted")));
    admitted.take_runtime_class(view);
    let ranges: Vec<_> = view.limit_ranges_in(namespace).collect();
    for range in &ranges {
        admitted.take_defaults(range);
    }
    for range in &ranges {
        let error = range.spec.limits.iter().find_map(|item| violation(item, &admitted.spec));
        admitted.refuse(error.map(|error| format!("LimitRange {:?}: {error}", range.metadata.name)));
    }
    admitted
}

impl Admitted<'_> {
    fn refuse(&mut self, message: Option<String>) {
        let refusal = message.map(|message| Reason::new("admission", message, LimitingFactor::Quota));
        self.refusal = self.refusal.take().or(refusal);
    }

    fn take_pod_level_defaults(&mut self) {
        let defaults = requests::pod_level_defaults(&self.spec);
        if !defaults.is_empty()
            && let Some(resources) = &mut self.spec.to_mut().resources
        {
            resources.requests.extend(defaults);
        }
    }

    fn take_runtime_class(&mut self, view: &View) {
        let Some(name) = self.spec.runtime_class_name.clone().filter(|name| !name.is_empty()) else { return };
        let Some(class) = view.runtime_classes.get(&name) else {
            let message = format!("RuntimeClass {name:?} is not known: pods that name it may be refused");
            self.unmodelled.push(Reason::new("runtimeClassName", message, LimitingFactor::Unmodelled));
            return;
        };
        let error = merge(self.spec.to_mut(), class);
        self.refuse(error.map(|error| format!("RuntimeClass {name:?}: {error}")));
    }

    fn take_defaults(&mut self, range: &LimitRange) {
        let items = || range.spec.limits.iter().filter(|item| item.kind == "Container");
        if items().all(|item| item.default_limits.is_empty() && item.default_requests.is_empty()) {
            return;
        }
        let defaults = |of: fn(&LimitRangeItem) -> &ResourceList| -> ResourceList {
            items().flat_map(of).map(|(name, amount)| (name.clone(), *amount)).collect()
        };
        let (limits, requests) = (defaults(|item| &item.default_limits), defaults(|item| &item.default_requests));
        let spec = self.spec.to_mut();
        let mut error = None;
        for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
            complete(container, &limits, &requests);
            error = error.or_else(|| above_limit(container));
        }
        self.refuse(error.map(|error| format!("LimitRange {:?}: {error}", range.metadata.name)));
    }
}

fn merge(spec: &mut PodSpec, class: &RuntimeClass) -> Option<String> {
    let overhead = &class.overhead.pod_fixed;
    if !spec.overhead.is_empty() && spec.overhead != *overhead {
        return Some("the pod has another overhead than its class".to_owned());
    }
    spec.overhead.clone_from(overhead);
    if let Some(conflict) = conflict(&spec.node_selector, &class.scheduling.node_selector) {
        return Some(format!("node selector {conflict} contradicts that of the class"));
    }
    spec.node_selector.extend(class.scheduling.node_selector.clone());
    spec.tolerations.extend(class.scheduling.tolerations.iter().cloned());
    None
}

fn conflict<'a>(pod: &'a StringMap, class: &StringMap) -> Option<&'a String> {
    pod.iter().find(|(key, value)| class.get(*key).is_some_and(|other| other != *value)).map(|(key, _)| key)
}

/// Requests default to limits before a LimitRange is looked at (`SetDefaults_Pod`).
fn complete(container: &mut Container, limits: &ResourceList, requests: &ResourceList) {
    let resources = &mut container.resources;
    for (name, amount) in &resources.limits {
        resources.requests.entry(name.clone()).or_insert(*amount);
    }
    for (name, amount) in limits {
        resources.limits.entry(name.clone()).or_insert(*amount);
    }
    for (name, amount) in requests {
        resources.requests.entry(name.clone()).or_insert(*amount);
    }
}

/// A request above its limit is no valid pod.
fn above_limit(container: &Container) -> Option<String> {
    let resources = &container.resources;
    let above =
        |(name, request): &(&String, &Quantity)| resources.limits.get(*name).is_some_and(|limit| *request > limit);
    let (name, request) = resources.requests.iter().find(above)?;
    Some(format!("with its defaults, container {:?} requests {name} {request}, above its limit", container.name))
}

/// `PodValidateLimitFunc`.
fn violation(item: &LimitRangeItem, spec: &PodSpec) -> Option<String> {
    match item.kind.as_str() {
        "Container" => spec.containers.iter().chain(&spec.init_containers).find_map(|container| {
            let resources = &container.resources;
            let limits = of_list(&resources.limits);
            let requests = of_list(&resources.requests);
            let given = limits.iter().filter(|(name, _)| !resources.requests.contains_key(*name));
            let requests: Amounts<'_> = requests.iter().chain(given).copied().collect();
            let error = outside(item, &requests, &limits)?;
            Some(format!("container {:?}: {error}", container.name))
        }),
        "Pod" => {
            // `podRequests` and `podLimits` of the plugin leave overhead out.
            let bare = PodSpec { overhead: ResourceList::new(), ..spec.clone() };
            outside(item, &requests::exact(&bare), &requests::limits(&bare)).map(|error| format!("pod: {error}"))
        }
        _ => None,
    }
}

fn of_list(list: &ResourceList) -> Amounts<'_> {
    list.iter().map(|(name, amount)| (name.as_str(), *amount)).collect()
}

fn outside(item: &LimitRangeItem, requests: &Amounts<'_>, limits: &Amounts<'_>) -> Option<String> {
    let of = |amounts: &Amounts<'_>, name: &str| amounts.iter().find(|(known, _)| *known == name).map(|(_, it)| *it);
    let below = item.min.iter().find_map(|(name, least)| {
        let limit = of(limits, name).is_some_and(|limit| limit < *least);
        match of(requests, name) {
            None => Some(format!("at least {name} {least} must be requested")),
            Some(request) if request < *least || limit => Some(format!("{name} is below the least, {least}")),
            Some(_) => None,
        }
    });
    let above = || {
        item.max.iter().find_map(|(name, most)| {
            let request = of(requests, name).is_some_and(|request| request > *most);
            match of(limits, name) {
                None => Some(format!("a limit of at most {name} {most} must be set")),
                Some(limit) if limit > *most || request => Some(format!("{name} is above the most, {most}")),
                Some(_) => None,
            }
        })
    };
    let steep = || {
        item.max_limit_request_ratio.iter().find_map(|(name, ratio)| {
            let (request, limit) = (of(requests, name), of(limits, name));
            let within = request.zip(limit).is_some_and(|(request, limit)| is_within(request, limit, *ratio));
            (!within)
                .then(|| format!("the limit of {name} may be at most {ratio} times the request, and both must be set"))
        })
    };
    below.or_else(above).or_else(steep)
}

/// Whether `limit / request <= ratio`, in whole numbers. A request of 0 is refused.
fn is_within(request: Quantity, limit: Quantity, ratio: Quantity) -> bool {
    let most = request.nano().checked_mul(ratio.milli().0.into());
    request > Quantity::ZERO && most.is_some_and(|most| limit.nano().saturating_mul(1000) <= most)
}
