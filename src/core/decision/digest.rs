//! Digests: equal bytes mean equal records.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// SHA-256 of the JSON form, in hexadecimal.
///
/// Maps in records are sorted and fields have a fixed order, so the form is canonical; what cannot be written has the
/// digest of nothing.
pub(super) fn of(record: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(record).unwrap_or_default();
    let hex = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    Sha256::digest(bytes).iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 15)]).collect()
}
