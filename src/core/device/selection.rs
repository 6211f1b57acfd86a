//! Which devices answer which request.
//!
//! Requests that select the same devices share one [`DeviceSet`], whatever their words. Two sets may overlap; then a
//! device that one of them loses may be one that the other loses too.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Signature,
    expression::{Expression, Subject},
    pool::{self, Placed, Pools},
    request::Claim,
    search::Attribute,
    signature::text,
};
use crate::object::{
    device::{AllocatedDevice, DeviceAttribute, DeviceClass, ResourceClaimTemplate, ResourceSlice},
    pod::Toleration,
};

/// Most different signatures that are told apart: each is asked of every device, and has a bit in [`Known::sets`].
const MAX_SIGNATURES: usize = 64;
/// Most devices that are counted.
const MAX_DEVICES: usize = 200_000;
/// Most attributes that constraints compare.
const MAX_ATTRIBUTES: usize = 16;

/// Devices that answer the same signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSet {
    /// For people.
    pub name: String,
    /// The first class by name that selects them.
    pub class: String,
    /// The other sets that have some of the same devices.
    pub overlaps: Vec<usize>,
}

/// The devices of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnNode {
    /// How many of each set there are.
    pub counts: Vec<u32>,
    /// Those that are in some set, in the order in which the scheduler tries them.
    pub devices: Vec<usize>,
    /// A pool that is incomplete or ambiguous there.
    pub unsettled: Option<String>,
}

/// A device that is in some set.
#[derive(Clone, Debug)]
struct Known {
    node: usize,
    /// Bit n: it is in set n.
    sets: u64,
    /// Values of the attributes that constraints compare.
    values: Vec<Attribute>,
}

/// All devices and signatures of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The sets; none of them is empty.
    pub sets: Vec<DeviceSet>,
    answers: BTreeMap<Signature, Result<Option<usize>, String>>,
    devices: Vec<Known>,
    /// By [`key`].
    ids: HashMap<Box<str>, usize>,
    nodes: Vec<OnNode>,
    names: HashMap<String, usize>,
    /// Qualified names of the attributes that constraints compare.
    attributes: Vec<String>,
}

/// What tells a device from all others.
pub(crate) fn key(device: &AllocatedDevice) -> Box<str> {
    key_of(&device.driver, &device.pool, &device.device)
}

/// Neither the first nor the last part has a slash.
fn key_of(driver: &str, pool: &str, device: &str) -> Box<str> {
    format!("{driver}/{pool}/{device}").into()
}

// === impl Selection ===

impl Selection {
    /// Asks every signature of every device: those of the classes, and those of the requests of claim templates.
    pub fn of<'a>(
        classes: &BTreeMap<String, DeviceClass>,
        slices: &BTreeMap<String, ResourceSlice>,
        templates: impl IntoIterator<Item = &'a ResourceClaimTemplate>,
    ) -> Self {
        let claims = templates.into_iter().filter_map(|template| Claim::of(&template.spec.spec.devices).ok());
        let claims: Vec<_> = claims.collect();
        let asked = claims.iter().flat_map(Claim::signatures).cloned();
        let signatures: BTreeSet<_> = asked.chain(classes.keys().map(|class| Signature::of_class(class))).collect();
        let attributes: BTreeSet<_> =
            claims.iter().flat_map(|claim| &claim.constraints).map(|it| it.attribute.clone()).collect();
        let Pools { devices, unsettled } = Pools::of(slices);
        let mut selection =
            Self { attributes: attributes.into_iter().take(MAX_ATTRIBUTES).collect(), ..Self::default() };
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (index, signature) in signatures.into_iter().enumerate() {
            let answer = if index < MAX_SIGNATURES && devices.len() <= MAX_DEVICES {
                answer(&signature, classes, &devices)
            } else {
                Err("the cluster has too many devices, or requests of different kinds, to tell apart".to_owned())
            };
            let answer = answer.map(|found| selection.set(&signature, found, &mut members));
            selection.answers.insert(signature, answer);
        }
        selection.settle(&members, &devices);
        for (node, pool) in unsettled {
            let node = selection.node(node);
            if let Some(node) = selection.nodes.get_mut(node) {
                node.unsettled = Some(pool.to_owned());
            }
        }
        selection
    }

    /// The set that answers a signature; none if no device does, an error if that cannot be said.
    pub fn find(&self, signature: &Signature) -> Result<Option<usize>, String> {
        self.answers.get(signature).cloned().unwrap_or_else(|| Err("the request is not among those known".to_owned()))
    }

    /// Whether two sets have devices in common.
    pub(crate) fn meet(&self, a: usize, b: usize) -> bool {
        a == b || self.sets.get(a).is_some_and(|set| set.overlaps.contains(&b))
    }

    /// The devices of a node.
    #[must_use]
    pub fn on(&self, node: &str) -> Option<&OnNode> {
        self.nodes.get(*self.names.get(node)?)
    }

    /// The index of a node that has devices.
    pub(crate) fn node_index(&self, node: &str) -> Option<usize> {
        self.names.get(node).copied()
    }

    /// Nodes that have devices.
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Devices that are in some set.
    pub(crate) fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// A device by its [`key`].
    pub(crate) fn device_index(&self, key: &str) -> Option<usize> {
        self.ids.get(key).copied()
    }

    /// The node of a device, and the sets that it is in, a bit for each.
    pub(crate) fn place_of(&self, device: usize) -> Option<(usize, u64)> {
        self.devices.get(device).map(|device| (device.node, device.sets))
    }

    /// Where an attribute is among the values of devices.
    pub(crate) fn attribute(&self, name: &str) -> Option<usize> {
        self.attributes.iter().position(|known| known == name)
    }

    /// The value of an attribute.
    pub(crate) fn value(&self, device: usize, attribute: usize) -> Attribute {
        let value = self.devices.get(device).and_then(|device| device.values.get(attribute));
        value.cloned().unwrap_or(Attribute::Absent)
    }

    fn set(&mut self, signature: &Signature, found: Vec<usize>, members: &mut Vec<Vec<usize>>) -> Option<usize> {
        if found.is_empty() {
            return None;
        }
        if let Some(known) = members.iter().position(|known| *known == found) {
            return Some(known);
        }
        self.sets.push(DeviceSet { name: signature.describe(), class: signature.class.clone(), overlaps: Vec::new() });
        members.push(found);
        Some(self.sets.len() - 1)
    }

    fn node(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        self.names.insert(name.to_owned(), self.nodes.len());
        self.nodes.push(OnNode { counts: vec![0; self.sets.len()], ..OnNode::default() });
        self.nodes.len() - 1
    }

    /// Notes where the devices of the sets are, and which sets overlap.
    fn settle(&mut self, members: &[Vec<usize>], devices: &[Placed<'_>]) {
        let mut sets_of: BTreeMap<usize, u64> = BTreeMap::new();
        for (set, member) in members.iter().enumerate().flat_map(|(set, found)| found.iter().map(move |it| (set, *it)))
        {
            *sets_of.entry(member).or_default() |= 1 << set;
        }
        let mut meets = vec![0_u64; members.len()];
        for (member, sets) in sets_of {
            for (set, meets) in meets.iter_mut().enumerate() {
                *meets |= if sets >> set & 1 == 1 { sets } else { 0 };
            }
            let Some(placed) = devices.get(member) else { continue };
            let node = self.node(placed.node.unwrap_or_default());
            let values = self.attributes.iter().map(|name| value(placed, name)).collect();
            self.ids.insert(key_of(placed.driver, placed.pool, &placed.device.name), self.devices.len());
            if let Some(node) = self.nodes.get_mut(node) {
                node.devices.push(self.devices.len());
                for set in bits(sets) {
                    if let Some(count) = node.counts.get_mut(set) {
                        *count += 1;
                    }
                }
            }
            self.devices.push(Known { node, sets, values });
        }
        for (set, (known, meets)) in self.sets.iter_mut().zip(meets).enumerate() {
            known.overlaps = bits(meets).filter(|other| *other != set).collect();
        }
    }
}

/// The bits that are set, as numbers.
pub(crate) fn bits(sets: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |set| sets >> set & 1 == 1)
}

/// `lookupAttribute`: by its full name, or, if it is of the domain of the driver, by its name alone.
fn value(placed: &Placed<'_>, name: &str) -> Attribute {
    let attributes = &placed.device.attributes;
    let short = || name.split_once('/').filter(|(domain, _)| *domain == placed.driver).map(|(_, name)| name);
    match attributes.get(name).or_else(|| attributes.get(short()?)) {
        None => Attribute::Absent,
        Some(DeviceAttribute { string: Some(value), .. }) => Attribute::Is(format!("s{value}")),
        Some(DeviceAttribute { int: Some(value), .. }) => Attribute::Is(format!("i{value}")),
        Some(DeviceAttribute { bool: Some(value), .. }) => Attribute::Is(format!("b{value}")),
        Some(DeviceAttribute { version: Some(value), .. }) => Attribute::Is(format!("v{value}")),
        Some(_) => Attribute::Odd,
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
    if let Some(field) = pool::said(&class.spec.beyond).next() {
        return Err(format!("{field} of DeviceClass {:?} is not understood", signature.class));
    }
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

fn is_usable(placed: &Placed<'_>, tolerations: &[Toleration]) -> bool {
    let mut hard =
        placed.device.taints.iter().filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    hard.all(|taint| tolerations.iter().any(|toleration| toleration.tolerates(taint)))
}
