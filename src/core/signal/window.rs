//! The increase of one pod's histogram over the last minutes.
//!
//! Every scrape adds what each series counted since its previous scrape to a slot of ten seconds; the slots of the
//! last five minutes are kept, so that a window can be summed without keeping the scrapes themselves.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::Bounds;
use crate::histogram::{self, Flag, Histogram, Quantile, THIN};

/// The normal window.
const NORMAL: SignedDuration = SignedDuration::from_secs(60);

/// The window that is used where the normal one is thin.
const WIDE: SignedDuration = SignedDuration::from_secs(300);

/// Length of a slot: six of them make the normal window.
const SLOT_SECONDS: i64 = 10;

/// Slots that are kept: those of the wide window, four times over for a rollout with changing layouts.
const SLOTS_MAX: usize = 124;

/// One pod's histogram.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// The quantile that is published.
    pub(super) quantile: f64,
    /// Time of the newest scrape.
    pub(super) last: Option<Timestamp>,
    /// Counts of each series of the newest scrape.
    series: BTreeMap<String, Histogram>,
    /// Counts of the series of the scrape before that the newest one lacks.
    missed: BTreeMap<String, Histogram>,
    slots: VecDeque<Slot>,
}

/// What was counted in ten seconds.
#[derive(Clone, Debug)]
struct Slot {
    /// Seconds since 1970 at its start, a multiple of its length.
    start: i64,
    increase: Histogram,
}

impl Window {
    pub(super) fn new(quantile: f64) -> Self {
        Self { quantile, last: None, series: BTreeMap::new(), missed: BTreeMap::new(), slots: VecDeque::new() }
    }

    /// What is held, in numbers: a bucket is one, eight bytes of a series' name are one.
    pub(super) fn len(&self) -> usize {
        let series = self.series.iter().chain(&self.missed);
        let series: usize = series.map(|(name, counts)| name.len().div_ceil(8) + counts.buckets()).sum();
        series + self.slots.iter().map(|slot| slot.increase.buckets()).sum::<usize>()
    }

    /// Adds a scrape; one that is not newer than the last is not looked at.
    ///
    /// The first scrape of a pod counts nothing: nobody knows when it was counted. A series that appears later
    /// began at 0 after the last scrape, so all of it counts. One that is missing once, e.g. for a malformed line, has
    /// not begun anew when it is back; one that is missing twice is forgotten, or a pod could make up series for ever.
    pub(super) fn record(&mut self, series: BTreeMap<String, Histogram>, at: Timestamp) {
        if self.last.is_some_and(|last| at <= last) {
            return;
        }
        if self.last.is_some() {
            for (name, now) in &series {
                let then = self.series.get(name).or_else(|| self.missed.get(name));
                self.count(then.map_or_else(|| now.clone(), |then| now.increase_since(then)), at);
            }
        }
        self.missed = std::mem::replace(&mut self.series, series);
        self.missed.retain(|name, _| !self.series.contains_key(name));
        self.last = Some(at);
    }

    fn count(&mut self, increase: Histogram, at: Timestamp) {
        let start = at.as_second().div_euclid(SLOT_SECONDS) * SLOT_SECONDS;
        if self.slots.iter_mut().rev().take_while(|slot| slot.start == start).any(|slot| slot.increase.add(&increase)) {
            return;
        }
        self.slots.push_back(Slot { start, increase });
        if self.slots.len() > SLOTS_MAX {
            self.slots.pop_front();
        }
    }

    /// Forgets slots that no window reaches; returns whether anything is left to build on.
    pub(super) fn prune(&mut self, now: Timestamp, bounds: &Bounds) -> bool {
        let oldest = first_slot(now, WIDE);
        self.slots.retain(|slot| slot.start >= oldest);
        self.last.is_some_and(|last| bounds.hold(last, now, WIDE))
    }

    /// The slots that the window of that length reaches.
    fn since(&self, now: Timestamp, length: SignedDuration) -> impl Iterator<Item = &Histogram> {
        let oldest = first_slot(now, length);
        self.slots.iter().filter(move |slot| slot.start >= oldest).map(|slot| &slot.increase)
    }
}

/// Start of the first slot that a window reaches.
fn first_slot(now: Timestamp, length: SignedDuration) -> i64 {
    (now.as_second() - length.as_secs()).div_euclid(SLOT_SECONDS) * SLOT_SECONDS
}

/// The quantile over several pods: increases are summed per bucket first. None if nothing was observed.
pub(super) fn quantile(windows: &[&Window], now: Timestamp) -> Option<Quantile> {
    let q = windows.first()?.quantile;
    let over = |length| {
        let merged = histogram::merge(windows.iter().flat_map(|window| window.since(now, length)))?;
        let mut quantile = merged.histogram.quantile(q)?;
        quantile.flags.extend(merged.mixed.then_some(Flag::MixedLayouts));
        Some(quantile)
    };
    let normal = over(NORMAL);
    if normal.as_ref().is_some_and(|quantile| quantile.observations >= THIN) {
        return normal;
    }
    let mut wide = over(WIDE)?;
    wide.flags.insert(Flag::Widened);
    Some(wide)
}
