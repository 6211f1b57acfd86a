//! Splitting a sum over the items that it came from.

use crate::quantity::Milli;

/// Splits `total` over as many items as `parts` has, in proportion to them, to the last thousandth.
///
/// Each share is rounded down and the remainder goes to the first item, so that the shares add up to `total` exactly;
/// negative parts count as 0. Without any part that is above 0, all of it goes to the first item.
#[must_use]
pub fn apportion(total: Milli, parts: &[Milli]) -> Vec<Milli> {
    let whole: i128 = parts.iter().map(|part| i128::from(part.0.max(0))).sum();
    let share = |part: &Milli| {
        let exact = i128::from(total.0).saturating_mul(i128::from(part.0.max(0))).checked_div(whole).unwrap_or(0);
        i64::try_from(exact).unwrap_or(0)
    };
    let mut shares: Vec<i64> = parts.iter().map(share).collect();
    let given: i64 = shares.iter().sum();
    if let Some(first) = shares.first_mut() {
        *first = first.saturating_add(total.0.saturating_sub(given));
    }
    shares.into_iter().map(Milli).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up_to_the_last_thousandth() {
        let shares = apportion(Milli(100), &[Milli(1), Milli(1), Milli(1)]);
        assert_eq!(shares, [Milli(34), Milli(33), Milli(33)]);
    }

    #[test]
    fn without_anything_to_be_proportional_to_the_first_item_carries_all() {
        assert_eq!(apportion(Milli(7), &[Milli(0), Milli(0)]), [Milli(7), Milli(0)]);
        assert!(apportion(Milli(7), &[]).is_empty());
    }
}
