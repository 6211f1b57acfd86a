//! The answer to an instant query, decoded strictly: whatever is not as documented is an error, never a number.
//!
//! Form: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{…},"value":[time,"text"]}]}}` of the
//! HTTP API, plus `warnings`, `infos` (Prometheus, Thanos) and `isPartial` (VictoriaMetrics).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};

/// Most labels of a series.
const MAX_LABELS: usize = 64;
/// Longest value of a label, in bytes.
const MAX_LABEL_BYTES: usize = 2048;
/// Error types of the HTTP API (Prometheus v3 `web/api/v1/api.go`): only these are repeated, never a foreign text.
const ERROR_TYPES: [&str; 9] = [
    "timeout",
    "canceled",
    "execution",
    "bad_data",
    "internal",
    "unavailable",
    "not_found",
    "not_acceptable",
    "too_many_requests",
];

/// What an answer may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most series.
    pub(super) series: usize,
    /// Whether a partial answer is good enough.
    pub(super) allow_partial: bool,
}

/// An instant vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Vector {
    pub(super) series: Vec<Series>,
}

/// One series of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// Labels without the metric's name.
    pub(super) labels: BTreeMap<String, String>,
    /// Time of evaluation.
    pub(super) at: Timestamp,
    /// Value; may be NaN or infinite.
    pub(super) value: f64,
}

/// The first look: everything but the series.
#[derive(Deserialize)]
struct Head {
    status: String,
    #[serde(default)]
    data: Option<Kind>,
    #[serde(default, rename = "errorType")]
    error_type: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    infos: Option<Vec<IgnoredAny>>,
    #[serde(default, rename = "isPartial")]
    is_partial: Option<bool>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "resultType")]
    result_type: String,
}

/// The second look: the series of a vector.
#[derive(Deserialize)]
struct Tail {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<RawSeries>,
}

#[derive(Deserialize)]
struct RawSeries {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// Decodes an answer.
pub(super) fn decode(body: &[u8], limits: Limits) -> Result<Vector, String> {
    check_head(serde_json::from_slice(body).map_err(|error| malformed(&error))?, limits)?;
    let tail: Tail = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    if tail.data.result.len() > limits.series {
        return Err(format!("the answer has more than {} series (maxSeries)", limits.series));
    }
    let series = tail.data.result.into_iter().map(series).collect::<Result<_, _>>()?;
    Ok(Vector { series })
}

/// A time in seconds since 1970, if it can be one.
pub(super) fn seconds(seconds: f64) -> Option<Timestamp> {
    let millis = (seconds * 1000.0).round();
    // Beyond the year 2286 there is no sample time, and within it the conversion is exact.
    if !(0.0..1e13).contains(&millis) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 1e13")]
    Timestamp::from_millisecond(millis as i64).ok()
}

fn check_head(head: Head, limits: Limits) -> Result<(), String> {
    if head.status != "success" {
        let kind = head.error_type.filter(|kind| ERROR_TYPES.contains(&kind.as_str()));
        return Err(format!("the server answers with an error: {}", kind.as_deref().unwrap_or("of unknown type")));
    }
    let some = |list: &Option<Vec<IgnoredAny>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let partial = head.is_partial == Some(true) || some(&head.warnings) || some(&head.infos);
    if partial && !limits.allow_partial {
        return Err("the answer is partial or carries warnings (allowPartial)".to_owned());
    }
    match head.data {
        Some(data) if data.result_type == "vector" => Ok(()),
        Some(_) => Err("the answer is no instant vector, which the query must give".to_owned()),
        None => Err("the answer has no data".to_owned()),
    }
}

fn series(raw: RawSeries) -> Result<Series, String> {
    let mut labels = raw.metric;
    labels.remove("__name__");
    if labels.len() > MAX_LABELS {
        return Err(format!("a series has more than {MAX_LABELS} labels"));
    }
    if labels.iter().any(|(name, value)| name.len().max(value.len()) > MAX_LABEL_BYTES) {
        return Err(format!("a series has a label longer than {MAX_LABEL_BYTES} bytes"));
    }
    let (at, text) = raw.value;
    let at = seconds(at).ok_or("a series has a time that is none")?;
    let value = number(&text).ok_or("a series has a value that is no number")?;
    Ok(Series { labels, at, value })
}

/// A value as Prometheus prints it: Rust reads the same decimal forms, and more that it never prints.
fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ if text.len() <= 400 && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
            text.parse().ok()
        }
        _ => None,
    }
}

/// Where the JSON breaks; its own words could repeat foreign text.
fn malformed(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "ends early",
        serde_json::error::Category::Data => "is not of the documented form",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "is not JSON",
    };
    format!("the answer {what} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { series: 2, allow_partial: false };

    fn vector(series: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
    }

    fn one(value: &str) -> String {
        vector(&format!(r#"{{"metric":{{"__name__":"x","pod":"p"}},"value":[1700000000.5,{value}]}}"#))
    }

    fn error(body: &str) -> String {
        decode(body.as_bytes(), LIMITS).expect_err(body)
    }

    #[test]
    fn a_vector_is_decoded_without_the_metrics_name() {
        let decoded = decode(one(r#""12.5""#).as_bytes(), LIMITS).unwrap();
        assert_eq!(decoded.series[0].labels, BTreeMap::from([("pod".to_owned(), "p".to_owned())]));
        assert_eq!((decoded.series[0].value, decoded.series[0].at.as_millisecond()), (12.5, 1_700_000_000_500));
        assert!(decode(one(r#""NaN""#).as_bytes(), LIMITS).unwrap().series[0].value.is_nan(), "the store refuses it");
    }

    #[test]
    fn what_is_not_as_documented_is_an_error_and_never_a_number() {
        let long = format!(r#"{{"metric":{{"pod":"{}"}},"value":[1,"1"]}}"#, "x".repeat(2049));
        let series = r#"{"metric":{},"value":[1,"1"]}"#;
        for (body, expected) in [
            ("", "the answer ends early (line 1, column 0)"),
            ("<html>", "the answer is not JSON (line 1, column 1)"),
            ("[]", "the answer is not of the documented form"),
            (&one("12"), "the answer is not of the documented form"),
            (&one("null"), "the answer is not of the documented form"),
            (&one(r#""0x10""#), "a series has a value that is no number"),
            (&one(r#""infinity""#), "a series has a value that is no number"),
            (&vector(r#"{"metric":{},"value":[-5,"1"]}"#), "a series has a time that is none"),
            (&vector(&[series; 3].join(",")), "the answer has more than 2 series (maxSeries)"),
            (&vector(&long), "a series has a label longer than 2048 bytes"),
            (r#"{"status":"success"}"#, "the answer has no data"),
            (
                r#"{"status":"error","errorType":"bad_data","error":"secret"}"#,
                "the server answers with an error: bad_data",
            ),
            (r#"{"status":"error","errorType":"<b>"}"#, "the server answers with an error: of unknown type"),
            (
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#,
                "the answer is no instant vector, which the query must give",
            ),
        ] {
            assert!(error(body).starts_with(expected), "{body}: {}", error(body));
        }
    }

    #[test]
    fn a_partial_answer_is_an_error_unless_it_is_allowed() {
        for mark in [r#""isPartial":true"#, r#""warnings":["x"]"#, r#""infos":["x"]"#] {
            let body = one(r#""1""#).replacen('{', &format!("{{{mark},"), 1);
            assert!(error(&body).contains("allowPartial"), "{body}");
            assert!(decode(body.as_bytes(), Limits { allow_partial: true, ..LIMITS }).is_ok());
        }
        let body = one(r#""1""#).replacen('{', r#"{"warnings":[],"isPartial":false,"#, 1);
        assert!(decode(body.as_bytes(), LIMITS).is_ok());
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!(r#"{{"status":"success","data":{}1{}}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(error(&deep).starts_with("the answer is not"));
        let ignored = format!(r#"{{"x":{}1{},"status":"error"}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(error(&ignored).starts_with("the"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
            let _: Result<Vector, String> = decode(&body, LIMITS);
            let good = one(r#""12.5""#);
            let _: Result<Vector, String> = decode(&good.as_bytes()[..cut.min(good.len())], LIMITS);
        }
    }
}
