//! Devices of dynamic resource allocation, selected and counted as kube-scheduler v1.36.3 does.
//!
//! ```text
//!  ResourceSlices ──pool──> devices of complete pools ─┐
//!  DeviceClasses, requests ──> Signature ──expression──┴──> Selection: which devices answer which signature
//! ```
//!
//! Nothing here guesses: a signature that is not understood to the letter has a reason in place of devices.

mod expression;
mod pool;
mod selection;

pub use selection::{DeviceSet, Selection, Signature};
