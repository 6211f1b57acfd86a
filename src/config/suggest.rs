//! The paths of the file's keys, and which of them was probably meant.

use std::collections::BTreeSet;

use plimsoll_core::suggest::nearest;
use serde_json::Value;

/// The path that an unknown key was probably meant for, of all paths of the file: by its whole name or by its end.
pub(super) fn nearest_path<'a>(word: &str, paths: &'a BTreeSet<String>) -> Option<&'a str> {
    let whole = nearest(word, paths.iter().map(String::as_str));
    whole.or_else(|| {
        let ends = paths.iter().map(|path| path.rsplit('.').next().unwrap_or(path));
        let end = nearest(word, ends)?;
        paths.iter().map(String::as_str).find(|path| path.rsplit('.').next() == Some(end))
    })
}

/// All paths of keys in a value; the items of a list are named `list[]`.
pub(super) fn paths(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, "", &mut found);
    found
}

fn collect(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                collect(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, &format!("{prefix}[]"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_wrong_place_is_found_by_its_whole_name_or_its_end() {
        let paths = paths(&serde_json::json!({"scrape": {"interval": 1}, "list": [{"queries": 1}]}));
        assert_eq!(nearest_path("scrapeIntervall", &paths), Some("scrape.interval"));
        assert_eq!(nearest_path("querys", &paths), Some("list[].queries"));
    }
}
