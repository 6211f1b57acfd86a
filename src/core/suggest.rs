//! What was probably meant: the known word that is nearest to an unknown one.

/// The nearest of some words, if one is near enough: at most one edit in three letters.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(word);
    if wanted.is_empty() || wanted.len() > 100 {
        return None;
    }
    let scored = candidates.into_iter().map(|candidate| (distance(&wanted, &plain(candidate)), candidate));
    let (edits, candidate) = scored.min_by_key(|(edits, _)| *edits)?;
    (edits <= (wanted.len() / 3).max(1)).then_some(candidate)
}

/// Lower case, and without the marks by which people join words.
fn plain(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '.' | '_' | '-' | '[' | ']')).flat_map(char::to_lowercase).collect()
}

/// Edits from one word to the other: insertion, removal, replacement, and exchange of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut above = None;
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut left = None;
        for (j, y) in b.iter().enumerate() {
            let replaced = at(&last, j) + usize::from(x != y);
            let mut edits = replaced.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if left == Some(x) && above == Some(y) && j > 0 {
                edits = edits.min(at(&before_last, j - 1) + 1);
            }
            row.push(edits);
            left = Some(y);
        }
        above = Some(x);
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
}
