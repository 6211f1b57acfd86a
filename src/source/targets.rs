//! What is scraped: decided by the cluster view and the settings alone.
//!
//! A pod is asked at its own `status.podIP` and nowhere else. Exporters are chosen by the administrator's selectors;
//! workloads are those of the census. A pod that should be scraped but cannot be is told with the reason.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    iter,
    net::SocketAddr,
};

use plimsoll_core::{
    cluster::{Census, Reach, View},
    object::{ObjectKey, Pod, Text, WorkloadKey},
    profile,
};
use reqwest::Url;

use super::{SourceName, Target};
use crate::config::{
    SourceSettings, address,
    sources::{Dcgm, Pods, WorkloadScrape},
    value::{HttpPath, Scheme},
};

/// Port of the DCGM exporter where nothing names one.
const DCGM_PORT: u16 = 9400;
/// Pods of one workload that are told for one reason; replicas have mostly the same.
const TOLD: usize = 3;

/// What there is to scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// What is scraped, sorted by source.
    pub targets: Vec<Target>,
    /// What should be, but cannot be: source and reason.
    pub refused: BTreeMap<SourceName, String>,
}

/// What there is to scrape, found namespace by namespace: only where something changed is looked at again.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    spaces: BTreeMap<Text, Space>,
}

#[derive(Clone, Debug, Default)]
struct Space {
    found: Vec<Target>,
    refused: Vec<(SourceName, String)>,
}

/// Where a pod serves its metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    port: u16,
    path: HttpPath,
    scheme: Scheme,
}

// === impl Targets ===

impl Targets {
    /// Looks again at the namespaces within reach; `census` holds the workloads whose pods are to be measured.
    pub fn renew(&mut self, view: &View, census: &Census<'_>, settings: &SourceSettings, reach: &Reach) {
        self.spaces.retain(|namespace, _| !reach.includes(namespace));
        self.find_exporters(view, settings, reach);
        self.find_pods(census, settings, reach);
    }

    /// Everything that was found, within the limits.
    #[must_use]
    pub fn discovery(&self, settings: &SourceSettings) -> Discovery {
        let urls = settings.dcgm.urls.iter().map(|url| {
            let source = SourceName::from(format!("url/{url}"));
            let subject = profile::Target::Exporter { pod: None, node: None };
            (source.clone(), Target { source, url: url.url().clone(), subject, ready: true })
        });
        let found = self.spaces.values().flat_map(|space| &space.found);
        let found = found.map(|target| (target.source.clone(), target.clone())).chain(urls).collect();
        let refused = self.spaces.values().flat_map(|space| space.refused.iter().cloned()).collect();
        bounded(found, refused, settings.scrape.limits.targets)
    }

    fn find_exporters(&mut self, view: &View, settings: &SourceSettings, reach: &Reach) {
        for (key, pod) in exporters(view, &settings.dcgm, reach) {
            let node = (!pod.node_name.is_empty()).then(|| pod.node_name.to_string());
            let subject = profile::Target::Exporter { pod: Some(key.clone()), node };
            let source = SourceName::from(format!("exporter/{key}"));
            let target = if settings.dcgm.trusts(&key.namespace) {
                let endpoint = exporter_endpoint(pod, &settings.dcgm);
                target(source.clone(), pod, subject, &endpoint, settings.scrape.allow_loopback)
            } else {
                Err(format!("namespace {:?} is not in dcgm.namespaces", key.namespace))
            };
            self.keep(key, source, target);
        }
    }

    fn find_pods(&mut self, census: &Census<'_>, settings: &SourceSettings, reach: &Reach) {
        // Replicas share specification and annotations, so most are read once.
        let mut read: HashMap<_, (Result<Option<Endpoint>, String>, usize)> = HashMap::new();
        for (key, pod, workload) in workload_pods(census, reach) {
            let of = (std::ptr::from_ref(workload), pod.spec.address(), pod.metadata.annotations.address());
            let (endpoint, told) = read.entry(of).or_insert_with(|| (endpoint(pod, workload, &settings.pods), 0));
            let source = || SourceName::from(format!("pod/{key}"));
            match endpoint {
                Ok(None) => {}
                Err(_) if *told == TOLD => {}
                Err(reason) => {
                    *told += 1;
                    self.keep(key, source(), Err(reason.clone()));
                }
                Ok(Some(endpoint)) => {
                    let (source, subject) = (source(), profile::Target::Pod(key.clone()));
                    let target = target(source.clone(), pod, subject, endpoint, settings.scrape.allow_loopback);
                    self.keep(key, source, target);
                }
            }
        }
    }

    fn keep(&mut self, pod: &ObjectKey, source: SourceName, target: Result<Target, String>) {
        let space = self.spaces.entry(pod.namespace.clone()).or_default();
        match target {
            Ok(target) => space.found.push(target),
            Err(reason) => space.refused.push((source, reason)),
        }
    }
}

fn bounded(found: BTreeMap<SourceName, Target>, mut refused: BTreeMap<SourceName, String>, most: usize) -> Discovery {
    let mut targets: Vec<_> = found.into_values().collect();
    if targets.len() > most {
        let beyond = targets.split_off(most);
        let reason = format!("there are more than {most} targets (scrape.limits.targets)");
        refused.extend(beyond.into_iter().map(|target| (target.source, reason.clone())));
    }
    Discovery { targets, refused }
}

// === pods ===

/// Pods that can answer: running and not on their way out.
fn is_up(pod: &Pod) -> bool {
    pod.status.phase == "Running" && !pod.is_terminating()
}

fn exporters<'a>(view: &'a View, dcgm: &'a Dcgm, reach: &'a Reach) -> impl Iterator<Item = (&'a ObjectKey, &'a Pod)> {
    // Replicas share their labels, so most are matched once.
    let mut selected: HashMap<usize, bool> = HashMap::new();
    let mut is_selected = move |pod: &Pod| {
        let labels = &pod.metadata.labels;
        let matches = || dcgm.selectors.iter().any(|selector| selector.selector().matches(labels));
        *selected.entry(labels.address()).or_insert_with(matches)
    };
    let pods: Box<dyn Iterator<Item = _>> = match reach {
        _ if !dcgm.discover => Box::new(iter::empty()),
        Reach::Everywhere => Box::new(view.pods.iter()),
        Reach::Within(namespaces) => Box::new(namespaces.iter().flat_map(|namespace| view.pods_in(namespace))),
    };
    pods.filter(move |(_, pod)| is_selected(pod) && is_up(pod))
}

/// The own pods of workloads; a pod of several counts for the first.
fn workload_pods<'a>(
    census: &'a Census<'_>,
    reach: &'a Reach,
) -> impl Iterator<Item = (&'a ObjectKey, &'a Pod, &'a WorkloadKey)> {
    let mut seen = HashSet::new();
    let workloads = census.workloads().filter(|(workload, _)| reach.includes(&workload.namespace));
    workloads
        .flat_map(|(workload, _)| census.own(workload).map(move |(key, pod)| (key, pod, workload)))
        .filter(move |(_, pod, _)| is_up(pod) && seen.insert(std::ptr::from_ref(*pod)))
}

fn target(
    source: SourceName,
    pod: &Pod,
    subject: profile::Target,
    endpoint: &Endpoint,
    allow_loopback: bool,
) -> Result<Target, String> {
    let address = pod.status.pod_ip.ok_or("the pod has no address yet")?;
    address::pod_allowed(address, allow_loopback).map_err(|reason| format!("the pod's address {address} {reason}"))?;
    let host = SocketAddr::new(address, endpoint.port);
    // A pod on the node's network must not lead us to another service of that node.
    if pod.spec.host_network && !declared_ports(pod).any(|(_, port)| port == endpoint.port) {
        return Err(format!("port {} is none of the pod's own, and the pod is on the node's network", endpoint.port));
    }
    let url = Url::parse(&format!("{}://{host}{}", endpoint.scheme.as_str(), endpoint.path.as_str()))
        .map_err(|error| format!("there is no URL for {host}: {error}"))?;
    Ok(Target { source, url, subject, ready: pod.is_ready() })
}

// === endpoints ===

/// Names and numbers of the TCP ports that the pod's containers declare.
fn declared_ports(pod: &Pod) -> impl Iterator<Item = (&str, u16)> {
    let sidecars = pod.spec.init_containers.iter().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let ports = pod.spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
    ports
        .filter(|port| matches!(port.protocol.as_str(), "" | "TCP") && port.container_port > 0)
        .map(|port| (port.name.as_str(), port.container_port))
}

fn named_port(pod: &Pod, name: &str) -> Option<u16> {
    declared_ports(pod).find(|(found, _)| *found == name).map(|(_, port)| port)
}

fn exporter_endpoint(pod: &Pod, dcgm: &Dcgm) -> Endpoint {
    let port = dcgm.port.or_else(|| named_port(pod, &dcgm.port_name)).unwrap_or(DCGM_PORT);
    Endpoint { port, path: dcgm.path.clone(), scheme: dcgm.scheme }
}

/// Where a workload's pod serves metrics: by configuration, else by annotation, else by a named port; none where it
/// is exempt.
fn endpoint(pod: &Pod, workload: &WorkloadKey, pods: &Pods) -> Result<Option<Endpoint>, String> {
    if let Some(entry) = pods.workloads.iter().find(|entry| names(entry, workload)) {
        let port = entry.port.filter(|_| entry.scrape);
        return Ok(port.map(|port| Endpoint { port, path: entry.path.clone(), scheme: entry.scheme }));
    }
    let annotation = |name: &str| pod.metadata.annotations.get(name).map(|text| text.trim());
    match annotation("prometheus.io/scrape").filter(|_| pods.annotations) {
        Some("false") => return Ok(None),
        Some("true") => return annotated(pod, pods, annotation).map(Some),
        Some(other) => {
            return Err(format!("annotation prometheus.io/scrape is {other:?}, expected \"true\" or \"false\""));
        }
        None => {}
    }
    let port = port_by_name(pod, pods).ok_or_else(|| no_port(pods))?;
    Ok(Some(Endpoint { port, path: HttpPath::default(), scheme: Scheme::default() }))
}

fn names(entry: &WorkloadScrape, workload: &WorkloadKey) -> bool {
    entry.namespace == workload.namespace
        && entry.name == workload.name
        && entry.kind.as_ref().is_none_or(|kind| *kind == workload.kind)
}

fn annotated<'a>(pod: &Pod, pods: &Pods, annotation: impl Fn(&str) -> Option<&'a str>) -> Result<Endpoint, String> {
    let port = match annotation("prometheus.io/port") {
        Some(text) => text
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("annotation prometheus.io/port is {text:?}, expected 1 to 65535"))?,
        None => port_by_name(pod, pods).or_else(|| only_port(pod)).ok_or_else(|| no_port(pods))?,
    };
    let path = annotation("prometheus.io/path").map(HttpPath::new).transpose();
    let scheme = match annotation("prometheus.io/scheme") {
        None | Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(other) => return Err(format!("annotation prometheus.io/scheme is {other:?}, expected http or https")),
    };
    let path = path.map_err(|reason| format!("annotation prometheus.io/path: {reason}"))?.unwrap_or_default();
    Ok(Endpoint { port, path, scheme })
}

fn port_by_name(pod: &Pod, pods: &Pods) -> Option<u16> {
    pods.port_names.iter().find_map(|name| named_port(pod, name))
}

fn only_port(pod: &Pod) -> Option<u16> {
    let mut ports = declared_ports(pod);
    let (_, port) = ports.next()?;
    ports.next().is_none().then_some(port)
}

fn no_port(pods: &Pods) -> String {
    let names = pods.port_names.join(" or ");
    format!(
        "no metrics port is known: annotate the pods with prometheus.io/scrape and prometheus.io/port, name a container port {names}, or add the workload to pods.workloads"
    )
}

#[cfg(test)]
mod tests;
