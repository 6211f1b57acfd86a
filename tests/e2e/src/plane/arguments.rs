//! The command lines of the components. Each flag that is not a plain address or file says why it is there.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::pki::Pki;

/// What a scenario may choose about the cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--horizontal-pod-autoscaler-sync-period`.
    pub hpa_sync: Duration,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`, for HPAs that do not say themselves.
    pub hpa_downscale_stabilization: Duration,
    /// A node that has not renewed its lease for this long is NotReady.
    pub node_grace: Duration,
    /// Which components run.
    pub components: Components,
}

/// Which components run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Components {
    /// All of them.
    #[default]
    All,
    /// etcd, kube-apiserver and kube-scheduler, without anything that delays or changes the pods that tests write.
    Scheduling,
}

impl Default for Settings {
    /// Compressed: a real cluster has 15 s, 300 s and 50 s.
    fn default() -> Self {
        Self {
            hpa_sync: Duration::from_secs(2),
            hpa_downscale_stabilization: Duration::from_secs(10),
            node_grace: Duration::from_secs(16),
            components: Components::All,
        }
    }
}

/// Only what the scenarios touch: fewer controllers start faster and leave the two cores to the others.
const CONTROLLERS: &str = "horizontal-pod-autoscaler-controller,deployment-controller,replicaset-controller,job-controller,\
    node-lifecycle-controller,taint-eviction-controller,serviceaccount-controller,namespace-controller,\
    root-ca-certificate-publisher-controller,garbage-collector-controller,pod-garbage-collector-controller,\
    clusterrole-aggregation-controller,disruption-controller,resourcequota-controller,resourceclaim-controller";
/// What completes the status of objects that decide about pods, and makes and binds their claims, without making,
/// changing or removing pods.
const ACCOUNTANTS: &str = "resourcequota-controller,resourceclaim-controller,ephemeral-volume-controller,\
    persistentvolume-binder-controller";

/// Admission that needs or waits for controllers which do not run where only the scheduler does.
const OBSTACLES: [&str; 4] =
    ["ServiceAccount", "TaintNodesByCondition", "DefaultTolerationSeconds", "StorageObjectInUseProtection"];

/// The files of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paths<'a> {
    pub(super) folder: &'a Path,
    pub(super) pki: &'a Pki,
}

impl Paths<'_> {
    pub(super) fn kubeconfig(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.kubeconfig"))
    }

    pub(super) fn stages(&self) -> PathBuf {
        self.folder.join("kwok-stages.yaml")
    }

    fn pki(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.pki.file(file).display())
    }

    fn file(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.kubeconfig(name).display())
    }

    pub(super) fn etcd(&self, client: u16, peer: u16) -> Vec<String> {
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        vec![
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // The data does not outlive the run, so it need not survive a power cut.
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
        ]
    }

    pub(super) fn kube_apiserver(&self, port: u16, etcd: u16) -> Vec<String> {
        vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".into(),
            // Any address but a loopback one is accepted; nothing dials it, since no endpoints are published.
            "--advertise-address=192.0.2.1".into(),
            "--endpoint-reconciler-type=none".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--authorization-mode=RBAC".into(),
            self.pki("tls-cert-file", "apiserver.crt"),
            self.pki("tls-private-key-file", "apiserver.key"),
            self.pki("client-ca-file", "ca.crt"),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            self.pki("service-account-key-file", "sa.pub"),
            self.pki("service-account-signing-key-file", "sa.key"),
            // Aggregation. Routing by endpoints stays off: with it an ExternalName Service is refused.
            self.pki("requestheader-client-ca-file", "front-proxy-ca.crt"),
            "--requestheader-allowed-names=front-proxy-client".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            self.pki("proxy-client-cert-file", "front-proxy.crt"),
            self.pki("proxy-client-key-file", "front-proxy.key"),
        ]
    }

    /// More for a cluster that only schedules: nodes are ready as they are written, pods need no account, and the
    /// writes of many cases at once are not paced.
    pub(super) fn kube_apiserver_for_scheduling() -> Vec<String> {
        vec![
            format!("--disable-admission-plugins={}", OBSTACLES.join(",")),
            "--max-requests-inflight=2000".into(),
            "--max-mutating-requests-inflight=1000".into(),
            // Nobody reads the events of thousands of pods that are not schedulable.
            "--runtime-config=events.k8s.io/v1=false".into(),
        ]
    }

    pub(super) fn kube_controller_manager(&self, port: u16, settings: &Settings) -> Vec<String> {
        let controllers = match settings.components {
            Components::All => CONTROLLERS,
            Components::Scheduling => ACCOUNTANTS,
        };
        vec![
            self.file("kubeconfig", "kube-controller-manager"),
            self.file("authentication-kubeconfig", "kube-controller-manager"),
            self.file("authorization-kubeconfig", "kube-controller-manager"),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            "--leader-elect=false".into(),
            format!("--controllers={controllers}"),
            self.pki("root-ca-file", "ca.crt"),
            self.pki("service-account-private-key-file", "sa.key"),
            // As kubeadm sets it. Without it the HPA controller is another user, which may not read metrics.
            "--use-service-account-credentials=true".into(),
            // A claim that is seen before its volume waits for this; the default is 15 seconds.
            "--pvclaimbinder-sync-period=2s".into(),
            // The default of 20 a second would pace a spike of 44 pods.
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
            format!("--horizontal-pod-autoscaler-sync-period={}ms", settings.hpa_sync.as_millis()),
            format!(
                "--horizontal-pod-autoscaler-downscale-stabilization={}ms",
                settings.hpa_downscale_stabilization.as_millis()
            ),
            format!("--node-monitor-grace-period={}ms", settings.node_grace.as_millis()),
            "--node-monitor-period=1s".into(),
        ]
    }

    pub(super) fn kube_scheduler(&self, port: u16) -> Vec<String> {
        vec![
            self.file("kubeconfig", "kube-scheduler"),
            self.file("authentication-kubeconfig", "kube-scheduler"),
            self.file("authorization-kubeconfig", "kube-scheduler"),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            "--leader-elect=false".into(),
            "--kube-api-qps=5000".into(),
            "--kube-api-burst=5000".into(),
        ]
    }

    pub(super) fn kwok(&self, pods: &str, settings: &Settings) -> Vec<String> {
        // kwok renews a lease every quarter of its duration; four missed ones make a node NotReady.
        let lease = settings.node_grace.as_secs().max(4);
        vec![
            self.file("kubeconfig", "kwok"),
            format!("--config={}", self.stages().display()),
            format!("--manage-nodes-with-label-selector={}", super::kwok::MANAGED),
            format!("--cidr={pods}"),
            format!("--node-lease-duration-seconds={lease}"),
        ]
    }
}
