//! What was probably meant: the known word that is nearest to an unknown one.

use std::collections::BTreeSet;

use serde_json::Value;

/// The nearest of some words, if one is near enough: at most one edit in three letters.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(word);
    if wanted.is_empty() || wanted.len() > 100 {
        return None;
    }
    let scored = candidates.into_iter().map(|candidate| (distance(&wanted, &plain(candidate)), candidate));
    let (edits, candidate) = scored.min_by_key(|(edits, _)| *edits)?;
    (edits <= (wanted.len() / 3).max(1)).then_some(candidate)
}

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

/// Lower case, and without the marks by which people join words.
fn plain(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '.' | '_' | '-' | '[' | ']')).flat_map(char::to_lowercase).collect()
}

/// Edits from one word to the other: insertion, removal, replacement, and exchange of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_whatever_joins_its_parts() {
        for (word, expected) in
            [("interva", Some("interval")), ("time_out", Some("timeout")), ("itnerval", Some("interval"))]
        {
            assert_eq!(nearest(word, ["interval", "timeout"]), expected);
        }
        assert_eq!(nearest("colour", ["interval", "timeout"]), None);
        assert_eq!(nearest("", ["interval"]), None);
    }

    #[test]
    fn a_key_in_the_wrong_place_is_found_by_its_whole_name_or_its_end() {
        let paths = paths(&serde_json::json!({"scrape": {"interval": 1}, "list": [{"queries": 1}]}));
        assert_eq!(nearest_path("scrapeIntervall", &paths), Some("scrape.interval"));
        assert_eq!(nearest_path("querys", &paths), Some("list[].queries"));
    }
}
