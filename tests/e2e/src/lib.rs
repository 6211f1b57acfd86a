//! The real control plane on loopback: what the end-to-end scenarios and the demo stand on.
//!
//! ```text
//!  [ControlPlane] etcd, kube-apiserver, kube-controller-manager (the HPA), kube-scheduler, kwok (the kubelets)
//!      |  pods get addresses in 127.0.0.0/8
//!  [World]        one scenario: a namespace, its own GPU nodes, a workload, a conserved load
//!      |  [standin] answers at those addresses as inference servers and DCGM exporters would
//!  [Adapter]      `plimsoll serve`, a black box with its own ServiceAccount's rights, behind the aggregator
//!      |
//!  [Trajectory]   every change of the Deployment and of its pods, to be asserted on
//! ```
//!
//! Nothing here waits for a fixed time: [`wait`] polls a condition under a deadline. No process outlives the
//! test, however it ends ([`process`]). Nothing of the adapter's code is linked: it is seen from outside only.

pub mod adapter;
mod booking;
pub mod cluster_cases;
pub mod conformance;
pub mod groups;
pub mod hpa_cases;
pub mod keda;
pub mod kubeconfig;
pub mod kueue;
pub mod manifests;
pub mod node_autoscaler;
pub mod overload;
pub mod pki;
pub mod plane;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod queue_cases;
mod rng;
pub mod scaler;
pub mod standin;
pub mod suite;
pub mod tools;
pub mod trajectory;
pub mod wait;
pub mod workload;
pub mod world;

pub use adapter::Adapter;
pub use plane::ControlPlane;
pub use trajectory::Trajectory;
pub use world::World;
