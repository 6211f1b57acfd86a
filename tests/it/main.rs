//! Integration tests: one binary, servers on loopback with port 0.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod api;
mod architecture;
mod kubernetes;
mod reference;
mod scaler;
mod source;
