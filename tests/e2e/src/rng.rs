//! A small deterministic random number generator (SplitMix64), so that a seed names a case for ever.

/// The generator.
#[derive(Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `low..=high`.
    pub(crate) fn range(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high.saturating_sub(low)).unwrap_or(0).saturating_add(1);
        low.saturating_add(i64::try_from(self.next() % span).unwrap_or(0))
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: i64) -> bool {
        self.range(0, 99) < percent
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        let last = i64::try_from(options.len()).unwrap_or(i64::MAX) - 1;
        options[usize::try_from(self.range(0, last)).unwrap_or(0)]
    }
}
