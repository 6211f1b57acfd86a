//! Digests: equal bytes mean equal records.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::hex;

/// SHA-256 of the JSON form, in hexadecimal.
///
/// Maps in records are sorted and fields have a fixed order, so the form is canonical; what cannot be written has the
/// digest of nothing.
pub(super) fn of(record: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(record).unwrap_or_default();
    hex::encode(&Sha256::digest(bytes))
}
