//! Which pods there are, which are Ready, which GPU each has, and what share of the load is theirs.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::{sync::watch, time::Instant};

use crate::groups::WORKER_INDEX;

use super::{DIALECT, Dialect, GPUS, Load, Shared, WORLD, histogram::Durations, lock};

/// How long load needs to move to a replica that has become Ready. Longer than a scrape interval of 1 s and its
/// delays, so that no two scrapes of one interval see the same requests at two replicas.
const HANDOVER: Duration = Duration::from_millis(2500);

/// Namespace and name.
pub(super) type PodName = (String, String);

/// What a pod is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A replica of the workload.
    Inference(Dialect),
    /// The DCGM exporter of one node.
    Exporter {
        /// The node's name.
        node: String,
    },
}

/// An address that answers, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Address and port.
    pub address: SocketAddr,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// What it is.
    pub role: Role,
}

/// What one replica reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Share {
    /// Requests that wait here.
    pub(super) queue: f64,
    /// How long the requests took that were answered since the pod began.
    pub(super) durations: Durations,
}

/// One GPU of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gpu {
    /// Per cent.
    pub(super) utilisation: u8,
    /// Who holds it.
    pub(super) holder: Option<PodName>,
}

#[derive(Debug)]
struct Member {
    target: Option<Target>,
    node: Option<String>,
    ready_since: Option<Instant>,
    exporter: bool,
    /// GPUs that it asks for; for an exporter: that its node has.
    gpus: usize,
    durations: Durations,
    counted: Instant,
}

/// The pods of one scenario.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    members: BTreeMap<PodName, Member>,
    /// How many replicas were Ready from which moment on.
    ready: VecDeque<(Instant, usize)>,
    /// A GPU keeps its holder until that pod is gone, as on a real node.
    gpus: BTreeMap<String, Vec<Option<PodName>>>,
}

// === impl Fleet ===

impl Fleet {
    /// The part of the load that each replica has which has been Ready for [`HANDOVER`].
    ///
    /// It is the smallest part of that time, so that pages that were fetched at moments up to [`HANDOVER`] apart
    /// never add up to more than the whole load: what one fetch sees move away, an earlier one must not have seen
    /// arrive elsewhere. They add up to exactly the load when the replicas have been the same for so long.
    pub(super) fn part(&self) -> f64 {
        let begin = Instant::now().checked_sub(HANDOVER);
        let first = self.ready.iter().rposition(|(since, _)| begin.is_some_and(|begin| *since <= begin)).unwrap_or(0);
        let most = self.ready.iter().skip(first).map(|(_, count)| *count).max().unwrap_or(0);
        1.0 / most.max(1) as f64
    }

    /// How many replicas serve, if load has had the time to reach every Ready one.
    pub(super) fn settled(&self) -> Option<usize> {
        let count = self.members.values().filter(|member| member.serves()).count();
        let steady = self.ready.back().is_some_and(|(since, ready)| *ready == count && since.elapsed() >= HANDOVER);
        steady.then_some(count)
    }

    pub(super) fn targets(&self) -> Vec<Target> {
        self.members.values().filter_map(|member| member.target.clone()).collect()
    }

    /// What the replica at `target` reports under `load`; its counter advances by the time since the last call.
    pub(super) fn share_of(&mut self, target: &Target, load: Load) -> Share {
        let (part, now) = (self.part(), Instant::now());
        let Some(member) = self.members.get_mut(&(target.namespace.clone(), target.pod.clone())) else {
            return Share::default();
        };
        let part = if member.serves() { part } else { 0.0 };
        let answered = load.rate * part * now.duration_since(member.counted).as_secs_f64();
        member.durations.add(answered, latency(load));
        member.counted = now;
        Share { queue: load.queue * part, durations: member.durations.clone() }
    }

    /// The GPUs of `node` under `load`, in the order of their indices.
    pub(super) fn gpus(&self, node: &str, load: Load) -> Vec<Gpu> {
        // DCGM reports whole per cents, and never more than 100 of one GPU.
        let busy = (load.gpu * self.part()).clamp(0.0, 100.0);
        let slots = self.gpus.get(node).map_or(&[][..], Vec::as_slice);
        let gpu = |holder: &Option<PodName>| {
            let serves = holder.as_ref().and_then(|pod| self.members.get(pod)).is_some_and(Member::serves);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=100")]
            let utilisation = if serves { busy as u8 } else { 0 };
            Gpu { utilisation, holder: holder.clone() }
        };
        slots.iter().map(gpu).collect()
    }

    fn apply(&mut self, pod: &Pod) {
        let name = (pod.namespace().unwrap_or_default(), pod.name_any());
        let before = self.members.remove(&name);
        let mut member = Member::of(pod);
        if let Some(before) = before {
            (member.durations, member.counted) = (before.durations, before.counted);
            member.ready_since = member.ready_since.map(|now| before.ready_since.unwrap_or(now));
        }
        self.hold_gpus(&name, &member);
        self.members.insert(name, member);
        self.note_ready();
    }

    fn delete(&mut self, name: &PodName) {
        self.members.remove(name);
        for slot in self.gpus.values_mut().flatten() {
            if slot.as_ref() == Some(name) {
                *slot = None;
            }
        }
        self.note_ready();
    }

    fn note_ready(&mut self) {
        let count = self.members.values().filter(|member| member.is_ready_replica()).count();
        if self.ready.back().is_none_or(|(_, last)| *last != count) {
            self.ready.push_back((Instant::now(), count));
        }
        while self.ready.get(1).is_some_and(|(since, _)| since.elapsed() > HANDOVER) {
            self.ready.pop_front();
        }
    }

    fn hold_gpus(&mut self, name: &PodName, member: &Member) {
        let Some(node) = &member.node else { return };
        let slots = self.gpus.entry(node.clone()).or_default();
        if member.exporter {
            slots.resize(slots.len().max(member.gpus), None);
            return;
        }
        let mut missing = member.gpus.saturating_sub(slots.iter().flatten().filter(|holder| *holder == name).count());
        for slot in slots.iter_mut().filter(|slot| slot.is_none()) {
            if missing == 0 {
                return;
            }
            *slot = Some(name.clone());
            missing -= 1;
        }
        slots.extend(std::iter::repeat_n(Some(name.clone()), missing));
    }
}

/// A request takes 100 ms plus the time in which the replicas work off what waits before it.
fn latency(load: Load) -> f64 {
    if load.rate > 0.0 { 0.1 + load.queue / load.rate } else { 0.1 }
}

impl Member {
    fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let containers = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers);
        let requested = containers.iter().filter_map(|container| {
            container.resources.as_ref()?.requests.as_ref()?.get("nvidia.com/gpu")?.0.parse::<usize>().ok()
        });
        let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let of_node = pod.annotations().get(GPUS).and_then(|gpus| gpus.parse().ok());
        Self {
            target: target(pod),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            ready_since: ready.then(Instant::now),
            exporter: is_exporter(pod),
            gpus: of_node.unwrap_or_else(|| requested.sum()),
            durations: Durations::default(),
            counted: Instant::now(),
        }
    }

    /// Takes part of the load: Ready, and load has had the time to reach it.
    fn serves(&self) -> bool {
        self.is_ready_replica() && self.ready_since.is_some_and(|since| since.elapsed() >= HANDOVER)
    }

    fn is_ready_replica(&self) -> bool {
        self.ready_since.is_some()
            && self.target.as_ref().is_some_and(|target| matches!(target.role, Role::Inference(_)))
    }
}

fn is_exporter(pod: &Pod) -> bool {
    pod.labels().get("app.kubernetes.io/name").is_some_and(|name| name == "dcgm-exporter")
}

/// Where the pod answers: its address and the first port of its first container.
fn target(pod: &Pod) -> Option<Target> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    // The leader of a group answers for all of it.
    if pod.labels().get(WORKER_INDEX).is_some_and(|index| index != "0") {
        return None;
    }
    let address: Ipv4Addr = status.pod_ip.as_ref()?.parse().ok()?;
    let port = u16::try_from(spec.containers.first()?.ports.as_ref()?.first()?.container_port).ok()?;
    let vllm = pod.annotations().get(DIALECT).is_some_and(|dialect| dialect == "vllm");
    let role = match spec.node_name.clone() {
        Some(node) if is_exporter(pod) => Role::Exporter { node },
        _ => Role::Inference(if vllm { Dialect::Vllm } else { Dialect::Generic }),
    };
    Some(Target { address: (address, port).into(), namespace: pod.namespace()?, pod: pod.name_any(), role })
}

/// Keeps the fleet equal to what the API server says, and tells `news` after each event.
pub(super) async fn watch_pods(client: Client, world: String, shared: Arc<Shared>, news: watch::Sender<()>) {
    let pods: Api<Pod> = Api::all(client);
    let config = watcher::Config::default().labels(&format!("{WORLD}={world}"));
    let stream = watcher::watcher(pods, config).default_backoff();
    let mut stream = std::pin::pin!(stream);
    loop {
        // An error is a broken watch: the stream itself starts a new one after its back-off.
        let Ok(Some(event)) = stream.try_next().await else { continue };
        let mut fleet = lock(&shared.fleet);
        match event {
            Event::Init => *fleet = Fleet::default(),
            Event::InitDone => {}
            Event::Apply(pod) | Event::InitApply(pod) => fleet.apply(&pod),
            Event::Delete(pod) => fleet.delete(&(pod.namespace().unwrap_or_default(), pod.name_any())),
        }
        drop(fleet);
        news.send_replace(());
    }
}
