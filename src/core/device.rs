//! Devices of dynamic resource allocation, selected and counted as kube-scheduler v1.36.3 does.
//!
//! ```text
//!  ResourceSlices ──pool──> devices of complete pools ─┐
//!  DeviceClasses, requests ──> Signature ──expression──┴──> Selection: which devices answer which signature
//!  claims ──request──> Claim: what is asked for ──search──> how many pods find their devices on a node
//! ```
//!
//! Nothing here guesses: a signature that is not understood to the letter has a reason in place of devices.

mod expression;
mod pool;
pub(crate) mod request;
pub(crate) mod search;
mod selection;
mod signature;

pub use selection::{DeviceSet, OnNode, Selection};
pub(crate) use selection::{bits, key};
pub use signature::Signature;
