//! The second half of reading a body: rows become one reading per signal and pod.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Aggregate, Kind, Observation, Profile, Reading, Rule, collect::Row, identity::Subject};
use crate::{histogram::Histogram, signal::Refused};

/// Largest number of series of one histogram of one pod; those beyond are refused.
const SERIES_MAX: usize = 256;

/// Refused values by reason.
type Refusals = BTreeMap<Refused, u64>;

/// Rows of one pod: device, then alternative.
type Devices<'r> = BTreeMap<&'r str, BTreeMap<usize, Vec<&'r Row>>>;

/// How a device is shared, as one metric shows it.
#[derive(Default)]
struct Sharing<'r> {
    subjects: BTreeSet<&'r Subject>,
    values: Vec<f64>,
    /// Whether the device itself is reported beside the pods.
    device_series: bool,
}

/// The values of a pod on the way to one reading.
#[derive(Default)]
struct Values {
    found: Vec<f64>,
    oldest: Option<Timestamp>,
    approximate: bool,
}

pub(super) fn reduce(profile: &Profile, rows: Vec<Row>, refused: &mut Refusals) -> Vec<Observation> {
    let mut by_rule: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
    for row in rows {
        by_rule.entry(row.rule).or_default().push(row);
    }
    let mut observations = Vec::new();
    for (index, rows) in by_rule {
        let rule = &profile.signals[index];
        let sharing = sharing(&rows);
        for (subject, devices) in by_subject(&rows) {
            let observation = match rule.kind {
                Kind::Gauge { aggregate } => gauge(&devices, aggregate, &sharing, refused),
                Kind::Histogram { quantile } => histogram(&devices, quantile, refused),
            };
            observations.extend(observation.map(|reading| reading.of(rule, subject)));
        }
    }
    observations
}

/// A reading with what belongs to it.
struct Read {
    reading: Reading,
    at: Option<Timestamp>,
    approximate: bool,
}

impl Read {
    fn of(self, rule: &Rule, subject: &Subject) -> Observation {
        Observation {
            signal: rule.signal.clone(),
            pod: subject.pod.clone(),
            uid: subject.uid.clone(),
            reading: self.reading,
            at: self.at,
            approximate: self.approximate,
        }
    }
}

/// Rows by pod; those of devices that belong to none are left out.
fn by_subject(rows: &[Row]) -> BTreeMap<&Subject, Devices<'_>> {
    let mut subjects: BTreeMap<&Subject, Devices<'_>> = BTreeMap::new();
    for row in rows {
        if let Some(subject) = &row.subject {
            let devices = subjects.entry(subject).or_default();
            devices.entry(&row.device).or_default().entry(row.origin).or_default().push(row);
        }
    }
    subjects
}

fn sharing(rows: &[Row]) -> BTreeMap<(usize, &str), Sharing<'_>> {
    let mut devices: BTreeMap<(usize, &str), Sharing<'_>> = BTreeMap::new();
    for row in rows {
        let sharing = devices.entry((row.origin, &row.device)).or_default();
        match &row.subject {
            None => sharing.device_series = true,
            Some(subject) => {
                sharing.subjects.insert(subject);
                sharing.values.push(row.value);
            }
        }
    }
    devices
}

impl Sharing<'_> {
    /// Pods among which a value must be divided: without a series of the device itself, the same value for each of
    /// several pods is the device's value, copied.
    fn divisor(&self) -> f64 {
        let copied = self.values.windows(2).all(|pair| equal(pair[0], pair[1]));
        if copied && !self.device_series { self.subjects.len().max(1) as f64 } else { 1.0 }
    }
}

/// One value for a pod: per device the first usable alternative, then all of them aggregated.
fn gauge(
    devices: &Devices<'_>,
    aggregate: Aggregate,
    sharing: &BTreeMap<(usize, &str), Sharing<'_>>,
    refused: &mut Refusals,
) -> Option<Read> {
    let mut pod = Values::default();
    for (device, origins) in devices {
        for (origin, rows) in origins {
            let rows = distinct(rows, refused);
            if rows.is_empty() {
                continue;
            }
            let sharing = sharing.get(&(*origin, *device));
            pod.take(&rows, sharing);
            break;
        }
    }
    let value = aggregate.apply(&pod.found)?;
    Some(Read { reading: Reading::Gauge(value), at: pod.oldest, approximate: pod.approximate })
}

impl Values {
    fn take(&mut self, rows: &[&Row], sharing: Option<&Sharing<'_>>) {
        self.approximate |= sharing.is_some_and(|sharing| sharing.subjects.len() > 1);
        let divisor = sharing.map_or(1.0, Sharing::divisor);
        for row in rows {
            self.found.push(row.value / divisor);
            self.oldest = oldest(self.oldest, row.at);
        }
    }
}

impl Aggregate {
    fn apply(self, values: &[f64]) -> Option<f64> {
        if values.is_empty() {
            return None;
        }
        let sum: f64 = values.iter().sum();
        Some(match self {
            Self::Sum => sum,
            Self::Mean => sum / values.len() as f64,
            Self::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// One row per series. The same series twice with different values is believed in neither; each such pair counts.
fn distinct<'r>(rows: &[&'r Row], refused: &mut Refusals) -> Vec<&'r Row> {
    let mut series: BTreeMap<&str, Option<&Row>> = BTreeMap::new();
    for row in rows {
        let entry = series.entry(&row.series).or_insert(Some(row));
        if entry.is_some_and(|first| !equal(first.value, row.value)) {
            *entry = None;
            *refused.entry(Refused::Duplicate).or_default() += 1;
        }
    }
    series.into_values().flatten().collect()
}

/// The series of a pod's histogram, of the first alternative that has a usable one.
fn histogram(devices: &Devices<'_>, quantile: f64, refused: &mut Refusals) -> Option<Read> {
    let mut origins: BTreeMap<usize, BTreeMap<String, Vec<&Row>>> = BTreeMap::new();
    for (device, alternatives) in devices {
        for (origin, rows) in alternatives {
            let series = origins.entry(*origin).or_default();
            for row in rows {
                series.entry(format!("{device}{}", row.series)).or_default().push(row);
            }
        }
    }
    origins.into_values().find_map(|series| {
        let at = series.values().flatten().fold(None, |at, row| oldest(at, row.at));
        let series = histograms(series, refused);
        let reading = Reading::Histogram { quantile, series };
        matches!(&reading, Reading::Histogram { series, .. } if !series.is_empty()).then_some(Read {
            reading,
            at,
            approximate: false,
        })
    })
}

fn histograms(series: BTreeMap<String, Vec<&Row>>, refused: &mut Refusals) -> BTreeMap<String, Histogram> {
    let mut histograms = BTreeMap::new();
    for (series, rows) in series {
        if histograms.len() == SERIES_MAX {
            *refused.entry(Refused::TooManySeries).or_default() += 1;
            continue;
        }
        match Histogram::new(rows.iter().map(|row| (row.bound, row.value)).collect()) {
            Ok(histogram) => drop(histograms.insert(series, histogram)),
            Err(_) => *refused.entry(Refused::Bucket).or_default() += 1,
        }
    }
    histograms
}

/// The older of two times, an unknown one counting as now.
fn oldest(left: Option<Timestamp>, right: Option<Timestamp>) -> Option<Timestamp> {
    left.into_iter().chain(right).min()
}

#[expect(clippy::float_cmp, reason = "two copies of one printed number are equal to the bit")]
fn equal(left: f64, right: f64) -> bool {
    left == right
}
