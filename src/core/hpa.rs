//! The HorizontalPodAutoscaler's arithmetic, equal to the controller of Kubernetes 1.36.3.
//!
//! Ported rule by rule from `pkg/controller/podautoscaler/{horizontal,replica_calculator}.go`, overflows included,
//! and compared with the compiled controller by the end-to-end suite. Nothing here reads a clock or fetches a value:
//! time, pods, values and what the controller remembers are arguments.
//!
//! ```text
//!  evaluate ─┬─ defaults            what the API server would have filled in
//!            ├─ metric ─┬─ values   what was fetched
//!            │          ├─ pods     who is ready, unready, missing; who requests what
//!            │          └─ proposal the arithmetic
//!            ├─ stabilization       recommendations of the window
//!            ├─ rate                behaviour policies and the old fixed limit
//!            └─ condition           what the status says afterwards
//! ```

mod condition;
mod defaults;
mod evaluate;
mod metric;
mod pods;
mod rate;
mod requests;
mod stabilization;

pub mod duration;
pub mod number;
pub mod proposal;
pub mod state;
pub mod tolerance;
pub mod values;

pub use defaults::with_defaults;
pub use duration::GoDuration;
pub use evaluate::{ControllerConfig, Outcome, Proposal, Situation, evaluate, namespace_of};
pub use pods::list as pods_of;
pub use state::State;
pub use tolerance::{Tolerances, tolerances_of};
pub use values::Values;
