//! The queries of the profiles that triggers of KEDA name instead of a query of their own: what waits, by pod, where
//! the servers are scraped by Prometheus and not by us.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::{profile, signal::QUEUE_LENGTH, trigger::Profile};

use super::{
    super::{SourceName, address},
    Needs,
};
use crate::config::{
    promql::Query,
    sources::{PrometheusQuery, PrometheusServer},
};

/// Labels that a Prometheus gives the series of a pod that it has found.
const NAMESPACE: &str = "namespace";
const POD: &str = "pod";

/// The query of every profile that a trigger may name.
pub(super) fn queries() -> Result<Vec<(Profile, PrometheusQuery)>, String> {
    let profiles = profile::Profile::builtin().map_err(|error| error.to_string())?;
    let query = |named: &Profile| {
        let profile = profiles.iter().find(|profile| profile.name == named.name());
        let text = profile.and_then(|profile| profile.query(QUEUE_LENGTH));
        let text = text.ok_or_else(|| format!("profile {} has no query for what waits", named.name()))?;
        let query = Query::new(&text, NAMESPACE, POD).map_err(|error| format!("{}: {error}", named.name()))?;
        let (signal, pod_label, namespace_label) = (QUEUE_LENGTH.to_owned(), POD.to_owned(), NAMESPACE.to_owned());
        Ok((*named, PrometheusQuery { signal, query, pod_label, namespace_label }))
    };
    Profile::ALL.iter().map(query).collect()
}

/// What names the source behind the name of the server.
pub(super) fn source(profile: Profile, namespace: &str) -> String {
    format!("{}/{QUEUE_LENGTH}/{namespace}", profile.name())
}

/// What triggers want of servers that are not configured, with the reason why it is not asked.
#[must_use]
pub fn refused(needs: &Needs, servers: &[PrometheusServer]) -> BTreeMap<SourceName, String> {
    let known: BTreeSet<_> = servers.iter().map(address::of).collect();
    let mut refused = BTreeMap::new();
    for ((server, profile), namespaces) in &needs.profiles {
        if address::written(server).is_some_and(|address| known.contains(&address)) {
            continue;
        }
        let server: String = server.chars().take(200).collect();
        for namespace in namespaces {
            let name = format!("prometheus/{server}/{}", source(*profile, namespace));
            refused.insert(SourceName::from(name), address::unknown(&server));
        }
    }
    refused
}

impl Needs {
    /// The profiles that a server is to be asked, with the namespaces.
    pub(super) fn of<'n>(&'n self, server: &str) -> impl Iterator<Item = (Profile, &'n BTreeSet<String>)> {
        let ours =
            self.profiles.iter().filter(move |((written, _), _)| address::written(written).as_deref() == Some(server));
        ours.map(|((_, profile), namespaces)| (*profile, namespaces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_a_query_that_can_be_bound_to_a_namespace() {
        let queries = queries().unwrap();
        assert_eq!(queries.len(), Profile::ALL.len());
        for (profile, query) in queries {
            let bound = query.query.for_namespace("ml").unwrap();
            assert!(bound.timestamps.is_some(), "{}", profile.name());
            assert_eq!(bound.query.matches("namespace=\"ml\"").count(), bound.query.matches("sum by (pod)").count());
        }
    }

    #[test]
    fn a_server_that_is_not_configured_is_refused_by_its_address() {
        let needs = Needs {
            profiles: [(("http://elsewhere:9090".to_owned(), Profile::Tgi), BTreeSet::from(["ml".to_owned()]))].into(),
            ..Needs::default()
        };
        let refused = refused(&needs, &[]);
        let (source, reason) = refused.first_key_value().unwrap();
        assert_eq!(&**source, "prometheus/http://elsewhere:9090/tgi/queueLength/ml");
        assert!(reason.contains("http://elsewhere:9090 is none of the servers"), "{reason}");
    }
}
