//! What a feed knows that it does not know: objects that do not decode, and a kind that may not be read.

use std::collections::BTreeMap;

use plimsoll_core::cluster::Doubts;

use super::frame::{Identity, Undecodable};
use crate::kubernetes::request::Failure;

/// Most undecodable objects that are told apart; beyond it the whole kind is in doubt until the next list.
const MAX_OBJECTS: usize = 1000;
/// Longest reason in characters.
const MAX_REASON: usize = 300;

/// Doubts of one feed, and which of them the view has been told.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Why the kind may not be read.
    denied: Option<String>,
    /// Why an object does not decode, by namespace and name.
    objects: BTreeMap<(String, String), String>,
    /// Whether there were too many to keep.
    flooded: bool,
    told: Doubts,
}

// === impl Doubt ===

impl Doubt {
    /// The kind cannot be read.
    pub(super) fn deny(&mut self, failure: &Failure) {
        self.denied = Some(shortened(&failure.to_string()));
    }

    /// The kind can be read again, and nothing was missed.
    pub(super) fn permit(&mut self) {
        self.denied = None;
    }

    /// A complete list, in which these did not decode.
    pub(super) fn list(&mut self, undecodable: &[Undecodable]) {
        (self.denied, self.flooded) = (None, false);
        self.objects.clear();
        for bad in undecodable {
            self.note(&bad.identity, Some(bad));
        }
    }

    /// An object decodes or is gone, or it does not decode.
    pub(super) fn note(&mut self, identity: &Identity, bad: Option<&Undecodable>) {
        let key = (identity.namespace.clone(), identity.name.clone());
        match bad {
            None => {
                self.objects.remove(&key);
            }
            Some(_) if self.objects.len() >= MAX_OBJECTS && !self.objects.contains_key(&key) => self.flooded = true,
            Some(bad) => {
                self.objects.insert(key, shortened(&format!("{} cannot be read: {}", identity.path(), bad.reason)));
            }
        }
    }

    /// What to tell before a change is handed over: new doubts, while the old ones still stand.
    pub(super) fn before(&mut self) -> Option<Doubts> {
        let mut both = self.current();
        both.extend(self.told.clone());
        self.tell(both)
    }

    /// What to tell once a change has been handed over: only what is still in doubt.
    pub(super) fn after(&mut self) -> Option<Doubts> {
        let current = self.current();
        self.tell(current)
    }

    fn tell(&mut self, doubts: Doubts) -> Option<Doubts> {
        if doubts == self.told {
            return None;
        }
        self.told.clone_from(&doubts);
        Some(doubts)
    }

    /// One reason a namespace, that of its first object.
    fn current(&self) -> Doubts {
        let mut doubts = Doubts::new();
        for ((namespace, _), reason) in &self.objects {
            doubts.entry(namespace.clone()).or_insert_with(|| reason.clone());
        }
        let flood = self.flooded.then(|| format!("more than {MAX_OBJECTS} objects cannot be read"));
        if let Some(all) = self.denied.clone().or(flood) {
            doubts.insert(String::new(), all);
        }
        doubts
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(namespace: &str, name: &str) -> Undecodable {
        let identity = Identity { namespace: namespace.to_owned(), name: name.to_owned(), ..Identity::default() };
        Undecodable { identity, reason: "much".to_owned(), object: Box::default() }
    }

    fn namespaces(doubts: Option<Doubts>) -> Option<Vec<String>> {
        doubts.map(|doubts| doubts.into_keys().collect())
    }

    #[test]
    fn old_doubts_stand_until_the_change_that_ends_them_is_handed_over() {
        let mut doubt = Doubt::default();
        doubt.list(&[bad("a", "x")]);
        assert_eq!(namespaces(doubt.before()).unwrap(), ["a"]);
        assert_eq!(doubt.after(), None);
        doubt.list(&[bad("b", "y")]);
        assert_eq!(namespaces(doubt.before()).unwrap(), ["a", "b"]);
        assert_eq!(namespaces(doubt.after()).unwrap(), ["b"]);
    }

    #[test]
    fn a_namespace_is_in_doubt_until_the_last_of_its_bad_objects_is_well_or_gone() {
        let mut doubt = Doubt::default();
        doubt.list(&[bad("a", "x"), bad("a", "y")]);
        assert_eq!(doubt.after().unwrap()["a"], "a/x cannot be read: much");
        doubt.note(&bad("a", "x").identity, None);
        assert_eq!(doubt.after().unwrap()["a"], "a/y cannot be read: much");
        doubt.note(&bad("a", "y").identity, None);
        assert_eq!(doubt.after(), Some(Doubts::new()));
    }

    #[test]
    fn too_many_bad_objects_put_the_whole_kind_in_doubt_until_the_next_list() {
        let mut doubt = Doubt::default();
        let many: Vec<_> = (0..=MAX_OBJECTS).map(|n| bad("a", &n.to_string())).collect();
        doubt.list(&many);
        assert_eq!(namespaces(doubt.after()).unwrap(), ["", "a"]);
        doubt.list(&[]);
        assert_eq!(doubt.after(), Some(Doubts::new()));
    }
}
