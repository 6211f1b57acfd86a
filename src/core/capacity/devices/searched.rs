//! How many replicas find their devices on each node, where the allocator of the scheduler has to be asked.

use std::collections::{BTreeSet, HashMap};

use super::{
    Taken,
    wants::{Extended, Search},
};
use crate::{
    device::{
        OnNode, Selection, Signature,
        request::{Amount, Claim},
        search::{self, Aborted, Candidate},
    },
    object::Node,
};

/// Most nodes that are searched; those whose devices are alike count once.
const MAX_SEARCHES: usize = 4096;

/// What was found for the replicas of a template.
#[derive(Debug, Default)]
pub(in super::super) struct Searched {
    /// By row; where they need no devices, more than any node takes.
    rows: Vec<u32>,
    /// Rows of which nothing can be said, or where the scheduler gives up on the pod.
    aborted: BTreeSet<usize>,
}

/// Devices of a node, as far as they matter, and which extended resources come from them.
type Pattern = (Vec<Candidate>, Vec<bool>, bool);

// === impl Searched ===

impl Searched {
    /// `delegated` says whether an extended resource comes from devices on a row; nothing is free where it is `unsure`.
    pub(in super::super) fn of(
        search: &Search,
        nodes: &[&Node],
        (selection, taken): (&Selection, &Taken),
        delegated: impl Fn(usize, &Extended) -> bool,
        unsure: &BTreeSet<usize>,
    ) -> Self {
        let mut found = Self::default();
        let mut known: HashMap<Pattern, Result<u32, Aborted>> = HashMap::new();
        let none = OnNode::default();
        for (row, node) in nodes.iter().enumerate() {
            let from_devices: Vec<_> = search.extended.iter().map(|it| it.implicit || delegated(row, it)).collect();
            let is_asked = |it: &Extended| {
                let mut resources = search.extended.iter().zip(&from_devices);
                resources.any(|(known, from_devices)| known.resource == it.resource && *from_devices)
            };
            let claims = search.claims(is_asked);
            if claims.iter().all(|claim| claim.requests.is_empty()) {
                found.rows.push(u32::MAX);
                continue;
            }
            if unsure.contains(&row) {
                found.rows.push(0);
                continue;
            }
            let on_node = selection.on(&node.metadata.name).unwrap_or(&none);
            let candidates = candidates(&claims, on_node, selection, taken);
            let pattern = (candidates, from_devices, on_node.unsettled.is_some());
            let count = match known.get(&pattern) {
                Some(count) => *count,
                None if known.len() >= MAX_SEARCHES => Err(Aborted),
                None => {
                    let count = count(&claims, &pattern, selection);
                    known.insert(pattern, count);
                    count
                }
            };
            if count.is_err() {
                found.aborted.insert(row);
            }
            found.rows.push(count.unwrap_or(0));
        }
        found
    }

    /// How many find their devices on a row.
    pub(in super::super) fn count(&self, row: usize) -> u32 {
        self.rows.get(row).copied().unwrap_or(0)
    }

    /// Whether nothing can be said of a row, or the scheduler gives up on the pod there.
    pub(in super::super) fn is_aborted(&self, row: usize) -> bool {
        self.aborted.contains(&row)
    }
}

fn set_of(selection: &Selection, signature: &Signature) -> Option<usize> {
    selection.find(signature).ok().flatten()
}

fn candidates(claims: &[Claim<Signature>], on_node: &OnNode, selection: &Selection, taken: &Taken) -> Vec<Candidate> {
    let sets = claims.iter().flat_map(Claim::signatures).filter_map(|signature| set_of(selection, signature));
    let asked = sets.fold(0_u64, |bits, set| bits | 1 << set);
    let compared: Vec<_> = claims.iter().flat_map(|claim| &claim.constraints).collect();
    let candidate = |device: &usize| {
        let (_, sets) = selection.place_of(*device).filter(|(_, sets)| sets & asked != 0)?;
        let value = |attribute: &String| {
            let attribute = selection.attribute(attribute);
            attribute.map_or(search::Attribute::Odd, |attribute| selection.value(*device, attribute))
        };
        let values = compared.iter().map(|constraint| value(&constraint.attribute)).collect();
        Some(Candidate { sets: sets & asked, taken: taken.is_taken(*device), values })
    };
    on_node.devices.iter().filter_map(candidate).collect()
}

/// All devices of a node cannot be had while they are not settled.
fn count(
    claims: &[Claim<Signature>],
    (devices, _, unsettled): &Pattern,
    selection: &Selection,
) -> Result<u32, Aborted> {
    let choices = || claims.iter().flat_map(|claim| &claim.requests).flat_map(|request| &request.choices);
    if *unsettled && choices().any(|choice| matches!(choice.amount, Amount::All(_))) {
        return Err(Aborted);
    }
    let ask: Vec<_> = claims.iter().map(|claim| claim.map(&|signature| set_of(selection, signature))).collect();
    search::count(&ask, devices, u32::try_from(devices.len()).unwrap_or(u32::MAX))
}
