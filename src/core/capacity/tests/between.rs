//! Constraints between pods against a scheduler that tries every order of choices.
//!
//! The reference shares no code with the model: it reads the generated structures, knows nothing of closed forms, and
//! places one pod at a time on every node that its filters pass.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::capacity::Class;

/// Which pods a selector selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sel {
    App(u8),
    All,
    Nothing,
}

/// Over which label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Host,
    Zone,
}

#[derive(Clone, Copy, Debug)]
struct Affine {
    key: Key,
    sel: Sel,
    everywhere: bool,
}

#[derive(Clone, Copy, Debug)]
struct Skew {
    key: Key,
    sel: Sel,
    max: i64,
    min_domains: Option<usize>,
    honors_taints: bool,
    ignores_affinity: bool,
}

#[derive(Clone, Debug)]
struct Machine {
    gpus: i64,
    zone: Option<u8>,
    tainted: bool,
    pool: u8,
}

#[derive(Clone, Debug)]
struct Resident {
    node: usize,
    app: u8,
    elsewhere: bool,
    terminating: bool,
    repels: Option<Affine>,
    port: bool,
}

#[derive(Clone, Debug)]
struct Wanted {
    gpus: i64,
    app: u8,
    pool: Option<u8>,
    spread: Vec<Skew>,
    near: Vec<Affine>,
    apart: Vec<Affine>,
    port: bool,
}

// === the same as Kubernetes objects ===

fn selector(sel: Sel) -> Value {
    match sel {
        Sel::App(app) => json!({"matchLabels": {"app": app.to_string()}}),
        Sel::All => json!({}),
        Sel::Nothing => Value::Null,
    }
}

fn key(key: Key) -> &'static str {
    match key {
        Key::Host => "kubernetes.io/hostname",
        Key::Zone => "zone",
    }
}

fn term(term: Affine) -> Value {
    let namespaces = if term.everywhere { json!({}) } else { Value::Null };
    json!({"topologyKey": key(term.key), "labelSelector": selector(term.sel), "namespaceSelector": namespaces})
}

fn required(terms: &[Affine]) -> Value {
    json!({"requiredDuringSchedulingIgnoredDuringExecution": terms.iter().copied().map(term).collect::<Vec<_>>()})
}

fn ports(port: bool) -> Value {
    if port { json!([{"containerPort": 80, "hostPort": 80}]) } else { json!([]) }
}

fn view(machines: &[Machine], residents: &[Resident]) -> View {
    let nodes = machines.iter().enumerate().map(|(at, machine)| {
        let name = format!("n{at}");
        let mut labels = json!({"kubernetes.io/hostname": name, "pool": machine.pool.to_string()});
        if let Some(zone) = machine.zone {
            labels["zone"] = json!(zone.to_string());
        }
        let taints = if machine.tainted { json!([{"key": "t", "effect": "NoSchedule"}]) } else { json!([]) };
        let gpus = machine.gpus.to_string();
        from(json!({
            "metadata": {"name": name, "labels": labels}, "spec": {"taints": taints},
            "status": {
                "allocatable": {"nvidia.com/gpu": gpus, "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
    });
    let pods = residents.iter().enumerate().map(|(at, resident)| {
        let affinity = json!({"podAntiAffinity": required(resident.repels.as_slice())});
        let deleted = resident.terminating.then_some("2026-01-01T00:00:00Z");
        let namespace = if resident.elsewhere { "other" } else { "ml" };
        from(json!({
            "metadata": {
                "name": format!("p{at}"), "namespace": namespace, "labels": {"app": resident.app.to_string()},
                "deletionTimestamp": deleted,
            },
            "spec": {
                "nodeName": format!("n{}", resident.node % machines.len()), "affinity": affinity,
                "containers": [{"name": "c", "ports": ports(resident.port)}],
            },
        }))
    });
    mk_view(nodes, pods)
}

fn pod_template(wanted: &Wanted) -> PodTemplate {
    let spread = wanted.spread.iter().map(|skew| {
        json!({
            "topologyKey": key(skew.key), "maxSkew": skew.max, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector(skew.sel), "minDomains": skew.min_domains,
            "nodeTaintsPolicy": skew.honors_taints.then_some("Honor"),
            "nodeAffinityPolicy": skew.ignores_affinity.then_some("Ignore"),
        })
    });
    let gpus = wanted.gpus.to_string();
    let container =
        json!({"name": "c", "ports": ports(wanted.port), "resources": {"limits": {"nvidia.com/gpu": gpus}}});
    from(json!({
        "metadata": {"labels": {"app": wanted.app.to_string()}},
        "spec": {
            "containers": [container],
            "nodeSelector": wanted.pool.map(|pool| json!({"pool": pool.to_string()})),
            "topologySpreadConstraints": spread.collect::<Vec<_>>(),
            "affinity": {"podAffinity": required(&wanted.near), "podAntiAffinity": required(&wanted.apart)},
        },
    }))
}

// === the reference ===

struct Reference<'a> {
    machines: &'a [Machine],
    residents: &'a [Resident],
    wanted: &'a Wanted,
}

/// A pod on a node.
struct Seen {
    node: usize,
    app: u8,
    elsewhere: bool,
    terminating: bool,
    repels: Vec<Affine>,
}

impl Reference<'_> {
    /// Fewest and most replicas over all orders.
    fn extremes(&self) -> (u32, u32) {
        let mut level: BTreeSet<Vec<i64>> = [vec![0; self.machines.len()]].into();
        let (mut fewest, mut placed) = (None, 0);
        loop {
            let mut next = BTreeSet::new();
            for state in &level {
                let open: Vec<_> = (0..self.machines.len()).filter(|node| self.passes(state, *node)).collect();
                if open.is_empty() {
                    fewest = fewest.or(Some(placed));
                }
                next.extend(open.into_iter().map(|node| {
                    let mut after = state.clone();
                    after[node] += 1;
                    after
                }));
            }
            if next.is_empty() {
                return (fewest.unwrap_or(placed), placed);
            }
            placed += 1;
            level = next;
        }
    }

    fn pods(&self, state: &[i64]) -> Vec<Seen> {
        let residents = self.residents.iter().map(|pod| Seen {
            node: pod.node % self.machines.len(),
            app: pod.app,
            elsewhere: pod.elsewhere,
            terminating: pod.terminating,
            repels: pod.repels.into_iter().collect(),
        });
        let replicas = state.iter().enumerate().flat_map(|(node, count)| (0..*count).map(move |_| node));
        let replicas = replicas.map(|node| Seen {
            node,
            app: self.wanted.app,
            elsewhere: false,
            terminating: false,
            repels: self.wanted.apart.clone(),
        });
        residents.chain(replicas).collect()
    }

    fn label(&self, node: usize, key: Key) -> Option<usize> {
        match key {
            Key::Host => Some(100 + node),
            Key::Zone => self.machines[node].zone.map(usize::from),
        }
    }

    fn passes(&self, state: &[i64], node: usize) -> bool {
        let (machine, wanted) = (&self.machines[node], self.wanted);
        let pods = self.pods(state);
        let port =
            self.residents.iter().any(|pod| pod.port && pod.node % self.machines.len() == node) || state[node] > 0;
        !machine.tainted
            && wanted.pool.is_none_or(|pool| pool == machine.pool)
            && (state[node] + 1) * wanted.gpus <= machine.gpus
            && !(wanted.port && port)
            && wanted.spread.iter().all(|skew| self.spreads(skew, &pods, node))
            && self.is_apart(&pods, node)
            && self.is_near(&pods, node)
    }

    fn spreads(&self, skew: &Skew, pods: &[Seen], node: usize) -> bool {
        let Some(mine) = self.label(node, skew.key) else { return false };
        let mut counts: BTreeMap<usize, i64> = BTreeMap::new();
        for (at, machine) in self.machines.iter().enumerate() {
            let keyed = self.wanted.spread.iter().all(|other| self.label(at, other.key).is_some());
            let selected = skew.ignores_affinity || self.wanted.pool.is_none_or(|pool| pool == machine.pool);
            let tolerated = !skew.honors_taints || !machine.tainted;
            if let (Some(domain), true) = (self.label(at, skew.key), keyed && selected && tolerated) {
                let matching = pods.iter().filter(|pod| {
                    pod.node == at && !pod.elsewhere && !pod.terminating && skew.sel == Sel::App(pod.app)
                });
                *counts.entry(domain).or_default() += i64::try_from(matching.count()).unwrap();
            }
        }
        let few = counts.len() < skew.min_domains.unwrap_or(1);
        let least = if few { 0 } else { counts.values().copied().min().unwrap_or(0) };
        let own = i64::from(skew.sel == Sel::All || skew.sel == Sel::App(self.wanted.app));
        counts.get(&mine).copied().unwrap_or(0) + own - least <= skew.max
    }

    fn is_apart(&self, pods: &[Seen], node: usize) -> bool {
        let together = |key: Key, other: usize| {
            let mine = self.label(node, key);
            mine.is_some() && mine == self.label(other, key)
        };
        let own = self.wanted.apart.iter().all(|term| {
            !pods.iter().any(|pod| together(term.key, pod.node) && selects(*term, pod.app, pod.elsewhere, false))
        });
        own && pods.iter().all(|pod| {
            !pod.repels
                .iter()
                .any(|term| together(term.key, pod.node) && selects(*term, self.wanted.app, false, pod.elsewhere))
        })
    }

    fn is_near(&self, pods: &[Seen], node: usize) -> bool {
        let terms = &self.wanted.near;
        if terms.is_empty() {
            return true;
        }
        if terms.iter().any(|term| self.label(node, term.key).is_none()) {
            return false;
        }
        let matching: Vec<_> =
            pods.iter().filter(|pod| terms.iter().all(|term| selects(*term, pod.app, pod.elsewhere, false))).collect();
        let beside =
            |term: &Affine| matching.iter().any(|pod| self.label(pod.node, term.key) == self.label(node, term.key));
        let anywhere = matching.iter().any(|pod| terms.iter().any(|term| self.label(pod.node, term.key).is_some()));
        let itself = terms.iter().all(|term| selects(*term, self.wanted.app, false, false));
        terms.iter().all(beside) || (!anywhere && itself)
    }
}

/// Whether a term of a pod that is `from_elsewhere` or not selects a pod.
fn selects(term: Affine, app: u8, elsewhere: bool, from_elsewhere: bool) -> bool {
    (term.everywhere || elsewhere == from_elsewhere) && (term.sel == Sel::All || term.sel == Sel::App(app))
}

// === the properties ===

fn sel() -> impl Strategy<Value = Sel> {
    prop_oneof![6 => (0_u8..2).prop_map(Sel::App), 1 => Just(Sel::All), 1 => Just(Sel::Nothing)]
}

fn affine() -> impl Strategy<Value = Affine> {
    let key = prop_oneof![Just(Key::Host), Just(Key::Zone)];
    (key, sel(), any::<bool>()).prop_map(|(key, sel, everywhere)| Affine { key, sel, everywhere })
}

fn skew() -> impl Strategy<Value = Skew> {
    let key = prop_oneof![Just(Key::Host), Just(Key::Zone)];
    (key, sel(), 1_i64..3, option::weighted(0.3, 1_usize..4), any::<bool>(), any::<bool>()).prop_map(
        |(key, sel, max, min_domains, honors_taints, ignores_affinity)| Skew {
            key,
            sel,
            max,
            min_domains,
            honors_taints,
            ignores_affinity,
        },
    )
}

fn machine() -> impl Strategy<Value = Machine> {
    (0_i64..4, option::weighted(0.85, 0_u8..3), prop::bool::weighted(0.15), 0_u8..2)
        .prop_map(|(gpus, zone, tainted, pool)| Machine { gpus, zone, tainted, pool })
}

fn resident() -> impl Strategy<Value = Resident> {
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (0_usize..4, 0_u8..2, flags, option::weighted(0.3, affine())).prop_map(
        |(node, app, (elsewhere, terminating, port), repels)| Resident {
            node,
            app,
            elsewhere,
            terminating,
            repels,
            port,
        },
    )
}

fn wanted() -> impl Strategy<Value = Wanted> {
    (
        1_i64..3,
        0_u8..2,
        option::weighted(0.2, 0_u8..2),
        vec(skew(), 0..3),
        vec(affine(), 0..2),
        vec(affine(), 0..3),
        prop::bool::weighted(0.15),
    )
        .prop_map(|(gpus, app, pool, spread, near, apart, port)| Wanted {
            gpus,
            app,
            pool,
            spread,
            near,
            apart,
            port,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_choices_leaves_what_is_answered(
        machines in vec(machine(), 1..5),
        residents in vec(resident(), 0..5),
        wanted in wanted(),
    ) {
        let (fewest, most) = Reference { machines: &machines, residents: &residents, wanted: &wanted }.extremes();
        let answer = answer(&view(&machines, &residents), &pod_template(&wanted));
        prop_assert_ne!(answer.fits.class, Class::Unknown);
        prop_assert_eq!((answer.fits.lo, answer.fits.hi), (fewest, Some(most)));
        prop_assert_eq!(answer.fits.class == Class::Exact, fewest == most);
    }

    #[test]
    fn placing_one_by_one_places_within_what_is_answered(
        machines in vec(machine(), 1..5),
        residents in vec(resident(), 0..5),
        wanted in wanted(),
    ) {
        let view = view(&machines, &residents);
        let policy = Policy::default();
        let template = Template::of(&pod_template(&wanted), "ml", &view);
        let mut placer = crate::capacity::Placer::new(Inventory::of(&view, &policy));
        let (lo, hi) = { let fits = placer.fits(&template).fits; (fits.lo, fits.hi.unwrap_or(u32::MAX)) };
        let mut placed = 0;
        while placer.place(&template).is_some() {
            placed += 1;
        }
        prop_assert!((lo..=hi).contains(&placed), "{placed} placed, {lo}..{hi} answered");
        prop_assert_eq!(placer.fits(&template).fits.lo, 0);
    }
}
