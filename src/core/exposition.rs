//! The text exposition format, read without copying: Prometheus text 0.0.4 and the OpenMetrics lines seen in practice.
//!
//! ```text
//! name {label="value", …} value [timestamp] [# exemplar]
//! ```
//!
//! This was written although `prometheus-parse` exists because that crate (0.2.5) splits labels without honouring
//! quotes, so that a label value can forge another label, and drops names with `:` silently. Here quotes are
//! honoured, a label that occurs twice makes its line malformed, every size is bounded, and a malformed line is
//! counted and reported by number and reason while the other lines go on.
//!
//! Lenient where real exporters are odd: spaces around braces, commas and `=`, a trailing comma, `{}`, names with
//! `:`, CRLF, no final newline, a backslash that escapes nothing (the DCGM exporter escapes no label value). A bare
//! quote inside a value is *not* guessed at: that line is malformed. `# HELP` and `# TYPE` are comments here, since
//! a profile knows the types.

mod line;

use std::{borrow::Cow, fmt};

/// Bounds on one body. Line bounds make the line malformed, body bounds refuse the whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in the body.
    pub bytes: usize,
    /// Samples in the body.
    pub samples: usize,
    /// Labels on one sample.
    pub labels: usize,
    /// Bytes in a metric or label name.
    pub name: usize,
    /// Bytes in a label value, as written.
    pub label_value: usize,
    /// Malformed lines that are reported one by one; the others are only counted.
    pub reported: usize,
}

/// One sample, borrowed from the body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'s, 'body> {
    /// Metric name.
    pub name: &'body str,
    /// Labels in the order of the line; no name occurs twice.
    pub labels: &'s [Label<'body>],
    /// Value; may be NaN or infinite.
    pub value: f64,
    /// Timestamp in milliseconds since 1970, where the line has one.
    pub timestamp_ms: Option<i64>,
}

/// One label of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label<'body> {
    /// Name.
    pub name: &'body str,
    /// Value, escapes resolved; borrowed unless there were some.
    pub value: Cow<'body, str>,
}

/// What happened while a body was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Samples read.
    pub samples: usize,
    /// Malformed lines.
    pub malformed: usize,
    /// The first of the malformed lines.
    pub faults: Vec<LineFault>,
}

/// A malformed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Fault {
    /// Not UTF-8.
    #[error("is not UTF-8")]
    Utf8,
    /// No metric name where one must be.
    #[error("does not begin with a metric name")]
    Name,
    /// A metric or label name above the limit.
    #[error("has a name longer than the limit")]
    LongName,
    /// A label that is not `name="value"`.
    #[error("has a label that is not name=\"value\"")]
    Label,
    /// Neither `,` nor `}` after a label.
    #[error("has neither a comma nor a closing brace after a label")]
    Separator,
    /// A label value whose closing quote is missing.
    #[error("has a label value without a closing quote")]
    Quote,
    /// A label that occurs twice.
    #[error("has the same label twice")]
    DuplicateLabel,
    /// More labels than the limit.
    #[error("has more labels than the limit")]
    ManyLabels,
    /// A label value above the limit.
    #[error("has a label value longer than the limit")]
    LongLabelValue,
    /// No number where the value must be.
    #[error("has no number as its value")]
    Value,
    /// A timestamp that is no number or out of range.
    #[error("has a timestamp that is not a number in range")]
    Timestamp,
    /// Text after the sample.
    #[error("goes on after the sample")]
    Trailing,
}

/// Why a whole body is refused. Samples already handed out must be dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Too many bytes.
    #[error("the body has {bytes} bytes, more than the limit of {limit}; raise the limit or expose fewer series")]
    Bytes {
        /// Bytes in the body.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many samples.
    #[error("the body has more than {limit} samples; raise the limit or expose fewer series")]
    Samples {
        /// The limit.
        limit: usize,
    },
    /// Something other than the text format, e.g. HTML or the protobuf form.
    #[error("no line is a sample: the first fault is that line {} {}; is this a metrics endpoint?", .0.line, .0.fault)]
    NotMetrics(LineFault),
}

/// Reads a body, handing each well-formed sample to `visit`.
///
/// # Errors
/// When a bound of the whole body is passed, or when lines are malformed and none is a sample. `visit` may have seen
/// samples by then: they must be dropped.
pub fn read<'body>(
    body: &'body [u8],
    limits: &Limits,
    mut visit: impl FnMut(Sample<'_, 'body>),
) -> Result<Report, BodyError> {
    if body.len() > limits.bytes {
        return Err(BodyError::Bytes { bytes: body.len(), limit: limits.bytes });
    }
    let unit = TimestampUnit::of(body);
    let mut report = Report::default();
    let mut labels = Vec::new();
    for (index, raw) in body.split(|byte| *byte == b'\n').enumerate() {
        match line::read(raw, limits, unit, &mut labels) {
            Ok(None) => {}
            Ok(Some(_)) if report.samples == limits.samples => {
                return Err(BodyError::Samples { limit: limits.samples });
            }
            Ok(Some(head)) => {
                report.samples += 1;
                visit(Sample { name: head.name, labels: &labels, value: head.value, timestamp_ms: head.timestamp_ms });
            }
            Err(fault) => report.add(LineFault { line: index + 1, fault }, limits),
        }
    }
    match report.faults.first() {
        Some(first) if report.samples == 0 => Err(BodyError::NotMetrics(first.clone())),
        _ => Ok(report),
    }
}

/// Unit of the timestamps in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimestampUnit {
    /// Prometheus text: whole milliseconds.
    Milliseconds,
    /// OpenMetrics: seconds with decimals.
    Seconds,
}

// === impl TimestampUnit ===

impl TimestampUnit {
    /// OpenMetrics requires `# EOF` as the last line, and the Prometheus format has no use for it.
    fn of(body: &[u8]) -> Self {
        if body.trim_ascii_end().ends_with(b"# EOF") { Self::Seconds } else { Self::Milliseconds }
    }
}

// === impl Limits ===

impl Default for Limits {
    /// Eight times what a node with 16 GPUs exposes; no peer bounds these at all.
    fn default() -> Self {
        Self { bytes: 8 << 20, samples: 50_000, labels: 64, name: 512, label_value: 2 << 10, reported: 5 }
    }
}

// === impl Sample ===

impl Sample<'_, '_> {
    /// The value of a label; an empty one counts as absent, as it does in Prometheus.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.name == name).map(|label| &*label.value).filter(|value| !value.is_empty())
    }
}

// === impl Report ===

impl Report {
    fn add(&mut self, fault: LineFault, limits: &Limits) {
        self.malformed += 1;
        if self.faults.len() < limits.reported.max(1) {
            self.faults.push(fault);
        }
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} {}", self.line, self.fault)
    }
}

#[cfg(test)]
mod tests;
