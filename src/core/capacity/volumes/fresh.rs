//! Claims that are made for each replica, and those that their first pod binds: volumes are made for them, or are
//! there and wait (`FindMatchingVolume` in `k8s.io/component-helpers` v0.36.3, `checkVolumeProvisions` of the plugin).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Place, Slots,
    resolve::{Refusal, Resolver},
};
use crate::{
    object::{
        PersistentVolume, StorageClass,
        claim::{ClaimSpec, ClaimTemplate},
    },
    quantity::Quantity,
    selector::Selector,
};

/// Most pairs of a waiting volume and a node that are looked at.
const MAX_PAIRS: usize = 2_000_000;

// === impl Resolver ===

impl<'v> Resolver<'v> {
    /// A claim that is made for each replica.
    pub(super) fn fresh(&mut self, template: &ClaimTemplate) -> Result<(), Refusal> {
        let named = template.metadata.annotations.get(crate::object::claim::BETA_CLASS);
        let class = match named.or(template.spec.storage_class_name.as_ref()) {
            Some(name) => self.class(name)?,
            None => self.default_class()?,
        };
        if !class.waits_for_a_pod() || !template.spec.volume_name.is_empty() {
            let name = &class.metadata.name;
            return Err(format!("StorageClass {name} places the volumes of new claims before the scheduler does"));
        }
        self.admit(&template.spec)?;
        let waiting = self.delayed(class, &template.spec, Some(&template.metadata.name))?;
        let made = class.driver();
        let mut drivers: BTreeSet<_> = waiting.iter().map(|volume| driver_of(volume)).chain([made]).collect();
        if drivers.len() > 1 {
            // Until it is bound a claim counts as one of its class, then as one of its volume.
            self.mixed.extend(drivers.iter().map(|driver| (*driver).to_owned()));
        }
        drivers.remove("");
        for driver in drivers {
            *self.needs.claims.own.entry(driver.to_owned()).or_default() += 1;
        }
        Ok(())
    }

    /// New claims that a LimitRange refuses are never made (`PersistentVolumeClaimValidateLimitFunc` of the admission
    /// plugin `limitranger`).
    fn admit(&self, claim: &ClaimSpec) -> Result<(), Refusal> {
        let requests = &claim.resources.requests;
        let ranges = self.view.limit_ranges_in(self.namespace);
        let items = ranges.flat_map(|range| range.spec.limits.iter().map(move |item| (range, item)));
        for (range, item) in items.filter(|(_, item)| item.kind == "PersistentVolumeClaim") {
            let below = |(name, least): (&String, &Quantity)| requests.get(name).is_none_or(|amount| amount < least);
            let above = |(name, most): (&String, &Quantity)| requests.get(name).is_none_or(|amount| amount > most);
            if item.min.iter().any(below) || item.max.iter().any(above) {
                return Err(format!("LimitRange {:?} refuses new claims: too small or too large", range.metadata.name));
            }
        }
        Ok(())
    }

    /// Where a claim can be bound that waits for its pod, and the volumes that are there for it. `each` names the
    /// template, if each replica has one.
    pub(super) fn delayed(
        &mut self,
        class: &'v StorageClass,
        claim: &ClaimSpec,
        each: Option<&str>,
    ) -> Result<Vec<&'v PersistentVolume>, Refusal> {
        let waiting = self.waiting(class, claim, each)?;
        let name = class.metadata.name.clone();
        if class.provisions() {
            self.has_capacity(class, claim)?;
        }
        let everywhere = class.allowed_topologies.is_empty();
        match (class.provisions(), waiting.is_empty()) {
            (true, _) if everywhere => {}
            (true, true) => {
                self.needs.places.push(Place::Topologies { class: name, terms: class.allowed_topologies.clone() });
            }
            (false, true) => self.needs.places.push(Place::Nowhere { class: name }),
            (false, false) => self.slots(class, &waiting)?,
            (true, false) => {
                return Err(format!("StorageClass {name} makes volumes in some places, and others wait for claims"));
            }
        }
        Ok(waiting)
    }

    /// Volumes that are made only where there is space for them are not modelled.
    fn has_capacity(&self, class: &StorageClass, claim: &ClaimSpec) -> Result<(), Refusal> {
        if !claim.resources.requests.contains_key("storage") {
            return Ok(());
        }
        let drivers = self.known("CSIDrivers", |storage| &storage.drivers)?;
        let driver = drivers.get(&class.provisioner);
        if driver.is_some_and(|driver| driver.spec.storage_capacity) {
            return Err(format!("CSIDriver {} makes volumes only where there is space for them", class.provisioner));
        }
        Ok(())
    }

    /// Volumes that are there and may be bound.
    fn waiting(
        &self,
        class: &StorageClass,
        claim: &ClaimSpec,
        each: Option<&str>,
    ) -> Result<Vec<&'v PersistentVolume>, Refusal> {
        let volumes = self.known("PersistentVolumes", |storage| &storage.volumes)?;
        let selector =
            claim.selector.as_ref().map(Selector::try_from).transpose().map_err(|error| error.to_string())?;
        let of_class = || volumes.values().filter(|volume| volume.class() == class.metadata.name);
        let reserved = of_class().find(|volume| {
            let claim = volume.spec.claim_ref.as_ref();
            volume.status.phase == "Available"
                && claim.is_some_and(|it| {
                    it.namespace == self.namespace && each.is_none_or(|each| it.name.starts_with(each))
                })
        });
        if let Some(volume) = reserved {
            return Err(format!("PersistentVolume {} is reserved for a claim", volume.metadata.name));
        }
        Ok(of_class().filter(|volume| suits(volume, claim, selector.as_ref())).collect())
    }

    fn default_class(&self) -> Result<&'v StorageClass, Refusal> {
        let classes = self.known("StorageClasses", |storage| &storage.classes)?;
        let defaults = classes.values().rev().filter(|class| class.is_default());
        let newest = defaults.max_by_key(|class| class.metadata.creation_timestamp);
        newest.ok_or_else(|| "no StorageClass is the default one, so that new claims stay unbound".to_owned())
    }

    /// Waiting volumes by node. Each must be on one node alone, and of one claim alone, for them to be counted.
    fn slots(&mut self, class: &StorageClass, waiting: &[&PersistentVolume]) -> Result<(), Refusal> {
        let name = &class.metadata.name;
        let nodes = &self.view.nodes;
        let many = self.needs.claims.slots.is_some() || waiting.len().saturating_mul(nodes.len()) > MAX_PAIRS;
        if many {
            return Err(format!("which of the volumes of StorageClass {name} the pods get is not settled"));
        }
        let mut free: BTreeMap<_, u32> = BTreeMap::new();
        for volume in waiting {
            let places: Vec<_> = Place::of_affinity(volume).collect();
            let mut on = nodes.values().filter(|node| places.iter().all(|place| place.holds(node)));
            let (Some(node), more) = (on.next(), on.next()) else { continue };
            if more.is_some() {
                return Err(format!("PersistentVolume {} waits on several nodes", volume.metadata.name));
            }
            *free.entry(node.metadata.name.clone()).or_default() += 1;
        }
        self.needs.claims.slots = Some(Slots { class: name.clone(), free });
        Ok(())
    }
}

/// The CSI driver of a volume; empty if it has none.
fn driver_of(volume: &PersistentVolume) -> &str {
    let csi = volume.spec.csi.as_ref().map(|csi| csi.driver.as_str());
    csi.or_else(|| volume.migrated_to()).unwrap_or_default()
}

fn suits(volume: &PersistentVolume, claim: &ClaimSpec, selector: Option<&Selector>) -> bool {
    let storage =
        |amounts: &crate::object::pod::ResourceList| amounts.get("storage").copied().unwrap_or(Quantity::ZERO);
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    let attributes = |class: &Option<String>| class.clone().unwrap_or_default();
    let spec = &volume.spec;
    volume.status.phase == "Available"
        && spec.claim_ref.is_none()
        && volume.metadata.deletion_timestamp.is_none()
        && storage(&spec.capacity) >= storage(&claim.resources.requests)
        && mode(&spec.volume_mode) == mode(&claim.volume_mode)
        && attributes(&spec.volume_attributes_class_name) == attributes(&claim.volume_attributes_class_name)
        && selector.is_none_or(|selector| selector.matches(&volume.metadata.labels))
        && claim.access_modes.iter().all(|mode| spec.access_modes.contains(mode))
}
