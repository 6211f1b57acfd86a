//! How long answered requests took: the counters of one pod, which only grow.

/// Upper bounds in seconds; the last bucket is open.
const BOUNDS: [(f64, &str); 10] = [
    (0.05, "0.05"),
    (0.1, "0.1"),
    (0.25, "0.25"),
    (0.5, "0.5"),
    (1.0, "1.0"),
    (2.5, "2.5"),
    (5.0, "5.0"),
    (10.0, "10.0"),
    (30.0, "30.0"),
    (60.0, "60.0"),
];

/// Answered requests by duration. Fractions are kept between two scrapes and never shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Durations {
    buckets: [f64; BOUNDS.len() + 1],
    seconds: f64,
}

impl Durations {
    /// `requests` were answered, each within `seconds`.
    pub(super) fn add(&mut self, requests: f64, seconds: f64) {
        let bucket = BOUNDS.iter().position(|(bound, _)| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket] += requests;
        self.seconds += requests * seconds;
    }

    /// The bucket lines: the label `le` and the requests that took at most so long.
    pub(super) fn cumulative(&self) -> Vec<(&'static str, u64)> {
        let bounds = BOUNDS.iter().map(|(_, label)| *label).chain(["+Inf"]);
        let mut below = 0.0;
        bounds
            .zip(self.buckets)
            .map(|(label, requests)| {
                below += requests;
                (label, whole(below))
            })
            .collect()
    }

    /// All requests.
    pub(super) fn count(&self) -> u64 {
        whole(self.buckets.iter().sum())
    }

    /// All seconds.
    pub(super) fn sum(&self) -> f64 {
        self.seconds
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of requests of one test run")]
fn whole(requests: f64) -> u64 {
    requests as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_end_with_the_count() {
        let mut durations = Durations::default();
        durations.add(40.0, 0.3);
        durations.add(2.5, 600.0);
        let lines = durations.cumulative();
        assert_eq!(lines[2], ("0.25", 0));
        assert_eq!(lines[3], ("0.5", 40));
        assert_eq!(lines[10], ("+Inf", 42));
        assert_eq!(durations.count(), 42);
    }
}
