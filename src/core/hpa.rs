//! The HorizontalPodAutoscaler's arithmetic, equal to the controller of Kubernetes 1.36.3.
//!
//! Ported rule by rule from `pkg/controller/podautoscaler/{horizontal,replica_calculator}.go`, overflows included,
//! and compared with the compiled controller by the end-to-end suite. Nothing here reads a clock or fetches a value:
//! time, pods, values and what the controller remembers are arguments.

pub mod number;
pub mod proposal;
pub mod tolerance;

pub use tolerance::Tolerances;
