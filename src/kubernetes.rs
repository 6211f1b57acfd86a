//! The Kubernetes edge: what happens in the cluster becomes [`plimsoll_core::cluster::Change`]s.
//!
//! ```text
//!  client ──> request (bounded calls) ──> watch (one task a kind) ──┐
//!                                    ├──> scale (/scale of other kinds) ──> Change ──> mpsc ──> cluster view
//!                                    ├──> autoscaler (is there one?) ─┤
//!                                    └──> api_service (whose is it?) ─┘
//!                      health: when each of them was last heard of ──> readiness, staleness, status
//!  events <── what happened to a workload, for people
//! ```
//!
//! kube's own `watcher` is not used: it keeps heartbeats (bookmarks, re-established watches) to itself, so that a
//! quiet watch cannot be told from a dead one, and its guard against undecodable objects goes through a generic tree.

pub mod api_service;
pub mod autoscaler;
pub mod client;
pub mod events;
pub mod health;
pub mod request;
pub mod scale;
pub mod watch;

pub use client::client;
pub use health::{Feed, WatchHealth};
