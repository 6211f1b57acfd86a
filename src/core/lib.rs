//! The pure core of Plimsoll.
//!
//! No I/O, no clock, no runtime, no environment: time, randomness and the state of the cluster are arguments, the
//! explanation of an answer is part of the answer. The service, the offline commands, the simulator, the fuzz
//! targets and the benches all call the same functions.
//!
//! ```text
//!  object ──> cluster::View ───────────────┐
//!  exposition ─> profile ─> signal ────────┼─> decision::decide ─> Snapshot ─┐
//!  policy, previous, now ──────────────────┘        │                        ├─> answer
//!                                 capacity, hpa <───┘   live scale ─> clamp ─┘
//! ```

pub mod answer;
pub mod autoscaler;
pub mod capacity;
pub mod clamp;
pub mod cluster;
pub mod coexistence;
pub mod decision;
pub mod device;
pub mod exposition;
pub mod hex;
pub mod histogram;
pub mod hpa;
pub mod keda;
pub mod migrate;
pub mod object;
pub mod policy;
pub mod profile;
pub mod quantity;
pub mod selector;
pub mod signal;
pub mod suggest;
pub mod trigger;
