//! What pods want of devices: by claims that are made for each of them, by claims that they share, and by extended
//! resources.

use serde_json::Value;

use super::{
    super::{LimitingFactor, Reason, quota, requests, volumes::Place},
    IMPLICIT, countable,
};
use crate::{
    cluster::View,
    device::{
        Selection, Signature,
        request::{Claim, MAX_OF_CLAIM, Request},
    },
    object::{ObjectKey, PodSpec, device::DeviceClass},
};

/// Most pods that a claim is reserved for (`ResourceClaimReservedForMaxSize` in `k8s.io/api` v0.36.3
/// `resource/v1/types.go`).
const MAX_USERS: usize = 256;

/// What the pods of a template want of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in super::super) struct Wants {
    /// Devices of claims, and of extended resources that are named after a class.
    pub(in super::super) devices: Vec<(Signature, i64)>,
    /// Extended resources that devices may satisfy where allocatable does not.
    pub(in super::super) resources: Vec<String>,
    /// All of it in place of the above, where numbers alone do not say how many find their devices.
    pub(in super::super) search: Option<Search>,
    /// Claims that all of them share, with how many more pods may.
    pub(in super::super) shared: Vec<(ObjectKey, u32)>,
    /// Extended resources of pods that have claims as well, if devices alone do not satisfy any of them: where none
    /// comes from devices the scheduler fails to bind (`patchPodExtendedResourceClaimStatus` in
    /// `plugins/dynamicresources/extendeddynamicresources.go`, v1.36.3), and tries again there.
    pub(in super::super) beside_claims: Vec<String>,
}

/// What has to be searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in super::super) struct Search {
    /// Claims that are made for each pod, in the order in which they are allocated.
    pub(super) claims: Vec<Claim<Signature>>,
    /// What follows as a claim of its own.
    pub(super) extended: Vec<Extended>,
}

/// An extended resource that devices may satisfy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Extended {
    pub(super) resource: String,
    /// Whether it is named after the class, so that nothing else satisfies it.
    pub(super) implicit: bool,
    pub(super) devices: Signature,
    pub(super) count: i64,
}

/// What [`Wants::of`] finds.
#[derive(Debug, Default)]
pub(in super::super) struct Found {
    pub(in super::super) wants: Wants,
    /// Where claims that all pods share can be used.
    pub(in super::super) places: Vec<Place>,
    /// Why the devices cannot be counted.
    pub(in super::super) unmodelled: Vec<Reason>,
    /// Whether devices that cannot be counted may add to what allocatable offers.
    pub(in super::super) open: bool,
    claims: Vec<Claim<Signature>>,
    extended: Vec<Extended>,
}

// === impl Wants ===

impl Wants {
    pub(in super::super) fn of(spec: &PodSpec, namespace: &str, view: &View) -> Found {
        let mut found = Found::default();
        for claim in &spec.resource_claims {
            let read = match (claim.get("resourceClaimTemplateName"), claim.get("resourceClaimName")) {
                (Some(Value::String(template)), _) => {
                    made(template, namespace, view).map(|claim| found.claims.push(claim))
                }
                (_, Some(Value::String(name))) => found.share(ObjectKey::new(namespace, name.as_str()), view),
                _ => Err("a claim of the pods is of a kind that is not understood".to_owned()),
            };
            if let Err(message) = read {
                found.refuse("resourceClaims", message);
            }
        }
        for (name, amount) in requests::of_spec(spec).into_iter().filter(|(name, _)| quota::is_extended(name)) {
            found.resource(name, amount, view);
        }
        found.limit();
        if !spec.resource_claims.is_empty() {
            found.beside_claims();
        }
        if let Ok(selection) = countable(view) {
            found.settle(selection);
        }
        found
    }

    /// Whether both use one claim.
    pub(in super::super) fn shares_with(&self, other: &Self) -> bool {
        self.shared.iter().any(|(claim, _)| other.shared.iter().any(|(other, _)| other == claim))
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.resources.is_empty() && self.search.is_none()
    }
}

// === impl Search ===

impl Search {
    /// The claims of one pod; `extended` says which resources come from devices.
    pub(super) fn claims(&self, extended: impl Fn(&Extended) -> bool) -> Vec<Claim<Signature>> {
        let requests = self.extended.iter().filter(|it| extended(it)).map(|it| {
            Request::exact(&it.resource, it.devices.clone(), usize::try_from(it.count).unwrap_or(usize::MAX))
        });
        let requests: Vec<_> = requests.collect();
        let last = (!requests.is_empty()).then(|| Claim { requests, constraints: Vec::new() });
        self.claims.iter().cloned().chain(last).collect()
    }
}

/// A claim that is made for each pod.
fn made(name: &str, namespace: &str, view: &View) -> Result<Claim<Signature>, String> {
    if let Some(why) = view.unreadable("resourceclaimtemplates", namespace) {
        return Err(format!("resourceclaimtemplates cannot be read: {why}"));
    }
    let templates = view.devices.templates.as_ref();
    let template = templates.and_then(|templates| templates.get(&ObjectKey::new(namespace, name)));
    let template = template.ok_or_else(|| format!("there is no ResourceClaimTemplate {name:?}"))?;
    let claim =
        Claim::of(&template.spec.spec.devices).map_err(|why| format!("ResourceClaimTemplate {name:?}: {why}"))?;
    let selection = countable(view)?;
    for signature in claim.signatures() {
        let cannot = |why| format!("devices of class {} cannot be counted: {why}", signature.class);
        selection.find(signature).map_err(cannot)?;
    }
    let unknown = claim.constraints.iter().find(|it| selection.attribute(&it.attribute).is_none());
    match unknown {
        Some(_) => Err("constraints of claims compare too many different attributes".to_owned()),
        None => Ok(claim),
    }
}

// === impl Found ===

impl Found {
    fn refuse(&mut self, code: &'static str, message: String) {
        self.unmodelled.push(Reason::new(code, message, LimitingFactor::Unmodelled));
    }

    /// A claim that exists and that all pods use: once it is allocated, it says on which nodes.
    fn share(&mut self, key: ObjectKey, view: &View) -> Result<(), String> {
        countable(view)?;
        let claim = view.devices.claims.as_ref().and_then(|claims| claims.get(&key));
        let claim = claim.ok_or_else(|| format!("there is no ResourceClaim {key}"))?;
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("ResourceClaim {key} is being deleted"));
        }
        let Some(allocation) = &claim.status.allocation else {
            return Err(format!("ResourceClaim {key} is allocated where its first pod goes"));
        };
        // `PostFilter` of the plugin: where a pod finds no node, it is given back.
        if claim.status.reserved_for.is_empty() {
            return Err(format!("ResourceClaim {key} is used by nobody, so that it may be allocated anew"));
        }
        if allocation.devices.results.iter().any(|device| !device.binding_conditions.is_empty()) {
            return Err(format!("ResourceClaim {key} has devices that must be made ready first"));
        }
        if let Some(nodes) = &allocation.node_selector {
            self.places.push(Place::Claim { claim: key.to_string(), terms: nodes.node_selector_terms.clone() });
        }
        let left = MAX_USERS.saturating_sub(claim.status.reserved_for.len());
        self.wants.shared.push((key, u32::try_from(left).unwrap_or(u32::MAX)));
        Ok(())
    }

    /// An extended resource: devices may satisfy it if a class stands for it.
    fn resource(&mut self, name: &str, count: i64, view: &View) {
        let implicit = name.starts_with(IMPLICIT);
        // A class that cannot be read may stand for anything.
        self.open |= !implicit && view.unreadable("deviceclasses", "").is_some();
        let Some(class) = view.class_of_resource(name) else {
            if implicit {
                self.refuse("deviceClass", format!("{name} stands for a DeviceClass that is not known"));
            }
            return;
        };
        if implicit && let Some(rival) = rival(class, view) {
            let message = format!("{name} may mean nothing: DeviceClass {rival} has the same extended resource");
            self.refuse("deviceClass", message);
            return;
        }
        let devices = Signature::of_class(&class.metadata.name);
        match countable(view).and_then(|selection| selection.find(&devices)) {
            Ok(_) => self.extended.push(Extended { resource: name.to_owned(), implicit, devices, count }),
            Err(why) if implicit => self.refuse("deviceClass", format!("{name} cannot be counted: {why}")),
            Err(_) => self.open = true,
        }
    }

    /// All extended resources of a pod that come from devices are one claim.
    fn limit(&mut self) {
        let count = self.extended.iter().map(|it| it.count).fold(0, i64::saturating_add);
        if usize::try_from(count).map_or(true, |count| count > MAX_OF_CLAIM) {
            self.refuse("deviceClass", format!("pods ask for more than {MAX_OF_CLAIM} devices as extended resources"));
        }
    }

    /// Which nodes' allocatable satisfies a resource has to be known where that decides whether pods can be bound.
    fn beside_claims(&mut self) {
        if self.open {
            let message = "pods have claims beside a resource that a DeviceClass stands for, and it cannot be counted";
            self.refuse("deviceClass", message.to_owned());
        }
        if !self.extended.iter().any(|it| it.implicit) {
            self.wants.beside_claims = self.extended.iter().map(|it| it.resource.clone()).collect();
        }
    }

    /// Counts, where that says how many find their devices; else they have to be searched for.
    fn settle(&mut self, selection: &Selection) {
        let sets = Sets { selection, extended: &self.extended };
        if sets.extended_meet() {
            self.refuse("deviceClass", "extended resources of the pods select some of the same devices".to_owned());
            return;
        }
        let counted: Option<Vec<_>> = self.claims.iter().map(Claim::counted).collect();
        let counted = counted.map(|claims| claims.into_iter().flatten().collect::<Vec<_>>());
        if let Some(counted) = counted.filter(|counted| sets.are_apart(counted)) {
            let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            let asked = counted.iter().map(|(devices, count)| ((*devices).clone(), number(*count)));
            let implicit = self.extended.iter().filter(|it| it.implicit).map(|it| (it.devices.clone(), it.count));
            self.wants.devices = asked.chain(implicit).collect();
            let named = self.extended.iter().filter(|it| !it.implicit);
            self.wants.resources = named.map(|it| it.resource.clone()).collect();
        } else {
            let (claims, extended) = (self.claims.clone(), self.extended.clone());
            self.wants.search = Some(Search { claims, extended });
        }
    }
}

/// The sets that what is asked for selects.
struct Sets<'a> {
    selection: &'a Selection,
    extended: &'a [Extended],
}

// === impl Sets ===

impl Sets<'_> {
    fn of(&self, signature: &Signature) -> Option<usize> {
        self.selection.find(signature).ok().flatten()
    }

    fn meet(&self, a: Option<usize>, b: Option<usize>) -> bool {
        a.zip(b).is_some_and(|(a, b)| self.selection.meet(a, b))
    }

    /// Whether extended resources select some of the same devices, and not all: in which order they get them depends on
    /// the containers that ask.
    fn extended_meet(&self) -> bool {
        let sets: Vec<_> = self.extended.iter().map(|it| self.of(&it.devices)).collect();
        let meets = |(index, one): (usize, &Option<usize>)| {
            sets.iter().skip(index + 1).any(|other| one != other && self.meet(*one, *other))
        };
        sets.iter().enumerate().any(meets)
    }

    /// Whether each request takes from a set of its own, or from one that others take from alike. What comes from
    /// allocatable on some nodes and from devices on others must be alone with its set.
    fn are_apart(&self, counted: &[(&Signature, usize)]) -> bool {
        let of_extended = |implicit: bool| {
            self.extended.iter().filter(move |it| it.implicit == implicit).map(|it| self.of(&it.devices))
        };
        let asked: Vec<_> = counted.iter().map(|(devices, _)| self.of(devices)).chain(of_extended(true)).collect();
        let named: Vec<_> = of_extended(false).collect();
        let overlaps = |a: &Option<usize>| asked.iter().any(|b| a != b && self.meet(*a, *b));
        let alone = |(index, a): (usize, &Option<usize>)| {
            !named.iter().skip(index + 1).chain(&asked).any(|b| self.meet(*a, *b))
        };
        !asked.iter().any(overlaps) && named.iter().enumerate().all(alone)
    }
}

/// The class that stands for the extended resource of another one. If that came first, the scheduler has no name at all
/// for the other, not even the implicit one (`updateResourceName2class`, `k8s.io/dynamic-resource-allocation` v0.36.3
/// `deviceclass/extendedresourcecache`); and which came first cannot be seen.
fn rival<'v>(class: &DeviceClass, view: &'v View) -> Option<&'v str> {
    let first = view.class_of_resource(class.spec.extended_resource_name.as_deref()?)?;
    (first.metadata.name != class.metadata.name).then_some(first.metadata.name.as_str())
}
