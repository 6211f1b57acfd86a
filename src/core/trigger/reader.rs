//! Taking keys out of metadata one by one, and noting what is wrong with them.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::Problem;
use crate::{
    hpa::GoDuration,
    object::meta::StringMap,
    quantity::{MILLI_MAX, Milli, Quantity},
    suggest::nearest,
};

/// Most keys of a trigger; there are not half as many to know.
const MAX_KEYS: usize = 64;
/// Longest key, in bytes.
const MAX_KEY: usize = 128;
/// Longest value, in bytes: that of a query.
const MAX_VALUE: usize = 4 * 1024;

/// Metadata that is being read.
pub(super) struct Reader<'a> {
    metadata: &'a StringMap,
    read: BTreeSet<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Begins; metadata beyond any bound are not looked at further.
    pub(super) fn new(metadata: &'a StringMap) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if metadata.len() > MAX_KEYS {
            let message = format!("{} keys; at most {MAX_KEYS} are read", metadata.len());
            problems.push(Problem { key: "metadata".to_owned(), message });
        }
        for (key, value) in metadata {
            if key.len() > MAX_KEY {
                problems.push(Problem { key: cut(key), message: format!("longer than {MAX_KEY} bytes") });
            } else if value.len() > MAX_VALUE {
                problems.push(Problem { key: key.clone(), message: format!("longer than {MAX_VALUE} bytes") });
            }
        }
        if problems.is_empty() { Ok(Self { metadata, read: BTreeSet::new(), problems }) } else { Err(problems) }
    }

    /// The text of a key, which counts as read; none if it is absent or blank.
    pub(super) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.read.insert(key);
        self.metadata.get(key).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// The one of several keys that mean the same, with its text.
    pub(super) fn one_of(&mut self, keys: &[&'static str]) -> Option<(&'static str, &'a str)> {
        let given: Vec<_> = keys.iter().filter_map(|key| Some((*key, self.text(key)?))).collect();
        if let [(first, _), (second, _), ..] = given.as_slice() {
            self.problem(second, format!("means the same as {first}: give one of them"));
        }
        given.first().copied()
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let hint = nearest(text, names.iter().copied()).map(|near| format!(", did you mean {near:?}?"));
            let hint = hint.unwrap_or_default();
            self.problem(key, format!("unknown value {:?}{hint} (one of {})", cut(text), names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A number above 0, in thousandths, rounded up as Kubernetes does.
    pub(super) fn positive(&mut self, key: &'static str) -> Option<Milli> {
        let text = self.text(key)?;
        self.positive_of(key, text)
    }

    /// The same of a text that was taken already.
    pub(super) fn positive_of(&mut self, key: &'static str, text: &str) -> Option<Milli> {
        let number = self.number_of(key, text)?;
        if number.0 > 0 {
            return Some(number);
        }
        self.problem(key, format!("{:?} is not above 0", cut(text)));
        None
    }

    /// A number from 0, in thousandths.
    pub(super) fn number(&mut self, key: &'static str) -> Option<Milli> {
        let text = self.text(key)?;
        self.number_of(key, text)
    }

    fn number_of(&mut self, key: &'static str, text: &str) -> Option<Milli> {
        let number = if text.len() > 64 { None } else { text.parse::<Quantity>().ok().map(Quantity::milli) };
        match number {
            Some(number) if (0..=MILLI_MAX).contains(&number.0) => Some(number),
            Some(_) => {
                self.problem(key, format!("{:?} is not between 0 and 1e12", cut(text)));
                None
            }
            None => {
                self.problem(key, format!("{:?} is not a number (examples: 10, 0.5, 500m)", cut(text)));
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(&mut self, key: &'static str, text: &str, from: i64, to: i64) -> Option<i64> {
        let number = text.parse::<i64>().ok().filter(|number| (from..=to).contains(number));
        if number.is_none() {
            self.problem(key, format!("{:?} is not a whole number from {from} to {to}", cut(text)));
        }
        number
    }

    /// A duration within bounds, in Go form.
    pub(super) fn duration(&mut self, key: &'static str, from: &str, to: &str) -> Option<SignedDuration> {
        let text = self.text(key)?;
        self.duration_of(key, text, from, to)
    }

    /// The same of a text that was taken already.
    pub(super) fn duration_of(
        &mut self,
        key: &'static str,
        text: &str,
        from: &str,
        to: &str,
    ) -> Option<SignedDuration> {
        let nanos = |text: &str| text.parse::<GoDuration>().ok().map(|duration| duration.nanos);
        let found = nanos(text).filter(|found| nanos(from) <= Some(*found) && Some(*found) <= nanos(to));
        if found.is_none() {
            self.problem(key, format!("{:?} is not a duration from {from} to {to} (examples: 30s, 500ms)", cut(text)));
        }
        found.map(SignedDuration::from_nanos)
    }

    /// Notes something that is wrong.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), message: message.into() });
    }

    /// Whether something is wrong so far.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The keys that nobody has read.
    pub(super) fn unread(&self) -> Vec<&'a str> {
        self.metadata.keys().map(String::as_str).filter(|key| !self.read.contains(key)).collect()
    }

    /// Everything that is wrong, sorted by key.
    pub(super) fn problems(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
