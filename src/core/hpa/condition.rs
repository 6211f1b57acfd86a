//! The conditions of an HPA's status, kept as the controller keeps them: set in place, appended, rarely removed.

use crate::object::hpa::HpaCondition;

/// Sets the first condition of that type, or appends it (`setConditionInList`).
pub(super) fn set(conditions: &mut Vec<HpaCondition>, kind: &str, status: bool, reason: &str) {
    let status = if status { "True" } else { "False" };
    let new = HpaCondition { kind: kind.to_owned(), status: status.to_owned(), reason: reason.to_owned() };
    match conditions.iter_mut().find(|condition| condition.kind == kind) {
        Some(condition) => *condition = new,
        None => conditions.push(new),
    }
}

/// Removes every condition of that type (`removeCondition`).
pub(super) fn remove(conditions: &mut Vec<HpaCondition>, kind: &str) {
    conditions.retain(|condition| condition.kind != kind);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_place_when_it_changes() {
        let mut conditions = Vec::new();
        set(&mut conditions, "AbleToScale", true, "SucceededGetScale");
        set(&mut conditions, "ScalingActive", true, "ValidMetricFound");
        set(&mut conditions, "AbleToScale", false, "FailedGetScale");
        let seen: Vec<_> = conditions.iter().map(|c| (&*c.kind, &*c.status, &*c.reason)).collect();
        assert_eq!(seen, [("AbleToScale", "False", "FailedGetScale"), ("ScalingActive", "True", "ValidMetricFound")]);
        remove(&mut conditions, "AbleToScale");
        assert_eq!(conditions.len(), 1);
    }
}
