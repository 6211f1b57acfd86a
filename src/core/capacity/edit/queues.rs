//! Quota of Kueue.

use super::EditError;
use crate::{
    cluster::{Change, Delta, QueueChange, View},
    quantity::Quantity,
};

/// A ClusterQueue with another nominal quota of a resource of a flavor.
pub(super) fn granted(
    view: &View,
    name: &str,
    (flavor, resource): (&str, &str),
    nominal: Quantity,
) -> Result<Change, EditError> {
    if nominal < Quantity::ZERO {
        return Err(EditError::Negative { resource: resource.to_owned(), amount: nominal });
    }
    let queue = view.queues.cluster.get(name).ok_or_else(|| EditError::NoQueue(name.to_owned()))?;
    let mut changed = queue.clone();
    let flavors = changed.spec.resource_groups.iter_mut().flat_map(|group| &mut group.flavors);
    let mut quotas = flavors.filter(|it| it.name == flavor).flat_map(|it| &mut it.resources);
    let Some(quota) = quotas.find(|quota| quota.name == resource) else {
        let quotas: Vec<_> = queue.quotas().map(|(flavor, it)| format!("{} of flavor {flavor}", it.name)).collect();
        return Err(EditError::NotInQueue {
            queue: name.to_owned(),
            flavor: flavor.to_owned(),
            resource: resource.to_owned(),
            quotas: if quotas.is_empty() { "none".to_owned() } else { quotas.join(", ") },
        });
    };
    quota.nominal_quota = nominal;
    Ok(Change::Queue(QueueChange::Cluster(Delta::Applied(changed))))
}
