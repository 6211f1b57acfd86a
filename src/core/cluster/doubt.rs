//! What is there but cannot be read: rights that are missing or were taken away, and objects that do not decode.
//!
//! What was known of it before stays in the view, for people; whoever depends on it must ask [`View::unreadable`].

use std::collections::BTreeMap;

use super::{Effect, View};

/// Why objects of one resource are not known, by namespace; the empty namespace stands for all objects of it.
pub type Doubts = BTreeMap<String, String>;

impl View {
    /// Why not all objects of a resource (plural, e.g. `resourcequotas`) in a namespace are known, if they are not. The
    /// namespace of what belongs to none is empty.
    #[must_use]
    pub fn unreadable(&self, resource: &str, namespace: &str) -> Option<&str> {
        let doubts = self.unreadable.get(resource)?;
        doubts.get("").or_else(|| doubts.get(namespace)).map(String::as_str)
    }

    pub(super) fn apply_doubts(&mut self, resource: String, doubts: Doubts) -> Effect {
        let told = self.unreadable.get(&resource);
        if told.map_or(doubts.is_empty(), |told| *told == doubts) {
            return Effect::Same;
        }
        if doubts.is_empty() {
            self.unreadable.remove(&resource);
        } else {
            self.unreadable.insert(resource, doubts);
        }
        Effect::Matters
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Change, Effect, View},
        Doubts,
    };

    fn doubt(namespace: &str) -> Change {
        let doubts = Doubts::from([(namespace.to_owned(), "403".to_owned())]);
        Change::Unreadable { resource: "resourcequotas".to_owned(), doubts }
    }

    #[test]
    fn a_doubt_about_one_namespace_leaves_the_others_known_and_one_about_all_does_not() {
        let mut view = View::default();
        assert_eq!(view.apply(doubt("ml")), Effect::Matters);
        assert_eq!(view.apply(doubt("ml")), Effect::Same);
        assert_eq!(view.unreadable("resourcequotas", "ml"), Some("403"));
        assert_eq!(view.unreadable("resourcequotas", "web"), None);
        assert_eq!(view.unreadable("limitranges", "ml"), None);
        view.apply(doubt(""));
        assert_eq!(view.unreadable("resourcequotas", "web"), Some("403"));
    }

    #[test]
    fn without_doubts_the_view_is_as_it_was() {
        let mut view = View::default();
        view.apply(doubt("ml"));
        let none = Change::Unreadable { resource: "resourcequotas".to_owned(), doubts: Doubts::new() };
        assert_eq!(view.apply(none), Effect::Matters);
        assert_eq!(view, View::default());
    }
}
