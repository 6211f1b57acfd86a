//! What pods want of devices: by claims that are made for each of them, and by extended resources.

use serde_json::Value;

use super::{
    super::{LimitingFactor, Reason, quota, requests},
    IMPLICIT, countable,
};
use crate::{
    cluster::View,
    device::{Selection, Signature},
    object::{ObjectKey, PodSpec, device::DeviceRequest},
};

/// Most devices of a claim (`AllocationResultsMaxSize` in `k8s.io/api` v0.36.3 `resource/v1/types.go`).
const MAX_OF_CLAIM: i64 = 32;

/// What the pods of a template want of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in super::super) struct Wants {
    /// Devices of claims, and of extended resources that are named after a class.
    pub(in super::super) devices: Vec<(Signature, i64)>,
    /// Extended resources that devices may satisfy where allocatable does not.
    pub(in super::super) resources: Vec<String>,
}

/// What [`Wants::of`] finds.
#[derive(Debug, Default)]
pub(in super::super) struct Found {
    pub(in super::super) wants: Wants,
    /// Why the devices cannot be counted.
    pub(in super::super) unmodelled: Vec<Reason>,
    /// Whether devices that cannot be counted may add to what allocatable offers.
    pub(in super::super) open: bool,
}

// === impl Wants ===

impl Wants {
    pub(in super::super) fn of(spec: &PodSpec, namespace: &str, view: &View) -> Found {
        let mut found = Found::default();
        for claim in &spec.resource_claims {
            match of_claim(claim, namespace, view) {
                Ok(devices) => found.wants.devices.extend(devices),
                Err(message) => found.refuse("resourceClaims", message),
            }
        }
        let requests = requests::of_spec(spec);
        let extended: Vec<_> = requests.iter().filter(|(name, _)| quota::is_extended(name)).collect();
        for (name, amount) in &extended {
            found.resource(name, *amount, view);
        }
        found.limit(&extended);
        if let Ok(selection) = countable(view) {
            found.disentangle(selection, view);
        }
        found
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.resources.is_empty()
    }
}

/// Devices that one claim of a pod asks for.
fn of_claim(claim: &Value, namespace: &str, view: &View) -> Result<Vec<(Signature, i64)>, String> {
    let Some(name) = claim.get("resourceClaimTemplateName").and_then(Value::as_str) else {
        return Err("pods use a claim that is not made for each of them".to_owned());
    };
    if let Some(why) = view.unreadable("resourceclaimtemplates", namespace) {
        return Err(format!("resourceclaimtemplates cannot be read: {why}"));
    }
    let templates = view.devices.templates.as_ref();
    let template = templates.and_then(|templates| templates.get(&ObjectKey::new(namespace, name)));
    let claim = &template.ok_or_else(|| format!("there is no ResourceClaimTemplate {name:?}"))?.spec.spec.devices;
    if !claim.constraints.is_empty() {
        return Err(format!("ResourceClaimTemplate {name:?} has constraints between devices"));
    }
    let wants: Result<Vec<_>, _> = claim.requests.iter().map(of_request).collect();
    let wants = wants.map_err(|why| format!("ResourceClaimTemplate {name:?}: {why}"))?;
    if wants.iter().map(|(_, count)| *count).fold(0, i64::saturating_add) > MAX_OF_CLAIM {
        return Err(format!("ResourceClaimTemplate {name:?} asks for more than {MAX_OF_CLAIM} devices"));
    }
    let selection = countable(view)?;
    for (signature, _) in &wants {
        let cannot = |why| format!("devices of class {} cannot be counted: {why}", signature.class);
        selection.find(signature).map_err(cannot)?;
    }
    Ok(wants)
}

fn of_request(request: &DeviceRequest) -> Result<(Signature, i64), String> {
    let name = &request.name;
    let exact = request.exactly.as_ref().ok_or_else(|| format!("request {name:?} has alternatives"))?;
    if let Some(field) = exact.beyond.iter().find(|(_, value)| !matches!(value, Value::Null | Value::Bool(false))) {
        return Err(format!("{} of request {name:?} is not understood", field.0));
    }
    if !matches!(exact.allocation_mode.as_str(), "" | "ExactCount") {
        return Err(format!("request {name:?} asks for {} of the devices", exact.allocation_mode));
    }
    match exact.count {
        0 => Ok((Signature::of(exact), 1)),
        1.. => Ok((Signature::of(exact), exact.count)),
        _ => Err(format!("request {name:?} asks for {} devices", exact.count)),
    }
}

// === impl Found ===

impl Found {
    fn refuse(&mut self, code: &'static str, message: String) {
        self.unmodelled.push(Reason::new(code, message, LimitingFactor::Unmodelled));
    }

    /// An extended resource: devices may satisfy it if a class stands for it.
    fn resource(&mut self, name: &str, amount: i64, view: &View) {
        let implicit = name.starts_with(IMPLICIT);
        // A class that cannot be read may stand for anything.
        self.open |= !implicit && view.unreadable("deviceclasses", "").is_some();
        let Some(class) = view.class_of_resource(name) else {
            if implicit {
                self.refuse("deviceClass", format!("{name} stands for a DeviceClass that is not known"));
            }
            return;
        };
        let signature = Signature::of_class(&class.metadata.name);
        match countable(view).and_then(|selection| selection.find(&signature)) {
            Ok(_) if implicit => self.wants.devices.push((signature, amount)),
            Ok(_) => self.wants.resources.push(name.to_owned()),
            Err(why) if implicit => self.refuse("deviceClass", format!("{name} cannot be counted: {why}")),
            Err(_) => self.open = true,
        }
    }

    /// All extended resources of a pod that come from devices are one claim.
    fn limit(&mut self, extended: &[&(&str, i64)]) {
        let by_device = |name: &str| name.starts_with(IMPLICIT) || self.wants.resources.iter().any(|it| it == name);
        let amounts = extended.iter().filter(|(name, _)| by_device(name)).map(|(_, amount)| *amount);
        if amounts.fold(0, i64::saturating_add) > MAX_OF_CLAIM {
            self.refuse("deviceClass", format!("pods ask for more than {MAX_OF_CLAIM} devices as extended resources"));
        }
    }

    /// What comes from allocatable on some nodes and from devices on others is counted only where nothing else that
    /// the pods want selects the same devices.
    fn disentangle(&mut self, selection: &Selection, view: &View) {
        let find = |signature: &Signature| selection.find(signature).ok().flatten();
        let of_resource = |name: &String| find(&Signature::of_class(&view.class_of_resource(name)?.metadata.name));
        let resources: Vec<_> = self.wants.resources.iter().filter_map(of_resource).collect();
        let claimed: Vec<_> = self.wants.devices.iter().filter_map(|(signature, _)| find(signature)).collect();
        let meet = |a: usize, b: usize| a == b || selection.sets.get(a).is_some_and(|set| set.overlaps.contains(&b));
        let rivals = |(index, set): (usize, &usize)| {
            let others = resources.iter().skip(index + 1).chain(&claimed);
            others.into_iter().any(|other| meet(*set, *other))
        };
        if resources.iter().enumerate().any(rivals) {
            self.refuse("deviceClass", "extended resources and claims of the pods select the same devices".to_owned());
        }
    }
}
