//! The Kubernetes edge against a small API server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod api;
mod api_service;
mod capacity;
mod events;
mod harness;
mod watch;
mod withheld;
