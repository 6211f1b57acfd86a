//! Who a sample is about, and which device it measures.

use super::{Claim, Identity, Profile, Target};
use crate::{exposition::Sample, object::ObjectKey};

/// A pod as a payload names it, or the pod that was scraped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    pub(super) pod: ObjectKey,
    pub(super) uid: Option<String>,
}

/// The pod that a sample is about; none if it is about none, e.g. an idle GPU.
pub(super) fn subject(profile: &Profile, target: &Target, sample: &Sample<'_, '_>) -> Option<Subject> {
    match (&profile.identity, target) {
        (Identity::Target, Target::Pod(pod)) => Some(Subject { pod: pod.clone(), uid: None }),
        (Identity::Target, Target::Exporter { .. }) | (Identity::Labels(_), Target::Pod(_)) => None,
        (Identity::Labels(claims), Target::Exporter { pod, .. }) => {
            let own = claims.own.iter().find_map(|claim| read(claim, sample));
            let relabelled = || claims.relabelled.iter().find_map(|claim| read(claim, sample));
            // The plain labels name the exporter only if something in between has moved its own aside. Where the
            // exporter is known that can be seen; then `exported_*` beside a workload's name is just a copied pod
            // label, which a tenant may choose, and is not believed.
            match pod {
                Some(exporter) => own.filter(|subject| subject.pod != *exporter).or_else(relabelled),
                None => relabelled().or(own),
            }
        }
    }
}

fn read(claim: &Claim, sample: &Sample<'_, '_>) -> Option<Subject> {
    let pod = ObjectKey::new(sample.label(&claim.namespace)?, sample.label(&claim.pod)?);
    let uid = claim.uid.as_deref().and_then(|label| sample.label(label)).map(str::to_owned);
    Some(Subject { pod, uid })
}

/// The device that a sample measures: empty where the profile knows no devices, none if the sample names none.
///
/// The first label is the device and must be there; the others tell its parts apart and may be absent.
pub(super) fn device(profile: &Profile, sample: &Sample<'_, '_>) -> Option<String> {
    let mut device = String::new();
    for (position, names) in profile.key.iter().enumerate() {
        let value = names.iter().find_map(|name| sample.label(name));
        if position == 0 && value.is_none() {
            return None;
        }
        device.push_str(value.unwrap_or("-"));
        device.push('\0');
    }
    Some(device)
}

/// The identity of a series within its device: all labels but `le`, in an order that does not depend on the line's.
/// Where devices are identified by labels, the device is the whole identity.
pub(super) fn series(profile: &Profile, sample: &Sample<'_, '_>) -> String {
    if !profile.key.is_empty() {
        return String::new();
    }
    let mut labels: Vec<_> = sample.labels.iter().filter(|label| label.name != "le").collect();
    labels.sort_unstable_by_key(|label| label.name);
    let mut series = String::new();
    for label in labels {
        series.extend([label.name, "\0", &label.value, "\0"]);
    }
    series
}
