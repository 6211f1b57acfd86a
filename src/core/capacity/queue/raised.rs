//! What has to be raised where Kueue limits: the nominal quota of the queue itself, which is lent to the cohorts above it as
//! well, so that it makes room on the whole way up.

use std::collections::BTreeMap;

use super::parts;
use crate::{
    capacity::quota::{Limit, Shortage},
    cluster::View,
    quantity::Quantity,
};

/// The shortages of ResourceQuotas as they are, and those of a queue and its cohorts as what the queue lacks: by flavor and
/// resource, the most that any of them does.
pub(in crate::capacity) fn raised(shortages: Vec<Shortage>, queue: Option<&str>, view: &View) -> Vec<Shortage> {
    let is_of_kueue = |it: &Shortage| matches!(&it.by, Limit::Quota(key) if key.namespace.is_empty());
    let (of_kueue, mut raised): (Vec<_>, Vec<_>) = shortages.into_iter().partition(is_of_kueue);
    let Some(queue) = queue.and_then(|name| view.queues.cluster.get(name)) else { return raised };
    let mut lacking: BTreeMap<(&str, &str), Quantity> = BTreeMap::new();
    for shortage in &of_kueue {
        if let Some(entry) = parts(&shortage.resource) {
            let most = lacking.entry(entry).or_default();
            *most = shortage.short.max(*most);
        }
    }
    for ((resource, flavor), short) in lacking {
        let quota = queue.quotas().find(|(name, quota)| *name == flavor && quota.name == resource);
        let by = Limit::Flavor { queue: queue.metadata.name.clone(), flavor: flavor.to_owned() };
        let shortage = |hard| Shortage { by, resource: resource.to_owned(), short, hard };
        raised.extend(quota.map(|(_, quota)| shortage(quota.nominal_quota)));
    }
    raised
}
