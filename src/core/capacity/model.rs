//! A view with its ledger, on which changes are tried and taken back.

use std::sync::Arc;

use super::{Edit, EditError, Inventory, Ledger, edit};
use crate::{
    cluster::{Change, View},
    policy::Policy,
};

/// What is tried on. Whatever was tried, it is as it was afterwards.
#[derive(Debug)]
pub struct Model<'m> {
    /// The cluster.
    pub view: &'m mut View,
    /// What its pods hold.
    pub ledger: &'m mut Arc<Ledger>,
    /// The policy.
    pub policy: &'m Policy,
}

// === impl Model ===

impl Model<'_> {
    /// Makes the edits one after the other, asks, and takes them back.
    pub(super) fn tried<T>(
        &mut self,
        edits: &[Edit],
        ask: impl FnOnce(&View, &Inventory<'_>) -> T,
    ) -> Result<T, EditError> {
        // What was found out about all nodes is of the cluster as it is, and is not to be forgotten for a trial.
        let memo = Arc::make_mut(self.ledger).set_memo_aside();
        let mut back = Vec::new();
        let made = edits.iter().try_for_each(|edit| {
            for change in edit.changes(self.view)? {
                back.extend(edit::inverse(&change, self.view));
                self.apply(change);
            }
            Ok(())
        });
        let answer = made.map(|()| ask(self.view, &Inventory::with(self.view, self.policy, Arc::clone(self.ledger))));
        for change in back.into_iter().rev() {
            self.apply(change);
        }
        Arc::make_mut(self.ledger).restore_memo(memo);
        answer
    }

    fn apply(&mut self, change: Change) {
        Arc::make_mut(self.ledger).note(self.view, &change);
        self.view.apply(change);
    }
}
