//! From the volumes of a pod template to what they need, as the cluster is.

use std::collections::BTreeSet;

use super::{Attached, Claims, Exclusive, Place, Source, source};
use crate::{
    capacity::{LimitingFactor, Reason},
    cluster::{Storage, View},
    object::{ObjectKey, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, StorageClass, claim::ClaimOfEach},
};

/// What the volumes of a template need.
#[derive(Debug, Default)]
pub(in crate::capacity) struct Needs {
    pub(in crate::capacity) claims: Claims,
    /// Conditions on nodes, all of which must hold.
    pub(in crate::capacity) places: Vec<Place>,
    /// What is not modelled.
    pub(in crate::capacity) unmodelled: Vec<Reason>,
}

/// Why a volume is not modelled.
pub(super) type Refusal = String;

/// Needs in the making.
pub(super) struct Resolver<'v> {
    pub(super) view: &'v View,
    pub(super) namespace: &'v str,
    pub(super) needs: Needs,
    /// Drivers of which one or another may count a claim of each replica; empty for none of them.
    pub(super) mixed: BTreeSet<String>,
}

// === impl Needs ===

impl Needs {
    /// The needs of a pod specification; of a pod that exists, by its name.
    pub(in crate::capacity) fn of(spec: &PodSpec, namespace: &str, pod: Option<&str>, view: &View) -> Self {
        let mut resolver = Resolver { view, namespace, needs: Self::default(), mixed: BTreeSet::new() };
        let mut seen = BTreeSet::new();
        let mut refusals = BTreeSet::new();
        for source in source::of(spec) {
            let outcome = match source {
                Source::Claim(name) if seen.insert(name) => resolver.claim(name),
                Source::Claim(_) => Ok(()),
                Source::OfEach(claim) => resolver.of_each(&claim),
                Source::Ephemeral { volume, template } => match pod {
                    Some(pod) => resolver.claim(&format!("{pod}-{volume}")),
                    None => resolver.fresh(&template),
                },
                Source::Migrated { kind, .. } | Source::Other(kind) => {
                    Err(format!("a {kind} volume may bind pods to some nodes or count against their limits"))
                }
            };
            refusals.extend(outcome.err());
        }
        refusals.extend(resolver.settle().err());
        let reason = |message| Reason::new("volumes", message, LimitingFactor::Volume);
        Self { unmodelled: refusals.into_iter().map(reason).collect(), ..resolver.needs }
    }
}

// === impl Resolver ===

impl<'v> Resolver<'v> {
    /// The objects of a kind, where all of them are known.
    pub(super) fn known<T>(&self, kind: &str, of: impl Fn(&'v Storage) -> &'v Option<T>) -> Result<&'v T, Refusal> {
        let decide = "decide where volumes can be used, and they are not";
        if let Some(why) = self.view.unreadable(&kind.to_ascii_lowercase(), self.namespace) {
            return Err(format!("{kind} {decide} all known: {why}"));
        }
        of(&self.view.storage).as_ref().ok_or_else(|| format!("{kind} {decide} known"))
    }

    /// A claim that exists, or should.
    fn claim(&mut self, name: &str) -> Result<(), Refusal> {
        let key = ObjectKey::new(self.namespace, name);
        let claims = self.known("PersistentVolumeClaims", |storage| &storage.claims)?;
        let claim = claims.get(&key).ok_or_else(|| waits(&key, "is not there"))?;
        if claim.is_for_one_pod() {
            self.needs.claims.exclusive.push(Exclusive { claim: key.clone(), for_one_pod: true });
        }
        if refuses(claim) {
            return Err(waits(&key, "is lost or being deleted"));
        }
        if claim.is_bound() { self.bound(&key, claim) } else { self.unbound(&key, claim) }
    }

    fn bound(&mut self, key: &ObjectKey, claim: &PersistentVolumeClaim) -> Result<(), Refusal> {
        let volume = self.volume(key, claim)?;
        self.needs.places.extend(Place::of_volume(volume));
        if let Some(csi) = &volume.spec.csi {
            self.needs.claims.shared.insert(Attached { driver: csi.driver.clone(), handle: csi.volume_handle.clone() });
        }
        Ok(())
    }

    /// A claim that its first pod binds.
    fn unbound(&mut self, key: &ObjectKey, claim: &PersistentVolumeClaim) -> Result<(), Refusal> {
        let class =
            self.class(claim.class()).map_err(|_| waits(key, "is not bound, and has no class that is known"))?;
        if !class.waits_for_a_pod() || !claim.spec.volume_name.is_empty() {
            return Err(waits(key, "is not bound yet"));
        }
        if let Some(node) = claim.selected_node() {
            return Err(waits(key, &format!("is being provisioned for node {node:?}")));
        }
        self.delayed(class, &claim.spec, None)?;
        if !claim.is_for_one_pod() {
            self.needs.claims.exclusive.push(Exclusive { claim: key.clone(), for_one_pod: false });
        }
        self.needs.claims.shared.insert(Attached { driver: class.driver().to_owned(), handle: handle_of(key) });
        Ok(())
    }

    /// A claim of each pod of a StatefulSet. Those of earlier replicas stay by default, and bind their successors.
    fn of_each(&mut self, claim: &ClaimOfEach) -> Result<(), Refusal> {
        let claims = self.known("PersistentVolumeClaims", |storage| &storage.claims)?;
        let prefix = format!("{}-{}-", claim.template.metadata.name, claim.owner.name());
        let first = ObjectKey::new(self.namespace, prefix.as_str());
        let namespace = self.namespace;
        let alike = claims.range(first..).take_while(|(key, _)| key.namespace == namespace);
        let alike = alike.map_while(|(key, it)| Some((key, it, key.name.strip_prefix(&prefix)?)));
        for (key, it, pod) in alike.filter(|(_, _, pod)| claim.owner.names(pod)) {
            let pod = ObjectKey::new(namespace, format!("{}-{pod}", claim.owner.name()));
            if self.view.pods.get(&pod).is_some_and(Pod::is_bound) {
                continue;
            }
            if refuses(it) || (!it.is_bound() && it.selected_node().is_some()) {
                return Err(waits(key, "is lost, being deleted or being provisioned"));
            }
            if it.is_bound() {
                self.inherited(key, it)?;
            }
        }
        self.fresh(&claim.template)
    }

    /// A claim that a replica will find bound. Which replicas will is not counted: nodes that suit all are promised.
    fn inherited(&mut self, key: &ObjectKey, claim: &PersistentVolumeClaim) -> Result<(), Refusal> {
        let volume = self.volume(key, claim)?;
        let known = &self.needs.places;
        let places = Place::of_volume(volume).filter(|place| !known.iter().any(|it| it.is_as(place)));
        let places: Vec<_> = places.collect();
        self.needs.places.extend(places);
        self.needs.claims.partial = true;
        let driver = volume.spec.csi.as_ref().map_or("", |csi| &csi.driver);
        let class = self.class(claim.class()).map_or("", StorageClass::driver);
        if driver.is_empty() || driver == class {
            return Ok(());
        }
        Err(format!("PersistentVolumeClaim {key} is bound to a volume of another driver than its class makes"))
    }

    fn volume(&self, key: &ObjectKey, claim: &PersistentVolumeClaim) -> Result<&'v PersistentVolume, Refusal> {
        let name = &claim.spec.volume_name;
        let volumes = self.known("PersistentVolumes", |storage| &storage.volumes)?;
        let volume = volumes.get(name).ok_or_else(|| waits(key, "is bound to a volume that is not there"))?;
        if volume.migrated_to().is_some() {
            return Err(format!("PersistentVolume {name} has a source whose place only its CSI driver knows"));
        }
        Ok(volume)
    }

    pub(super) fn class(&self, name: &str) -> Result<&'v StorageClass, Refusal> {
        let classes = self.known("StorageClasses", |storage| &storage.classes)?;
        classes.get(name).ok_or_else(|| format!("StorageClass {name:?} is not there"))
    }

    /// Keeps of what is attached only what some node limits.
    fn settle(&mut self) -> Result<(), Refusal> {
        if self.needs.claims.shared.is_empty() && self.needs.claims.own.is_empty() {
            return Ok(());
        }
        let nodes = self.known("CSINodes", |storage| &storage.nodes)?;
        let drivers = nodes.values().flat_map(|node| &node.spec.drivers);
        let limited: BTreeSet<_> =
            drivers.filter(|driver| driver.allocatable.count.is_some()).map(|driver| driver.name.as_str()).collect();
        let claims = &mut self.needs.claims;
        claims.partial |= self.mixed.iter().any(|driver| limited.contains(driver.as_str()));
        claims.shared.retain(|it| limited.contains(it.driver.as_str()));
        claims.own.retain(|driver, _| limited.contains(driver.as_str()));
        let counts = !claims.shared.is_empty() || !claims.own.is_empty();
        if counts { self.known("VolumeAttachments", |storage| &storage.attachments).map(drop) } else { Ok(()) }
    }
}

fn refuses(claim: &PersistentVolumeClaim) -> bool {
    claim.status.phase == "Lost" || claim.metadata.deletion_timestamp.is_some()
}

fn waits(key: &ObjectKey, why: &str) -> Refusal {
    format!("PersistentVolumeClaim {key} {why}, so that its pods wait")
}

/// What a volume is counted by that is not made yet.
pub(super) fn handle_of(claim: &ObjectKey) -> String {
    format!("claim {claim}")
}
