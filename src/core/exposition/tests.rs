use std::{fmt::Write as _, io};

use proptest::prelude::*;

use super::*;

/// A sample that owns its parts.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
    timestamp_ms: Option<i64>,
}

fn parse_with(body: &[u8], limits: &Limits) -> Result<(Vec<Owned>, Report), BodyError> {
    let mut samples = Vec::new();
    let report = read(body, limits, |sample| {
        samples.push(Owned {
            name: sample.name.to_owned(),
            labels: sample.labels.iter().map(|label| (label.name.to_owned(), label.value.to_string())).collect(),
            value: sample.value,
            timestamp_ms: sample.timestamp_ms,
        });
    })?;
    Ok((samples, report))
}

fn parse(body: &str) -> (Vec<Owned>, Report) {
    parse_with(body.as_bytes(), &Limits::default()).unwrap()
}

fn one(line: &str) -> Owned {
    let (samples, report) = parse(line);
    assert_eq!((samples.len(), report.malformed), (1, 0), "{line:?} {report:?}");
    samples[0].clone()
}

fn sample(name: &str, labels: &[(&str, &str)], value: f64) -> Owned {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Owned { name: name.to_owned(), labels, value, timestamp_ms: None }
}

fn fault(line: &[u8]) -> Fault {
    // A good line beside it, since a body without any sample is refused as a whole.
    let body = [b"good 1\n", line, b"\n"].concat();
    let (samples, report) = parse_with(&body, &Limits::default()).unwrap();
    assert_eq!((samples.len(), report.malformed), (1, 1), "{line:?}");
    assert_eq!(report.faults[0].line, 2);
    report.faults[0].fault
}

#[test]
fn a_scrape_of_a_dcgm_exporter_is_read() {
    let body = "# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).\n# TYPE DCGM_FI_DEV_GPU_UTIL gauge\n\
        DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"GPU-1\",device=\"nvidia0\",modelName=\"NVIDIA A100-SXM4-80GB\",hostname=\"n1\",container=\"\",namespace=\"ml\",pod=\"vllm-0\"} 87\n";
    let (samples, report) = parse(body);
    assert_eq!(report, Report { samples: 1, malformed: 0, faults: vec![] });
    assert_eq!(samples[0].labels.len(), 8);
    assert_eq!((samples[0].labels[3].1.as_str(), samples[0].value), ("NVIDIA A100-SXM4-80GB", 87.0));
}

#[test]
fn what_real_exporters_write_oddly_is_read() {
    let plain = sample("m", &[("a", "b")], 1.0);
    for line in [
        "m{a=\"b\"} 1",
        "m{a=\"b\",} 1",
        "m { a = \"b\" , } 1",
        "\tm\t{\ta\t=\t\"b\"\t}\t1\t",
        "m{a=\"b\"}1",
        "m{a=\"b\"} 1\r\n",
        "  m{a=\"b\"} 1.0e0  ",
        "m{a=\"b\"} +1",
        "m{a=\"b\"} 1 # {trace_id=\"x\"} 0.5 1520879607.789",
    ] {
        assert_eq!(one(line), plain, "{line:?}");
    }
    assert_eq!(one("m{} 1"), sample("m", &[], 1.0));
    assert_eq!(one("m 1"), sample("m", &[], 1.0));
    assert_eq!(one("m{a=\"\"} 1"), sample("m", &[("a", "")], 1.0));
    assert_eq!(one(":tensorflow:serving:latency 1"), sample(":tensorflow:serving:latency", &[], 1.0));
    assert_eq!(one("vllm:num_requests_waiting{engine=\"0\"} 1").name, "vllm:num_requests_waiting");
}

#[test]
fn comments_blank_lines_and_the_end_mark_are_no_samples() {
    let (samples, report) = parse("\n# a comment {\n#\n  # indented\n\r\n# TYPE m gauge\n# EOF\n");
    assert_eq!((samples.len(), report), (0, Report::default()));
    assert_eq!(parse("").0, vec![]);
}

#[test]
fn values_are_those_of_go() {
    for (text, value) in [("+Inf", f64::INFINITY), ("-Inf", f64::NEG_INFINITY), ("inf", f64::INFINITY), ("1e-3", 0.001)]
    {
        assert_eq!(one(&format!("m {text}")).value.to_bits(), value.to_bits(), "{text}");
    }
    assert!(one("m NaN").value.is_nan());
    assert_eq!(one("m 9223372036854775794").value.to_bits(), 9_223_372_036_854_775_808.0_f64.to_bits());
}

#[test]
fn timestamps_are_milliseconds_or_in_openmetrics_seconds() {
    assert_eq!(one("m 1 1700000000123").timestamp_ms, Some(1_700_000_000_123));
    assert_eq!(one("m{a=\"b\"} 1 -5").timestamp_ms, Some(-5));
    assert_eq!(one("m 1 1700000000.123\n# EOF").timestamp_ms, Some(1_700_000_000_123));
    assert_eq!(one("m 1 1700000000 # {} 1 2\n# EOF\n").timestamp_ms, Some(1_700_000_000_000));
    assert_eq!(fault(b"m 1 1700000000.123"), Fault::Timestamp);
    assert_eq!(fault(b"m 1 99999999999999999999"), Fault::Timestamp);
}

#[test]
fn escapes_are_resolved_and_a_backslash_that_escapes_nothing_stays() {
    let value = |line: &str| one(line).labels[0].1.clone();
    assert_eq!(value(r#"m{a="x\\y"} 1"#), r"x\y");
    assert_eq!(value(r#"m{a="x\"y"} 1"#), "x\"y");
    assert_eq!(value(r#"m{a="x\ny"} 1"#), "x\ny");
    assert_eq!(value(r#"m{a="C:\temp\é"} 1"#), r"C:\temp\é");
    assert_eq!(value(r#"m{a="Tesla } V100 = , #"} 1"#), "Tesla } V100 = , #");
}

#[test]
fn a_label_value_can_never_forge_another_label() {
    let forged = one(r#"q{namespace="tenant-a",model="x,namespace=victim"} 5"#);
    assert_eq!(forged.labels[0].1, "tenant-a");
    assert_eq!(forged.labels[1].1, "x,namespace=victim");
    // An exporter that does not escape at all: the forged label is there twice, or the line falls apart.
    assert_eq!(fault(br#"q{model="x",pod="victim",pod="own"} 5"#), Fault::DuplicateLabel);
    assert_eq!(fault(br#"q{model="x"pod="own"} 5"#), Fault::Separator);
    assert_eq!(one(r#"q{model="a\",pod=\"victim"} 5"#).labels.len(), 1);
}

#[test]
fn each_malformed_line_is_named_with_its_fault() {
    let long_name = format!("{} 1", "n".repeat(513));
    let long_value = format!("m{{a=\"{}\"}} 1", "v".repeat(2049));
    let many_labels = format!("m{{{}}} 1", (0..65).fold(String::new(), |text, i| text + &format!("l{i}=\"\",")));
    let corpus: Vec<(&[u8], Fault)> = vec![
        (b"\xff\xfe 1", Fault::Utf8),
        (b"m{a=\"\xc3\x28\"} 1", Fault::Utf8),
        (b"1m 1", Fault::Name),
        (b"{a=\"b\"} 1", Fault::Name),
        (b"{\"quoted.name\"} 1", Fault::Name),
        (b"= 1", Fault::Name),
        ("größe 1".as_bytes(), Fault::Value),
        ("λ 1".as_bytes(), Fault::Name),
        (b"<html>", Fault::Name),
        (b"m", Fault::Value),
        (b"m ", Fault::Value),
        (b"m-x 1", Fault::Value),
        (b"m=1", Fault::Value),
        (b"m{a=\"b\"}", Fault::Value),
        (b"m one", Fault::Value),
        (b"m 1e999", Fault::Value),
        (b"m 0x10", Fault::Value),
        (b"m 1_000", Fault::Value),
        (b"m 1,5", Fault::Value),
        (b"m 1\x0b2", Fault::Value),
        (b"m # {} 1", Fault::Value),
        (b"m{", Fault::Label),
        (b"m{a", Fault::Label),
        (b"m{a=", Fault::Label),
        (b"m{a=b} 1", Fault::Label),
        (b"m{a=\"b\",,} 1", Fault::Label),
        (b"m{,} 1", Fault::Label),
        (b"m{1a=\"b\"} 1", Fault::Label),
        (b"m{a:b=\"c\"} 1", Fault::Label),
        (b"m{\"a\"=\"b\"} 1", Fault::Label),
        (b"m{a='b'} 1", Fault::Label),
        (b"m{a=\"b", Fault::Quote),
        (b"m{a=\"b\\\"} 1", Fault::Quote),
        (b"m{a=\"b\\", Fault::Quote),
        (b"m{a=\"b\" 1", Fault::Separator),
        (b"m{a=\"b\" c=\"d\"} 1", Fault::Separator),
        (b"m{a=\"b\"c\"} 1", Fault::Separator),
        (b"m{a=\"b\"", Fault::Separator),
        (b"m{a=\"b\",a=\"b\"} 1", Fault::DuplicateLabel),
        (b"m 1 now", Fault::Timestamp),
        (b"m 1 #1700000000000", Fault::Timestamp),
        (b"m 1 2 # note", Fault::Trailing),
        (b"m 1 2 3", Fault::Trailing),
        (b"m 1 2 x # {} 1", Fault::Trailing),
        (long_name.as_bytes(), Fault::LongName),
        (long_value.as_bytes(), Fault::LongLabelValue),
        (many_labels.as_bytes(), Fault::ManyLabels),
    ];
    for (line, expected) in corpus {
        assert_eq!(fault(line), expected, "{:?}", String::from_utf8_lossy(line));
    }
}

#[test]
fn other_lines_go_on_after_a_malformed_one_and_only_the_first_are_listed() {
    let body = format!("a 1\n{}b 2\n", "broken\n".repeat(100));
    let (samples, report) = parse(&body);
    assert_eq!(samples.len(), 2);
    assert_eq!((report.samples, report.malformed, report.faults.len()), (2, 100, 5));
    assert_eq!(report.faults[4].to_string(), "line 6 has no number as its value");
}

#[test]
fn a_whole_body_beyond_its_bounds_is_refused() {
    let limits = Limits { bytes: 20, samples: 2, ..Limits::default() };
    assert_eq!(parse_with(b"a 1\nb 2\n", &limits).unwrap().0.len(), 2);
    assert_eq!(parse_with(b"a 1\nb 2\nc 3\n", &limits), Err(BodyError::Samples { limit: 2 }));
    assert_eq!(parse_with(&[b'\n'; 21], &limits), Err(BodyError::Bytes { bytes: 21, limit: 20 }));
}

#[test]
fn what_is_no_exposition_at_all_is_an_error_that_says_so() {
    for body in ["<html><body>404</body></html>", "{\"error\": \"not found\"}", "404 page not found\n"] {
        let error = parse_with(body.as_bytes(), &Limits::default()).unwrap_err();
        assert!(error.to_string().ends_with("is this a metrics endpoint?"), "{error}");
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), (-1_000_000_i64..1_000_000).prop_map(|whole| f64::from(i32::try_from(whole).unwrap()))]
}

/// Escapes as the format demands.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_with(&body, &Limits::default());
    }

    #[test]
    fn no_mutation_of_a_good_line_makes_it_panic(
        at in 0_usize..80,
        bytes in prop::collection::vec(prop::sample::select(b"{}\",=\\ \n\r#:_a1.\xc3\xa9\xff\t".to_vec()), 0..6),
    ) {
        let mut body = b"vllm:queue{pod=\"a\",model=\"x\\\"y\"} 12.5 1700000000000\nother{a=\"b\"} 1\n".to_vec();
        let at = at.min(body.len());
        body.splice(at..at, bytes);
        let _ = parse_with(&body, &Limits::default());
    }

    #[test]
    fn whatever_is_escaped_comes_back(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
        labels in prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,10}", "(?s).{0,40}", 0..8),
        value in number(),
        timestamp_ms in proptest::option::of(any::<i64>()),
    ) {
        let mut line = format!("{name}{{");
        for (name, value) in &labels {
            write!(line, "{name}=\"{}\",", escaped(value)).unwrap();
        }
        write!(line, "}} {value:?}").unwrap();
        if let Some(timestamp) = timestamp_ms {
            write!(line, " {timestamp}").unwrap();
        }
        let read = one(&line);
        prop_assert_eq!(&read.name, &name);
        prop_assert_eq!(read.labels, labels.into_iter().collect::<Vec<_>>());
        prop_assert!(read.value.to_bits() == value.to_bits() || read.value.is_nan() && value.is_nan());
        prop_assert_eq!(read.timestamp_ms, timestamp_ms);
    }

    /// Where `prometheus-parse` is right: names without `:`, at least one label or no braces, values without
    /// `,`, `=`, `}`, quotes, backslashes and surrounding quotes, a space before the number, no duplicate labels.
    #[test]
    fn the_differential_peer_agrees_where_it_is_right(
        rows in prop::collection::vec((
            "[a-zA-Z_][a-zA-Z0-9_]{0,20}",
            prop::collection::btree_map("[a-z_][a-z0-9_]{0,10}", "[-a-zA-Z0-9 ./:#é]{0,20}", 0..6),
            number(),
            proptest::option::of(0_i64..4_000_000_000_000),
        ), 1..20),
    ) {
        let mut body = String::new();
        for (name, labels, value, timestamp) in &rows {
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let timestamp = timestamp.map(|timestamp| format!(" {timestamp}")).unwrap_or_default();
            writeln!(body, "{name}{labels} {value:?}{timestamp}").unwrap();
        }
        let ours = parse(&body).0;
        let lines = body.lines().map(|line| Ok::<_, io::Error>(line.to_owned()));
        let theirs = prometheus_parse::Scrape::parse(lines).unwrap().samples;
        prop_assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let prometheus_parse::Value::Untyped(value) = theirs.value else { panic!("typed") };
            prop_assert_eq!(&ours.name, &theirs.metric);
            prop_assert!(ours.value.to_bits() == value.to_bits() || ours.value.is_nan() && value.is_nan());
            prop_assert_eq!(ours.labels.len(), theirs.labels.len());
            for (name, value) in &ours.labels {
                prop_assert_eq!(theirs.labels.get(name), Some(value.as_str()));
            }
            if let Some(timestamp) = ours.timestamp_ms {
                prop_assert_eq!(timestamp, theirs.timestamp.timestamp_millis());
            }
        }
    }
}
