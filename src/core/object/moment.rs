//! A time in one word: pods have several each.

use std::num::NonZeroI64;

use jiff::Timestamp;

/// So far before the epoch that no time is earlier.
const BEGIN: i64 = -1_000_000_000_000;

/// A time in whole seconds, which is all that `metav1.Time` has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(
    /// Seconds since `BEGIN`.
    NonZeroI64,
);

// === impl Moment ===

impl From<Timestamp> for Moment {
    fn from(time: Timestamp) -> Self {
        Self(NonZeroI64::new(time.as_second() - BEGIN).unwrap_or(NonZeroI64::MIN))
    }
}

impl From<Moment> for Timestamp {
    fn from(moment: Moment) -> Self {
        Self::from_second(moment.0.get().saturating_add(BEGIN)).unwrap_or(Self::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_there_is_comes_back_and_keeps_its_place() {
        let times = [Timestamp::MIN, Timestamp::UNIX_EPOCH, "2026-11-21T10:00:00Z".parse().unwrap(), Timestamp::MAX];
        let moments = times.map(Moment::from);
        for (time, moment) in times.into_iter().zip(moments) {
            assert_eq!(Timestamp::from(moment).as_second(), time.as_second());
        }
        assert!(moments.is_sorted() && size_of::<Option<Moment>>() == 8);
    }
}
