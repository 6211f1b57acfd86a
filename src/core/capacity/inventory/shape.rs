//! What placing replicas does not change: nodes, columns, and what pods hold.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::RangeBounds,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Demand, obscured::Obscured};
use crate::{
    capacity::{
        Ledger, Template, absurd,
        between::{Domains, Index, Rows, Seat, Surroundings},
        devices::{Layout, Searched, Wants},
        filters::Verdict,
        gpus::Gpus,
        memo::Judged,
        ports::{self, HostPort},
        requests::{self, PODS},
        volumes,
    },
    cluster::View,
    object::{Labels, Node, ObjectKey, Pod, PodSpec},
    policy::Policy,
};

/// Most distinct resource names that are kept; a cluster has a dozen. What is beyond counts as not offered.
const MAX_RESOURCES: usize = 512;

/// What placing replicas does not change.
#[derive(Debug)]
pub(in crate::capacity) struct Shape<'v> {
    pub(in crate::capacity) view: &'v View,
    pub(in crate::capacity) policy: &'v Policy,
    pub(in crate::capacity) nodes: Vec<&'v Node>,
    pub(in crate::capacity) columns: Vec<&'v str>,
    pub(super) column_of: HashMap<&'v str, usize>,
    /// Columns that are GPUs by policy.
    pub(in crate::capacity) gpus: Vec<usize>,
    /// What device plugins make of them.
    pub(in crate::capacity) plugins: Gpus,
    /// Devices that claims allocate.
    pub(super) devices: Layout<'v>,
    /// Rows on which pods may hold devices that no claim tells of.
    pub(super) unsure: BTreeSet<usize>,
    /// How many replicas find their devices on each row, by what they want.
    searched: Mutex<HashMap<Arc<Wants>, Arc<Searched>>>,
    /// What empty nodes offer, in the layout of the free rows.
    pub(super) allocatable: Vec<i64>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) rows: Arc<Rows<'v>>,
    pub(super) nominated: Vec<Nominated<'v>>,
    /// Nodes of which it is not known what is free.
    pub(super) obscured: Obscured,
    pub(in crate::capacity) index: Index<'v>,
    /// Ports that bound pods take, by row.
    pub(super) ports: HashMap<usize, Vec<HostPort>>,
    /// Volumes of bound pods.
    pub(super) volumes: volumes::Ledger<'v>,
    /// Domains by label key.
    pub(super) domains: Mutex<HashMap<String, Arc<Domains>>>,
    /// Free GPUs of some columns on the nodes that a filter leaves open, by where in memory its verdicts are; those stay
    /// there for as long as this does.
    pub(in crate::capacity) open_gpus: Mutex<OpenGpus>,
    /// By which the memo of the ledger is asked.
    pub(super) turn: u64,
}

/// Sums by verdicts and columns.
pub(in crate::capacity) type OpenGpus = HashMap<(usize, Vec<usize>), (Arc<Judged>, i64)>;

/// A pod that preemption has promised a node.
#[derive(Debug)]
pub(super) struct Nominated<'v> {
    pub(super) row: usize,
    pub(super) priority: i32,
    pub(super) namespace: &'v str,
    pub(super) labels: &'v Labels,
    pub(super) seat: Seat,
    pub(super) ports: Vec<HostPort>,
    pub(super) spec: &'v PodSpec,
    pub(super) requests: Vec<(usize, i64)>,
    /// The devices that it asks for; none if that cannot be said.
    wants: Option<Arc<Wants>>,
}

/// What the constraints between pods read of the nodes, in the eyes of one template.
pub(in crate::capacity) struct Around<'a, 'v> {
    pub(super) shape: &'a Shape<'v>,
    pub(super) judged: Arc<Judged>,
}

pub(super) fn row_of(cells: &[i64], row: usize, width: usize) -> &[i64] {
    cells.get(row.saturating_mul(width)..row.saturating_add(1).saturating_mul(width)).unwrap_or_default()
}

/// What each list of amounts that nodes share offers is read once.
fn allocatable(nodes: &[&Node], columns: &[&str]) -> Vec<i64> {
    let cell =
        |node: &Node, name: &str| node.status.allocatable.get(name).map_or(0, |amount| requests::scale(name, *amount));
    let mut cells = Vec::with_capacity(nodes.len().saturating_mul(columns.len()));
    let mut known = HashMap::new();
    for (row, node) in nodes.iter().enumerate() {
        let first = *known.entry(node.status.allocatable.address()).or_insert(row);
        if first == row {
            cells.extend(columns.iter().map(|name| cell(node, name)));
        } else {
            cells.extend_from_within(first * columns.len()..(first + 1) * columns.len());
        }
    }
    cells
}

/// Names of what nodes offer.
fn offered<'v>(nodes: &[&'v Node]) -> impl Iterator<Item = &'v str> {
    let mut known = HashSet::new();
    let lists = nodes.iter().map(|node| &node.status.allocatable);
    lists.filter(move |list| known.insert(list.address())).flat_map(|list| list.keys()).map(String::as_str)
}

/// Rows, names and amounts of what no machine has so much of.
fn unbelievable<'a>(
    cells: &'a [i64],
    columns: &'a [&'a str],
    gpus: &[usize],
) -> impl Iterator<Item = (usize, &'a str, i64)> {
    let gpus: Vec<_> = (0..columns.len()).map(|column| gpus.contains(&column)).collect();
    let rows = cells.chunks_exact(columns.len().max(1)).enumerate();
    rows.flat_map(move |(row, cells)| {
        let odd = cells.iter().zip(&gpus).zip(columns);
        let odd = odd.filter(|((amount, is_gpu), _)| absurd::is_unbelievable(**amount, **is_gpu));
        odd.map(|((amount, _), name)| (row, *name, *amount)).collect::<Vec<_>>()
    })
}

// === impl Shape ===

impl<'v> Shape<'v> {
    pub(super) fn of(view: &'v View, policy: &'v Policy, ledger: Arc<Ledger>) -> Self {
        let nodes: Vec<_> = view.nodes.values().collect();
        let rows = nodes.iter().enumerate().map(|(row, node)| (node.metadata.name.as_str(), row));
        let rows: Arc<Rows<'_>> = Arc::new(rows.collect());
        let offered = offered(&nodes).chain(Layout::resources(view));
        let scalar: BTreeSet<_> = offered.filter(|name| requests::is_checked(name)).collect();
        let scalar = std::iter::once(PODS).chain(scalar).take(MAX_RESOURCES);
        let columns: Vec<_> = scalar.chain(Layout::names(view)).collect();
        let devices = Layout::of(view, policy, &nodes, &columns);
        let mut allocatable = allocatable(&nodes, &columns);
        devices.fill(&nodes, columns.len(), None, &mut allocatable);
        let column_of = columns.iter().enumerate().map(|(column, name)| (*name, column)).collect();
        let gpus: Vec<_> =
            (0..).zip(&columns).filter(|(_, name)| policy.is_gpu(name)).map(|(column, _)| column).collect();
        let obscured = Obscured::of(&nodes, unbelievable(&allocatable, &columns, &gpus), &ledger, view);
        let plugins = Gpus::of(&nodes, &columns, &gpus, policy, &mut allocatable);
        Self {
            view,
            policy,
            gpus,
            plugins,
            devices,
            unsure: BTreeSet::new(),
            searched: Mutex::default(),
            allocatable,
            nodes,
            columns,
            column_of,
            nominated: Vec::new(),
            obscured,
            index: Index::new(Arc::clone(&ledger), Arc::clone(&rows)),
            ledger,
            rows,
            ports: HashMap::new(),
            volumes: volumes::Ledger::default(),
            domains: Mutex::default(),
            open_gpus: Mutex::default(),
            turn: 0,
        }
    }

    /// A row as it would be if the node were empty.
    pub(in crate::capacity) fn capacity(&self, row: usize) -> &[i64] {
        row_of(&self.allocatable, row, self.columns.len())
    }

    /// What is left of the nodes.
    pub(super) fn free(&self) -> Vec<i64> {
        let mut free = self.allocatable.clone();
        let width = self.columns.len();
        for row in 0..self.nodes.len() {
            for (column, amount) in self.held(row, ..) {
                if let Some(free) = free.get_mut(row * width + column) {
                    *free = free.saturating_sub(amount);
                }
            }
        }
        for free in &mut free {
            *free = (*free).max(0);
        }
        free
    }

    /// Columns and amounts of what pods hold of a node, by priority.
    pub(super) fn held(&self, row: usize, priorities: impl RangeBounds<i32>) -> impl Iterator<Item = (usize, i64)> {
        let held = self.nodes.get(row).and_then(|node| self.ledger.held(&node.metadata.name));
        let sums =
            held.into_iter().flat_map(move |held| held.range((priorities.start_bound(), priorities.end_bound())));
        let known = sums.flat_map(|(_, sums)| sums).filter_map(|(name, sum)| Some((self.column_of.get(&**name)?, sum)));
        known.map(|(column, sum)| (*column, i64::try_from(*sum).unwrap_or(i64::MAX)))
    }

    /// Takes note of pods that hold more than columns tell, or that have been promised a node.
    pub(super) fn hold(&mut self) {
        let (ledger, rows, view) = (Arc::clone(&self.ledger), Arc::clone(&self.rows), self.view);
        for pod in ledger.holders(view) {
            let Some(row) = rows.get(pod.node_name.as_str()) else { continue };
            self.volumes.bind(pod, *row);
            self.ports.entry(*row).or_default().extend(ports::of(&pod.spec));
        }
        for pod in ledger.waiting(view).filter(|pod| !pod.is_terminating()) {
            if let Some(row) = rows.get(pod.status.nominated_node_name.as_str()) {
                self.nominate(pod, *row);
            }
        }
    }

    /// Replaces, where devices count, what pods ask for by what claims have been allocated.
    ///
    /// Pods may be seen on their nodes before what their claims have been allocated is: until then what they ask for is
    /// not free, and nothing is where that cannot be said.
    pub(super) fn hand_out(&mut self, mut free: Vec<i64>) -> Vec<i64> {
        let Some(taken) = self.devices.taken(&self.ledger) else { return free };
        let width = self.columns.len();
        self.devices.fill(&self.nodes, width, Some(&taken), &mut free);
        if self.devices.is_empty() {
            return free;
        }
        for (row, node) in self.nodes.iter().enumerate() {
            for pod in self.ledger.allocated().unseen(&node.metadata.name, self.view) {
                for (column, amount) in self.devices.unseen(row, pod, &self.column_of) {
                    self.unsure.insert(row);
                    if let Some(free) = free.get_mut(row * width + column) {
                        *free = free.saturating_sub(amount).max(0);
                    }
                }
            }
        }
        free
    }

    /// Rows and columns of devices that bound pods of lower priorities hold by claims.
    pub(super) fn held_below(&self, priority: i32) -> Vec<(usize, usize)> {
        let holder = |key: &ObjectKey| {
            let pod = self.view.pods.get(key)?;
            let is_below = !pod.is_terminal() && pod.spec.priority.unwrap_or(0) < priority;
            is_below.then(|| self.rows.get(pod.node_name.as_str()).copied()).flatten()
        };
        self.devices.held(self.view, holder)
    }

    /// Whether a nominated pod may take devices, or a place at a shared claim, that the template asks for as well: the
    /// scheduler counts those of such a pod only once they are allocated. Devices are of one node each.
    pub(super) fn is_unsettled_by(&self, pod: &Nominated<'_>, template: &Template) -> bool {
        let takes = |wants: &Wants| self.devices.takes(pod.row, wants);
        let is_open = || self.judge(template).verdicts.get(pod.row).is_some_and(Verdict::may_bind);
        let meets = || takes(&template.wants) && is_open() && pod.wants.as_deref().is_none_or(takes);
        let shares = |wants: &Wants| wants.shares_with(&template.wants);
        meets() || (!template.wants.shared.is_empty() && pod.wants.as_deref().is_none_or(shares))
    }

    /// Whether pods of which nothing is known may take devices that the template asks for.
    pub(super) fn may_lose_devices(&self, template: &Template) -> bool {
        let wants = &template.wants;
        !wants.devices.is_empty() || wants.search.is_some() || (!wants.resources.is_empty() && self.devices.delegates())
    }

    /// Columns of GPUs, those of sets of devices included.
    pub(in crate::capacity) fn all_gpus(&self) -> impl Iterator<Item = usize> {
        self.gpus.iter().chain(&self.devices.gpus).copied()
    }

    /// Whether a column counts GPUs.
    pub(in crate::capacity) fn is_gpu(&self, column: usize) -> bool {
        self.gpus.contains(&column) || self.devices.gpus.contains(&column)
    }

    fn nominate(&mut self, pod: &'v Pod, row: usize) {
        let requests = self.resolve(&requests::of_spec(&pod.spec));
        let template = Template::of_pod(pod, self.view);
        self.nominated.push(Nominated {
            row,
            priority: pod.spec.priority.unwrap_or(0),
            namespace: &pod.metadata.namespace,
            labels: &pod.metadata.labels,
            seat: template.seat.as_ref().clone(),
            ports: ports::of(&pod.spec),
            spec: &pod.spec,
            requests,
            wants: template.knows_devices().then(|| Arc::clone(&template.wants)),
        });
    }

    /// Columns and amounts of one pod, itself counted; what no node offers is left out.
    fn resolve(&self, requests: &[(&str, i64)]) -> Vec<(usize, i64)> {
        let known = requests.iter().filter_map(|(name, amount)| Some((*self.column_of.get(name)?, *amount)));
        std::iter::once((0, 1)).chain(known).collect()
    }

    pub(in crate::capacity) fn demand(&self, template: &Template) -> Demand {
        let mut demand = Demand {
            requests: Vec::new(),
            missing: Vec::new(),
            levies: Vec::new(),
            selected: Vec::new(),
            searched: self.search(&template.wants),
            gives_up: false,
            judged: self.judge(template),
        };
        for (name, amount) in &template.requests {
            match self.column_of.get(name.as_str()) {
                Some(column) => demand.requests.push((*column, *amount)),
                None => demand.missing.push(name.clone()),
            }
        }
        if !template.wants.is_empty() {
            let share = self.devices.share(&template.wants, &demand.requests, (&self.column_of, self.view));
            demand.requests.extend(share.requests);
            demand.missing.extend(share.missing);
            (demand.levies, demand.selected) = (share.levies, share.selected);
        }
        demand.gives_up = self.gives_up(&demand, &template.wants);
        demand
    }

    /// Whether the scheduler, or the search, gives up on the pods at any node that comes before their devices are looked
    /// for. Devices of claims that are shared are looked at last.
    fn gives_up(&self, demand: &Demand, wants: &Wants) -> bool {
        if demand.searched.is_none() && wants.beside_claims.is_empty() {
            return false;
        }
        let mut rows = demand.judged.verdicts.iter().enumerate();
        rows.any(|(row, verdict)| {
            let aborted = || demand.searched.as_ref().is_some_and(|searched| searched.is_aborted(row));
            let unbindable = || self.devices.is_unbindable(row, wants, &self.column_of);
            match verdict {
                Verdict::Cordoned | Verdict::Tainted(_) | Verdict::Unselected | Verdict::Undeclared(_) => false,
                Verdict::Elsewhere(_) => aborted(),
                Verdict::Open | Verdict::NotReady | Verdict::Unusable(_) | Verdict::Obscured(_) => {
                    aborted() || unbindable()
                }
            }
        })
    }

    /// How many replicas find their devices on each row, where that has to be searched for.
    fn search(&self, wants: &Arc<Wants>) -> Option<Arc<Searched>> {
        let search = wants.search.as_ref()?;
        let mut known = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(searched) = known.get(wants) {
            return Some(Arc::clone(searched));
        }
        let searched = self.devices.search(search, &self.nodes, &self.column_of, (&self.ledger, &self.unsure));
        let searched = Arc::new(searched);
        known.insert(Arc::clone(wants), Arc::clone(&searched));
        Some(searched)
    }

    pub(super) fn judge(&self, template: &Template) -> Arc<Judged> {
        let judged = self.ledger.memo().judged(self.turn, template, &self.nodes);
        self.obscured.over(judged, template)
    }
}

// === impl Nominated ===

impl Nominated<'_> {
    pub(super) fn goes_before(&self, template: &Template) -> bool {
        let labels = &template.seat.labels;
        let own = self.namespace == template.namespace
            && !labels.is_empty()
            && labels.iter().all(|(key, value)| self.labels.get(key) == Some(value));
        !own && template.priority.is_none_or(|priority| self.priority >= priority)
    }
}

// === impl Around ===

impl Surroundings for Around<'_, '_> {
    fn view(&self) -> &View {
        self.shape.view
    }

    fn domains(&self, key: &str) -> Arc<Domains> {
        let mut known = self.shape.domains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(domains) = known.get(key) {
            return Arc::clone(domains);
        }
        let labels = self.shape.nodes.iter().map(|node| node.metadata.labels.get(key));
        let domains = Arc::new(Domains::of(labels));
        known.insert(key.to_owned(), Arc::clone(&domains));
        domains
    }

    fn is_selected(&self, row: usize) -> bool {
        self.judged.selected.get(row) == Some(&true)
    }

    fn is_repelled(&self, row: usize) -> bool {
        self.judged.repelled.get(row) == Some(&true)
    }
}
