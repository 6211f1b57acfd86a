//! Against placing one by one, and what more nodes and more pods may do to the count.

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;
use crate::capacity::Class;

/// (CPU in milli, memory in bytes, GPUs, pods) that a node offers, whether it is tainted, and its pool.
type Offer = (i64, i64, i64, i64, bool, u8);
/// (CPU, memory, GPUs) of a container.
type Want = (i64, i64, i64);

fn offer() -> impl Strategy<Value = Offer> {
    (0_i64..9000, 0_i64..9000, 0_i64..9, 0_i64..7, any::<bool>(), 0_u8..3)
}

fn want() -> impl Strategy<Value = Want> {
    (0_i64..3000, 0_i64..3000, 0_i64..4)
}

fn cluster(offers: &[Offer], pods: &[(usize, Want)]) -> View {
    let nodes = offers.iter().enumerate().map(|(i, (cpu, memory, gpus, pods, tainted, pool))| {
        let taints = if *tainted { json!([{"key": "t", "effect": "NoSchedule"}]) } else { json!([]) };
        from(json!({
            "metadata": {"name": format!("n{i:02}"), "labels": {"pool": pool.to_string()}},
            "spec": {"taints": taints},
            "status": {
                "allocatable": {"cpu": format!("{cpu}m"), "memory": memory, "nvidia.com/gpu": gpus, "pods": pods},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
    });
    let pods = pods.iter().enumerate().map(|(i, (node, want))| {
        from(json!({
            "metadata": {"name": format!("p{i}"), "namespace": "ml"},
            "spec": {"nodeName": format!("n{:02}", node % offers.len().max(1)), "containers": [wanting(*want)]},
        }))
    });
    mk_view(nodes, pods)
}

fn wanting((cpu, memory, gpus): Want) -> Value {
    json!({"resources": {"requests": {"cpu": format!("{cpu}m"), "memory": memory, "nvidia.com/gpu": gpus}}})
}

fn template(want: Want, tolerates: bool, pool: Option<u8>) -> PodTemplate {
    let tolerations = if tolerates { json!([{"operator": "Exists"}]) } else { json!([]) };
    let selector = pool.map_or(json!({}), |pool| json!({"pool": pool.to_string()}));
    from(json!({"spec": {"containers": [wanting(want)], "tolerations": tolerations, "nodeSelector": selector}}))
}

/// Binds pods one after the other to any node with room, by plain arithmetic.
fn one_by_one(offers: &[Offer], pods: &[(usize, Want)], want: Want, tolerates: bool, pool: Option<u8>) -> u32 {
    let mut used: Vec<(i64, i64, i64, i64)> = vec![(0, 0, 0, 0); offers.len()];
    for (node, (cpu, memory, gpus)) in pods {
        let row = &mut used[node % offers.len()];
        *row = (row.0 + cpu, row.1 + memory, row.2 + gpus, row.3 + 1);
    }
    let room = |offer: i64, used: i64, want: i64| want == 0 || want <= offer - used;
    let mut count = 0;
    loop {
        let free = offers.iter().zip(&mut used).find(|(offer, used)| {
            (tolerates || !offer.4)
                && pool.is_none_or(|pool| pool == offer.5)
                && room(offer.0, used.0, want.0)
                && room(offer.1, used.1, want.1)
                && room(offer.2, used.2, want.2)
                && used.3 < offer.3
        });
        let Some((_, row)) = free else { return count };
        *row = (row.0 + want.0, row.1 + want.1, row.2 + want.2, row.3 + 1);
        count += 1;
    }
}

proptest! {
    #[test]
    fn the_count_equals_placing_one_by_one(
        offers in vec(offer(), 1..8), pods in vec((0_usize..8, want()), 0..12), want in want(),
        tolerates: bool, pool in proptest::option::of(0_u8..3),
    ) {
        let view = cluster(&offers, &pods);
        let template = template(want, tolerates, pool);
        let answer = answer(&view, &template);
        prop_assert_eq!(answer.fits.class, Class::Exact);
        prop_assert_eq!(answer.fits.lo, one_by_one(&offers, &pods, want, tolerates, pool));
        prop_assert_eq!(answer.groups.iter().map(|group| group.fits).sum::<u32>(), answer.fits.lo);
        prop_assert_eq!(answer.groups.iter().map(|group| group.nodes as usize).sum::<usize>(), offers.len());
    }

    #[test]
    fn placing_succeeds_exactly_as_often_as_fits_says(
        offers in vec(offer(), 1..6), pods in vec((0_usize..6, want()), 0..8), want in want(),
    ) {
        let view = cluster(&offers, &pods);
        let policy = Policy::default();
        let template = Template::of(&template(want, false, None), "ml", &view);
        let mut inventory = Inventory::of(&view, &policy);
        let mut left = inventory.fits(&template).fits.lo;
        while inventory.place(&template).is_some() {
            left -= 1;
            prop_assert_eq!(inventory.fits(&template).fits.lo, left);
        }
        prop_assert_eq!(left, 0);
    }

    #[test]
    fn whatever_a_pod_that_cannot_be_read_is_the_truth_is_within_what_is_said(
        offers in vec(offer(), 1..6), pods in vec((0_usize..6, want()), 1..8), want in want(),
        odd in 0_usize..8, tolerates: bool,
    ) {
        let known = cluster(&offers, &pods);
        let template = template(want, tolerates, None);
        let truth = answer(&known, &template).fits.lo;
        let key = known.pods.keys().nth(odd % pods.len()).unwrap().clone();
        let at = |node: &str| {
            let pod = json!({"metadata": {"name": *key.name, "namespace": "ml"}, "spec": {"nodeName": node, "containers": 7}});
            let mut view = known.clone();
            view.pods.insert(key.clone(), Pod::salvage(&pod, "odd").unwrap());
            view
        };
        let node = known.pods[&key].node_name.as_str();
        let fits = answer(&at(node), &template).fits;
        prop_assert!(fits.lo <= truth && fits.hi.is_none_or(|hi| truth <= hi), "{truth} {fits:?}");
        let mut without = at(node);
        without.nodes.remove(node);
        prop_assert_eq!(fits.lo, answer(&without, &template).fits.lo);
        // As long as it waits, it may come to any node whose taint it does not have to tolerate.
        let waits = answer(&at(""), &template).fits;
        for (index, _) in offers.iter().enumerate().filter(|(_, offer)| !offer.4) {
            let mut come = known.clone();
            come.pods.get_mut(&key).unwrap().node_name = format!("n{index:02}").as_str().into();
            prop_assert!(waits.lo <= answer(&come, &template).fits.lo);
        }
    }

    #[test]
    fn a_further_node_never_lowers_and_a_further_pod_never_raises_the_count(
        offers in vec(offer(), 1..6), pods in vec((0_usize..6, want()), 0..8), want in want(),
    ) {
        let template = template(want, false, None);
        let count = |offers: &[Offer], pods: &[(usize, Want)]| answer(&cluster(offers, pods), &template).fits.lo;
        let pods: Vec<_> = pods.iter().map(|(node, want)| (node % offers.len(), *want)).collect();
        let all = count(&offers, &pods);
        let fewer_pods = &pods[..pods.len().saturating_sub(1)];
        prop_assert!(count(&offers, fewer_pods) >= all);
        let mut more = offers.clone();
        more.push((9000, 9000, 8, 6, false, 0));
        prop_assert!(count(&more, &pods) >= all);
    }
}
