//! The metrics APIs: the router as a value, and the whole server over TLS beside a kube-apiserver that is not one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod answers;
mod authentication;
mod authorization;
pub(crate) mod certificates;
mod client;
mod connections;
mod discovery;
mod health;
mod keda;
mod kube_apiserver;
mod rotation;
mod routes;
pub(crate) mod world;
