//! Volumes against a scheduler that tries every order of choices. The reference shares no code with the model: it
//! reads the generated structures and places one pod at a time on every node that its filters pass.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::mk_storage;
use crate::{
    capacity::{
        Class,
        tests::{answer, from, mk_template, mk_view},
    },
    cluster::View,
    object::PodTemplate,
};

#[derive(Clone, Debug)]
struct Machine {
    gpus: u32,
    zone: Option<u8>,
    limit: Option<u32>,
    /// Local volumes that wait.
    waiting: u32,
    /// Volumes of pods that run here.
    resident: u32,
    /// Volumes that are attached and that no pod here has.
    stray: u32,
    /// Whether a pod here has the shared claim, or the volume of it is still attached.
    has_shared: bool,
    has_attached: bool,
}

#[derive(Clone, Debug)]
struct Shared {
    zone: Option<u8>,
    one_pod: bool,
    attachable: bool,
}

#[derive(Clone, Copy, Debug)]
enum Own {
    None,
    /// Made where the zones allow it.
    Made(Option<u8>),
    Local,
}

#[derive(Clone, Debug)]
struct Wanted {
    shared: Option<Shared>,
    own: Own,
}

// === the same as Kubernetes objects ===

fn view(machines: &[Machine], wanted: &Wanted) -> View {
    let nodes = machines.iter().enumerate().map(|(at, machine)| {
        let mut labels = json!({"host": at.to_string()});
        if let Some(zone) = machine.zone {
            labels["zone"] = json!(zone.to_string());
        }
        from(json!({
            "metadata": {"name": format!("n{at}"), "labels": labels},
            "status": {
                "allocatable": {"nvidia.com/gpu": machine.gpus.to_string(), "cpu": "64", "memory": "64Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
    });
    let pods = machines.iter().enumerate().flat_map(|(at, machine)| {
        let own = (0..machine.resident).map(move |index| format!("r{at}-{index}"));
        let names = own.chain(machine.has_shared.then(|| "shared".to_owned()));
        names.enumerate().map(move |(index, claim)| {
            let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": claim}});
            from(json!({
                "metadata": {"name": format!("p{at}-{index}"), "namespace": "ml"},
                "spec": {"nodeName": format!("n{at}"), "volumes": [volume]},
            }))
        })
    });
    let mut view = mk_view(nodes, pods);
    mk_storage(&mut view, &storage(machines, wanted));
    view
}

fn storage(machines: &[Machine], wanted: &Wanted) -> Value {
    let (mut claims, mut volumes, mut attachments) = (Vec::new(), Vec::new(), Vec::new());
    let attach = |volume: &str, at: usize| {
        let source = json!({"persistentVolumeName": volume});
        let name = format!("{volume}-{at}");
        json!({"metadata": {"name": name}, "spec": {"attacher": "d", "nodeName": format!("n{at}"), "source": source}})
    };
    for (at, machine) in machines.iter().enumerate() {
        for index in 0..machine.resident {
            claims.push(claim(&format!("r{at}-{index}"), "ReadWriteOnce"));
            volumes.push(volume(&format!("v-r{at}-{index}"), None, true));
        }
        for index in 0..machine.stray {
            volumes.push(volume(&format!("v-s{at}-{index}"), None, true));
            attachments.push(attach(&format!("v-s{at}-{index}"), at));
        }
        for index in 0..if matches!(wanted.own, Own::Local) { machine.waiting } else { 0 } {
            let mut local = volume(&format!("l{at}-{index}"), Some(("host", at.to_string())), false);
            local["status"]["phase"] = json!("Available");
            local["spec"]["storageClassName"] = json!("new");
            volumes.push(local);
        }
        if machine.has_attached {
            attachments.push(attach("v-shared", at));
        }
    }
    if let Some(shared) = &wanted.shared {
        let mode = if shared.one_pod { "ReadWriteOncePod" } else { "ReadWriteMany" };
        claims.push(claim("shared", mode));
        volumes.push(volume("v-shared", shared.zone.map(|zone| ("zone", zone.to_string())), shared.attachable));
    }
    let terms = match wanted.own {
        Own::Made(Some(zone)) => json!([{"matchLabelExpressions": [{"key": "zone", "values": [zone.to_string()]}]}]),
        _ => Value::Null,
    };
    let provisioner = if matches!(wanted.own, Own::Local) { "kubernetes.io/no-provisioner" } else { "d" };
    let nodes = machines.iter().enumerate().map(|(at, machine)| {
        let driver = json!({"name": "d", "allocatable": {"count": machine.limit}});
        json!({"metadata": {"name": format!("n{at}")}, "spec": {"drivers": [driver]}})
    });
    json!({
        "claims": claims, "volumes": volumes, "attachments": attachments, "nodes": nodes.collect::<Vec<_>>(),
        "classes": [{
            "metadata": {"name": "new"}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": terms,
        }],
    })
}

fn claim(name: &str, mode: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "ml", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": format!("v-{name}"), "accessModes": [mode]},
    })
}

fn volume(name: &str, place: Option<(&str, String)>, attachable: bool) -> Value {
    let required = place.map(|(key, value)| {
        let expression = json!({"key": key, "operator": "In", "values": [value]});
        json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]})
    });
    let csi = attachable.then(|| json!({"driver": "d", "volumeHandle": name}));
    json!({"metadata": {"name": name}, "spec": {"csi": csi, "nodeAffinity": {"required": required}}})
}

fn pod_template(wanted: &Wanted) -> PodTemplate {
    let mut volumes = Vec::new();
    if wanted.shared.is_some() {
        volumes.push(json!({"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}));
    }
    if !matches!(wanted.own, Own::None) {
        let claim = json!({"spec": {"storageClassName": "new"}});
        volumes.push(json!({"name": "own", "ephemeral": {"volumeClaimTemplate": claim}}));
    }
    mk_template(1, json!({ "volumes": volumes }))
}

// === the reference ===

/// A node as pods come to it: GPUs, volumes of its pods, those that are attached, local volumes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    gpus: u32,
    volumes: BTreeSet<String>,
    waiting: u32,
}

struct Reference<'a> {
    machines: &'a [Machine],
    wanted: &'a Wanted,
    known: BTreeMap<(Vec<Seen>, bool), (u32, u32)>,
}

impl<'a> Reference<'a> {
    fn range(machines: &'a [Machine], wanted: &'a Wanted) -> (u32, u32) {
        let attachable = wanted.shared.as_ref().is_some_and(|shared| shared.attachable);
        let seen = machines.iter().map(|machine| {
            let mut volumes: BTreeSet<_> = (0..machine.resident).map(|index| format!("r{index}")).collect();
            volumes.extend((machine.has_shared && attachable).then(|| "shared".to_owned()));
            Seen { gpus: machine.gpus, volumes, waiting: machine.waiting }
        });
        let used = machines.iter().any(|machine| machine.has_shared);
        let mut reference = Self { machines, wanted, known: BTreeMap::new() };
        reference.explore(&seen.collect::<Vec<_>>(), used, 0)
    }

    fn explore(&mut self, seen: &[Seen], used: bool, placed: u32) -> (u32, u32) {
        if let Some(known) = self.known.get(&(seen.to_vec(), used)) {
            return *known;
        }
        let mut range: Option<(u32, u32)> = None;
        for at in 0..seen.len() {
            let Some(after) = self.place(&seen[at], at, used, placed) else { continue };
            let mut next = seen.to_vec();
            next[at] = after;
            let (least, most) = self.explore(&next, true, placed + 1);
            let (lo, hi) = range.unwrap_or((u32::MAX, 0));
            range = Some((lo.min(least + 1), hi.max(most + 1)));
        }
        let range = range.unwrap_or((0, 0));
        self.known.insert((seen.to_vec(), used), range);
        range
    }

    fn place(&self, seen: &Seen, at: usize, used: bool, placed: u32) -> Option<Seen> {
        let machine = &self.machines[at];
        let mut after = seen.clone();
        after.gpus = seen.gpus.checked_sub(1)?;
        let mut new = BTreeSet::new();
        if let Some(shared) = &self.wanted.shared {
            if (shared.one_pod && used) || shared.zone.is_some_and(|zone| machine.zone != Some(zone)) {
                return None;
            }
            new.extend((shared.attachable && !seen.volumes.contains("shared")).then(|| "shared".to_owned()));
        }
        match self.wanted.own {
            Own::None => {}
            Own::Made(zone) if zone.is_some_and(|zone| machine.zone != Some(zone)) => return None,
            Own::Made(_) => {
                new.insert(format!("new{placed}"));
            }
            Own::Local => after.waiting = seen.waiting.checked_sub(1)?,
        }
        let attachable = self.wanted.shared.as_ref().is_some_and(|shared| shared.attachable);
        let lingers = machine.has_attached && attachable && !seen.volumes.contains("shared");
        let attached = seen.volumes.len() + machine.stray as usize + usize::from(lingers);
        if machine.limit.is_some_and(|limit| !new.is_empty() && attached + new.len() > limit as usize) {
            return None;
        }
        after.volumes.extend(new);
        Some(after)
    }
}

// === what is generated ===

fn a_machine() -> impl Strategy<Value = Machine> {
    let odd = || prop::bool::weighted(0.15);
    let space = (0..4_u32, option::of(0..2_u8), option::weighted(0.6, 0..6_u32), 0..3_u32);
    (space, 0..3_u32, 0..2_u32, odd(), odd()).prop_map(
        |((gpus, zone, limit, waiting), resident, stray, has_shared, has_attached)| Machine {
            gpus,
            zone,
            limit,
            waiting,
            resident,
            stray,
            has_shared,
            has_attached,
        },
    )
}

fn a_wanted() -> impl Strategy<Value = Wanted> {
    let shared = (option::of(0..2_u8), prop::bool::weighted(0.2), any::<bool>())
        .prop_map(|(zone, one_pod, attachable)| Shared { zone, one_pod, attachable });
    let own = prop_oneof![Just(Own::None), option::of(0..2_u8).prop_map(Own::Made), Just(Own::Local)];
    (option::of(shared), own).prop_map(|(shared, own)| Wanted { shared, own })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn volumes_allow_what_a_scheduler_that_tries_everything_reaches(
        machines in vec(a_machine(), 1..4), wanted in a_wanted(),
    ) {
        let mut machines = machines;
        for machine in &mut machines {
            // Without the shared claim nobody can have it.
            machine.has_shared &= wanted.shared.is_some();
            machine.has_attached &= wanted.shared.is_some();
        }
        let fits = answer(&view(&machines, &wanted), &pod_template(&wanted)).fits;
        let (least, most) = Reference::range(&machines, &wanted);
        prop_assert!(fits.class != Class::Unknown);
        prop_assert!(fits.lo <= least && fits.hi.is_some_and(|hi| most <= hi), "{fits:?}, {least}..{most}");
        if fits.class == Class::Exact {
            prop_assert_eq!((least, most), (fits.lo, fits.lo));
        }
    }
}
