//! One line of the exposition format, scanned left to right without going back.
//!
//! Works on a `&str` whose structure is all ASCII: every slice is cut at a byte that was compared with an ASCII
//! character or at a position that `char_indices` or `find` gave, so no cut can fall inside a character.

use std::borrow::Cow;

use super::{Fault, Label, Limits, TimestampUnit};

/// A sample without its labels.
pub(super) struct Head<'body> {
    pub(super) name: &'body str,
    pub(super) value: f64,
    pub(super) timestamp_ms: Option<i64>,
}

/// Reads one line: none for blank lines and comments. `labels` is emptied first and holds the labels afterwards.
pub(super) fn read<'body>(
    raw: &'body [u8],
    limits: &Limits,
    unit: TimestampUnit,
    labels: &mut Vec<Label<'body>>,
) -> Result<Option<Head<'body>>, Fault> {
    labels.clear();
    let line = str::from_utf8(raw).map_err(|_| Fault::Utf8)?;
    let line = trim(line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, rest) = take_name(line, limits, |byte| byte == b':').ok_or(Fault::Name)??;
    let rest = skip(rest);
    let rest = match rest.strip_prefix('{') {
        Some(inside) => read_labels(inside, limits, labels)?,
        None if rest.len() == line.len() - name.len() => return Err(Fault::Value),
        None => rest,
    };
    let (value, timestamp_ms) = read_numbers(rest, unit)?;
    Ok(Some(Head { name, value, timestamp_ms }))
}

/// Reads labels up to the closing brace; returns what follows it.
fn read_labels<'body>(
    mut rest: &'body str,
    limits: &Limits,
    labels: &mut Vec<Label<'body>>,
) -> Result<&'body str, Fault> {
    loop {
        rest = skip(rest);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        if labels.len() == limits.labels {
            return Err(Fault::ManyLabels);
        }
        let (label, after) = read_label(rest, limits)?;
        if labels.iter().any(|other| other.name == label.name) {
            return Err(Fault::DuplicateLabel);
        }
        labels.push(label);
        rest = skip(after);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err(Fault::Separator),
        }
    }
}

fn read_label<'body>(text: &'body str, limits: &Limits) -> Result<(Label<'body>, &'body str), Fault> {
    let (name, rest) = take_name(text, limits, |_| false).ok_or(Fault::Label)??;
    let rest = skip(rest).strip_prefix('=').ok_or(Fault::Label)?;
    let rest = skip(rest).strip_prefix('"').ok_or(Fault::Label)?;
    let (end, escaped) = closing_quote(rest).ok_or(Fault::Quote)?;
    if end > limits.label_value {
        return Err(Fault::LongLabelValue);
    }
    let raw = &rest[..end];
    let value = if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) };
    Ok((Label { name, value }, &rest[end + 1..]))
}

/// Position of the quote that ends a value, and whether there is a backslash before it.
fn closing_quote(text: &str) -> Option<(usize, bool)> {
    let mut escaped = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((index, escaped)),
            b'\\' => {
                escaped = true;
                bytes.next();
            }
            _ => {}
        }
    }
    None
}

/// Resolves `\\`, `\"` and `\n`; a backslash before anything else stays, as in Prometheus.
fn unescape(raw: &str) -> String {
    let mut value = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            value.push(char);
            continue;
        }
        match chars.next() {
            Some('n') => value.push('\n'),
            Some(quoted @ ('\\' | '"')) => value.push(quoted),
            Some(other) => value.extend(['\\', other]),
            None => value.push('\\'),
        }
    }
    value
}

/// Reads the value and what may follow it: a timestamp, an exemplar (which is skipped).
fn read_numbers(rest: &str, unit: TimestampUnit) -> Result<(f64, Option<i64>), Fault> {
    let (value, rest) = take_word(rest);
    let value = number(value).ok_or(Fault::Value)?;
    if ended(rest) {
        return Ok((value, None));
    }
    let (word, rest) = take_word(rest);
    let timestamp = timestamp(word, unit).ok_or(Fault::Timestamp)?;
    if ended(rest) { Ok((value, Some(timestamp))) } else { Err(Fault::Trailing) }
}

/// Whether nothing follows that matters: the end of the line or an exemplar.
fn ended(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with("# {")
}

/// A number as Go prints it. One too large for an `f64` is no number, as for Prometheus; infinity must be spelt out.
fn number(word: &str) -> Option<f64> {
    let value: f64 = word.parse().ok()?;
    let spelt_out = || word.bytes().any(|byte| byte.eq_ignore_ascii_case(&b'i'));
    (!value.is_infinite() || spelt_out()).then_some(value)
}

fn timestamp(word: &str, unit: TimestampUnit) -> Option<i64> {
    match unit {
        TimestampUnit::Milliseconds => word.parse().ok(),
        TimestampUnit::Seconds => milliseconds(number(word)?),
    }
}

/// Milliseconds of a time in seconds; none beyond the year 33,658, where they stop being exact.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn milliseconds(seconds: f64) -> Option<i64> {
    (seconds.abs() <= 1e12).then(|| (seconds * 1000.0).round() as i64)
}

/// Splits off a name: none if there is none at all, an error if it is too long. `more` allows further bytes.
fn take_name<'body>(
    text: &'body str,
    limits: &Limits,
    more: impl Fn(u8) -> bool,
) -> Option<Result<(&'body str, &'body str), Fault>> {
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || more(byte);
    let end = text.bytes().position(|byte| !starts(byte) && !byte.is_ascii_digit()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if !name.bytes().next().is_some_and(starts) {
        return None;
    }
    Some(if name.len() > limits.name { Err(Fault::LongName) } else { Ok((name, rest)) })
}

/// Splits off the next word; the rest begins with the word after it.
fn take_word(text: &str) -> (&str, &str) {
    let text = skip(text);
    let (word, rest) = text.split_at(text.find(blank).unwrap_or(text.len()));
    (word, skip(rest))
}

fn skip(text: &str) -> &str {
    text.trim_start_matches(blank)
}

fn trim(text: &str) -> &str {
    text.trim_matches(blank)
}

/// Only these two separate words; other white space is content.
fn blank(char: char) -> bool {
    char == ' ' || char == '\t'
}
