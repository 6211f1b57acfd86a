//! Which devices answer which request.
//!
//! Requests that select the same devices share one [`DeviceSet`], whatever their words. Two sets may overlap; then a
//! device that one of them loses may be one that the other loses too.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    expression::{Expression, Subject},
    pool::{self, Placed},
};
use crate::object::device::{
    AllocatedDevice, DeviceClass, DeviceSelector, DeviceToleration, ExactDeviceRequest, ResourceClaimTemplate,
    ResourceSlice,
};

/// Most different signatures that are told apart: each is asked of every device.
const MAX_SIGNATURES: usize = 64;
/// Most devices that are counted.
const MAX_DEVICES: usize = 200_000;

/// What a request asks of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    /// The DeviceClass.
    pub class: String,
    /// Expressions of the request itself; none where one is of a kind that is not known.
    pub selectors: Vec<Option<String>>,
    /// Taints that do not matter.
    pub tolerations: Vec<DeviceToleration>,
}

/// Devices that answer the same signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSet {
    /// For people.
    pub name: String,
    /// The first class by name that selects them.
    pub class: String,
    /// How many there are on each node.
    pub nodes: BTreeMap<String, u32>,
    /// The other sets that have some of the same devices.
    pub overlaps: Vec<usize>,
}

/// All devices and signatures of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The sets; none of them is empty.
    pub sets: Vec<DeviceSet>,
    answers: BTreeMap<Signature, Result<Option<usize>, String>>,
    /// Node and sets of each device, by driver, pool and name.
    devices: HashMap<(String, String, String), (String, Vec<usize>)>,
}

// === impl Signature ===

impl Signature {
    /// Any device of a class.
    #[must_use]
    pub fn of_class(class: &str) -> Self {
        Self { class: class.to_owned(), ..Self::default() }
    }

    /// What a request asks of each of its devices.
    #[must_use]
    pub fn of(request: &ExactDeviceRequest) -> Self {
        let mut tolerations = request.tolerations.clone();
        tolerations.sort_unstable();
        tolerations.dedup();
        Self {
            class: request.device_class_name.clone(),
            selectors: request.selectors.iter().map(text).collect(),
            tolerations,
        }
    }

    fn describe(&self) -> String {
        match self.selectors.first() {
            None => format!("devices of class {}", self.class),
            Some(_) => format!("selected devices of class {}", self.class),
        }
    }
}

fn text(selector: &DeviceSelector) -> Option<String> {
    selector.cel.as_ref().map(|cel| cel.expression.clone())
}

// === impl Selection ===

impl Selection {
    /// Asks every signature of every device: those of the classes, and those of the requests of claim templates.
    pub fn of<'a>(
        classes: &BTreeMap<String, DeviceClass>,
        slices: &BTreeMap<String, ResourceSlice>,
        templates: impl IntoIterator<Item = &'a ResourceClaimTemplate>,
    ) -> Self {
        let requests = templates.into_iter().flat_map(|template| &template.spec.spec.devices.requests);
        let exact = requests.filter_map(|request| request.exactly.as_ref()).map(Signature::of);
        let signatures: BTreeSet<_> = exact.chain(classes.keys().map(|class| Signature::of_class(class))).collect();
        let devices = pool::devices(slices);
        let mut selection = Self::default();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (index, signature) in signatures.into_iter().enumerate() {
            let answer = if index < MAX_SIGNATURES && devices.len() <= MAX_DEVICES {
                answer(&signature, classes, &devices)
            } else {
                Err("the cluster has too many devices, or requests of different kinds, to tell apart".to_owned())
            };
            let answer = answer.map(|found| selection.set(&signature, found, &devices, &mut members));
            selection.answers.insert(signature, answer);
        }
        selection.relate(&members, &devices);
        selection
    }

    /// The set that answers a signature; none if no device does, an error if that cannot be said.
    pub fn find(&self, signature: &Signature) -> Result<Option<usize>, String> {
        self.answers.get(signature).cloned().unwrap_or_else(|| Err("the request is not among those known".to_owned()))
    }

    /// The node of a device, and the sets that it is in.
    #[must_use]
    pub fn device(&self, allocated: &AllocatedDevice) -> Option<(&str, &[usize])> {
        let AllocatedDevice { driver, pool, device, .. } = allocated;
        let (node, sets) = self.devices.get(&(driver.clone(), pool.clone(), device.clone()))?;
        Some((node, sets))
    }

    fn set(
        &mut self,
        signature: &Signature,
        found: Vec<usize>,
        devices: &[Placed<'_>],
        members: &mut Vec<Vec<usize>>,
    ) -> Option<usize> {
        if found.is_empty() {
            return None;
        }
        if let Some(known) = members.iter().position(|known| *known == found) {
            return Some(known);
        }
        let mut set = DeviceSet { name: signature.describe(), class: signature.class.clone(), ..DeviceSet::default() };
        for node in found.iter().filter_map(|index| devices.get(*index)?.node) {
            *set.nodes.entry(node.to_owned()).or_default() += 1;
        }
        self.sets.push(set);
        members.push(found);
        Some(self.sets.len() - 1)
    }

    /// Notes which sets overlap, and which devices are in which.
    fn relate(&mut self, members: &[Vec<usize>], devices: &[Placed<'_>]) {
        let mut sets_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (set, member) in members.iter().enumerate().flat_map(|(set, found)| found.iter().map(move |it| (set, *it)))
        {
            sets_of.entry(member).or_default().push(set);
        }
        let mut overlaps = vec![BTreeSet::new(); members.len()];
        for (member, sets) in sets_of {
            for set in &sets {
                if let Some(overlaps) = overlaps.get_mut(*set) {
                    overlaps.extend(sets.iter().copied().filter(|other| other != set));
                }
            }
            let Some(placed) = devices.get(member) else { continue };
            let key = (placed.driver.to_owned(), placed.pool.to_owned(), placed.device.name.clone());
            self.devices.insert(key, (placed.node.unwrap_or_default().to_owned(), sets));
        }
        for (set, overlaps) in self.sets.iter_mut().zip(overlaps) {
            set.overlaps = overlaps.into_iter().collect();
        }
    }
}

/// The devices that a signature selects, by index.
fn answer(
    signature: &Signature,
    classes: &BTreeMap<String, DeviceClass>,
    devices: &[Placed<'_>],
) -> Result<Vec<usize>, String> {
    let class =
        classes.get(&signature.class).ok_or_else(|| format!("there is no DeviceClass {:?}", signature.class))?;
    let expressions = class.spec.selectors.iter().map(text).chain(signature.selectors.iter().cloned());
    let expressions: Result<Vec<_>, String> = expressions.map(parse).collect();
    let expressions = expressions?;
    let mut found = Vec::new();
    for (index, placed) in devices.iter().enumerate() {
        if selects(&expressions, placed)? {
            understood(placed)?;
            if is_usable(placed, &signature.tolerations) {
                found.push(index);
            }
        }
    }
    Ok(found)
}

fn parse(text: Option<String>) -> Result<Expression, String> {
    let text = text.ok_or("a selector of devices is of a kind that is not understood")?;
    Expression::parse(&text).map_err(|error| format!("the selector of devices {text:?} is {error}"))
}

/// Whether all of them select a device. After the first that does not, the scheduler asks no further.
fn selects(expressions: &[Expression], placed: &Placed<'_>) -> Result<bool, String> {
    let Placed { driver, device, .. } = *placed;
    let of = |what: &str| format!("{what} of device {:?} in pool {:?} of {driver}", device.name, placed.pool);
    let odd = device.attributes.iter().find(|(_, attribute)| pool::said(&attribute.beyond).next().is_some());
    if let (Some((name, _)), false) = (odd, expressions.is_empty()) {
        return Err(format!("{} is not understood", of(&format!("attribute {name:?}"))));
    }
    for expression in expressions {
        let selects = expression.selects(Subject { driver, device });
        if !selects.map_err(|error| format!("a selector {error}: {}", of("asked")))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Partitions, shared devices and devices that need to be made ready are not counted, nor are those of several nodes.
fn understood(placed: &Placed<'_>) -> Result<(), String> {
    let of = format!("device {:?} in pool {:?} of {}", placed.device.name, placed.pool, placed.driver);
    if let Some(field) = pool::said(&placed.device.beyond).next().or(placed.beyond) {
        return Err(format!("{field} of {of} is not understood"));
    }
    if placed.node.is_none() {
        return Err(format!("{of} can be used from several nodes"));
    }
    Ok(())
}

fn is_usable(placed: &Placed<'_>, tolerations: &[DeviceToleration]) -> bool {
    let mut hard =
        placed.device.taints.iter().filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    hard.all(|taint| tolerations.iter().any(|toleration| toleration.tolerates(taint)))
}
