//! Plimsoll: capacity-aware autoscaling signals for GPU inference on Kubernetes.
//!
//! ```text
//!  kubernetes (watches) ──> cluster view ──┐
//!  source (scrapes, PromQL) ──> signals ───┼──> plimsoll_core::decision ──> Snapshot (one atomic swap)
//!  config ──> policy ──────────────────────┘                                   │
//!                             api (external + custom metrics, TLS) <───────────┤
//!                             scaler (KEDA's external scaler, gRPC, mTLS) <────┤
//!                             status (JSON, /metrics) <────────────────────────┘
//! ```
//!
//! The core (`plimsoll_core`, in `src/core`) is pure. The edges in this crate depend on the core and never on each
//! other; [`serve`] wires them. `tests/it/architecture.rs` holds this to be true.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod kubernetes;
pub mod scaler;
pub mod serve;
pub mod server;
pub mod source;
pub mod status;
pub mod tasks;
pub mod telemetry;
