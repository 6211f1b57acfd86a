#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn metadata(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn good(pairs: &[(&str, &str)]) -> Trigger {
    Trigger::parse(&metadata(pairs)).unwrap()
}

/// The only thing that is wrong.
fn wrong(pairs: &[(&str, &str)]) -> String {
    let problems = Trigger::parse(&metadata(pairs)).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].to_string()
}

#[test]
fn the_smallest_trigger_has_the_documented_defaults() {
    let trigger = good(&[("signal", "queueLength"), ("threshold", "10")]);
    assert_eq!(trigger.signal, Signal::QueueLength { threshold: Milli(10_000), aggregation: Aggregation::Sum });
    assert_eq!((trigger.metric_name.as_str(), trigger.target()), ("plimsoll-queue-length", Milli(10_000)));
    assert_eq!((trigger.activation, trigger.on_missing, trigger.clamp), (Milli(0), OnMissing::Hold, true));
    assert_eq!((trigger.stale_after.as_secs(), trigger.warmup.unwrap().as_mins()), (120, 15));
    assert_eq!((trigger.headroom, trigger.priority, trigger.query), (None, None, None));
}

#[test]
fn the_samples_of_the_guide_are_read() {
    let address = ("scalerAddress", "plimsoll-scaler.plimsoll-system.svc:9443");
    let composite = good(&[
        address,
        ("signal", "composite"),
        ("profile", "vllm"),
        ("queueThreshold", "10"),
        ("gpuThreshold", "70"),
        ("headroom", "autoscaler"),
    ]);
    assert_eq!((composite.target(), composite.headroom), (ONE_REPLICA, Some(Headroom::Autoscaler)));
    assert_eq!(good(&[address, ("signal", "capacity")]).signal, Signal::Capacity);
    let latency = [address, ("signal", "latency"), ("quantile", "0.99"), ("threshold", "500ms"), ("warmup", "auto")];
    assert_eq!(good(&latency).signal, Signal::Latency { threshold: Milli(500) });
}

#[test]
fn a_profile_gives_thresholds() {
    let trigger = good(&[("signal", "gpuUtilization"), ("profile", "triton")]);
    assert_eq!(trigger.target(), Milli(70_000));
    let Signal::Composite(parts) = good(&[("signal", "composite"), ("profile", "tgi")]).signal else { panic!() };
    assert_eq!(parts.queue.map(|part| part.threshold), Some(Milli(10_000)));
    assert!(parts.latency.is_none());
}

#[test]
fn a_profile_stands_in_for_the_query_of_a_server_that_is_named() {
    let server = ("serverAddress", "http://p:9090");
    let trigger = good(&[("signal", "queueLength"), ("profile", "sglang"), server]);
    assert_eq!((trigger.server.as_deref(), trigger.query), (Some("http://p:9090"), None));
    let composite = good(&[("signal", "composite"), ("profile", "vllm"), server]);
    assert_eq!(composite.server.as_deref(), Some("http://p:9090"));
    let own = good(&[("signal", "queueLength"), ("profile", "vllm"), server, ("query", "sum(x)")]);
    assert_eq!((own.server, own.query.map(|query| query.text)), (None, Some("sum(x)".to_owned())));
}

#[test]
fn every_profile_of_a_trigger_reads_pages_and_has_a_query_for_what_waits() {
    let builtin = crate::profile::Profile::builtin().unwrap();
    for profile in Profile::ALL {
        let found = builtin.iter().find(|found| found.name == profile.name()).unwrap();
        assert!(found.query(crate::signal::QUEUE_LENGTH).is_some(), "{}", found.name);
        assert_eq!(serde_json::to_value(profile).unwrap(), profile.name());
    }
}

#[test]
fn an_error_names_the_key_and_a_cure() {
    let queue = ("signal", "queueLength");
    let ten = ("threshold", "10");
    for (pairs, expected) in [
        (vec![], "signal: is missing: one of gpuUtilization"),
        (vec![("signal", "queueLenght"), ten], "signal: unknown value \"queueLenght\", did you mean \"queueLength\"?"),
        (vec![queue], "threshold: is missing"),
        (vec![queue, ("threshold", "ten")], "threshold: \"ten\" is not a number"),
        (vec![queue, ("threshold", "0")], "threshold: \"0\" is not above 0"),
        (vec![queue, ("threshold", "-1")], "threshold: \"-1\" is not between"),
        (vec![queue, ten, ("treshold", "10")], "treshold: unknown key, did you mean \"threshold\"?"),
        (vec![queue, ten, ("activation_threshold", "1")], "did you mean \"activationThreshold\"?"),
        (vec![queue, ten, ("xyzzy", "1")], "xyzzy: unknown key (known are signal"),
        (vec![queue, ten, ("targetValue", "10")], "targetValue: means the same as threshold"),
        (vec![queue, ten, ("queueThreshold", "10")], "queueThreshold: does not apply to signal queueLength"),
        (vec![queue, ten, ("metricType", "Value")], "metricType: belongs beside metadata"),
        (vec![queue, ten, ("caCert", "x")], "caCert: is read by KEDA from a TriggerAuthentication"),
        (vec![queue, ("thresholdFromEnv", "T"), ten], "thresholdFromEnv: the environment of containers is not read"),
        (vec![queue, ten, ("query", "up")], "serverAddress: is missing"),
        (vec![queue, ten, ("serverAddress", "http://p")], "query: is missing: give it, or a profile"),
        (
            vec![("signal", "gpuUtilization"), ("profile", "vllm"), ("serverAddress", "http://p")],
            "query: is missing: the one of profile vllm is for what waits only",
        ),
        (vec![queue, ten, ("metricName", "Queue")], "metricName: must be 1 to 50"),
        (vec![queue, ten, ("warmup", "1d")], "warmup: \"1d\" is not a duration"),
        (vec![queue, ten, ("headroom", "-1")], "headroom: \"-1\" is not a whole number"),
        (vec![queue, ten, ("onMissing", "zero"), ("ignoreNullValues", "true")], "ignoreNullValues: means the same"),
        (vec![("signal", "latency"), ten, ("quantile", "0.5")], "quantile: \"0.5\" is not measured"),
        (vec![("signal", "composite")], "queueThreshold: is missing"),
        (vec![("signal", "capacity"), ("capacity", "off")], "capacity: does not apply to signal capacity"),
        (vec![("signal", "capacity"), ten], "threshold: does not apply to signal capacity"),
    ] {
        let message = wrong(&pairs);
        assert!(message.contains(expected), "{pairs:?}: {message}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let problems = Trigger::parse(&metadata(&[("signal", "latency"), ("treshold", "1"), ("priority", "high")]));
    let keys: Vec<_> = problems.unwrap_err().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["priority", "threshold", "treshold"]);
}

#[test]
fn metadata_without_bounds_are_refused_before_they_are_read() {
    let many: StringMap = (0..65).map(|index| (format!("k{index}"), String::new())).collect();
    assert!(Trigger::parse(&many).unwrap_err()[0].message.contains("at most 64"));
    let long = metadata(&[("query", &"x".repeat(5000))]);
    assert_eq!(Trigger::parse(&long).unwrap_err()[0].key, "query");
}

fn milli() -> impl Strategy<Value = Milli> {
    (1..=2_000_000_i64).prop_map(Milli)
}

fn aggregations() -> impl Strategy<Value = Aggregation> {
    use Aggregation::{Average, Max, Min, P95, Sum};
    prop::sample::select(vec![Sum, Average, Max, Min, P95])
}

fn signals() -> impl Strategy<Value = Signal> {
    let part = |weighted: bool| {
        let weight = if weighted { milli().boxed() } else { Just(Milli(1000)).boxed() };
        prop::option::of((milli(), weight).prop_map(|(threshold, weight)| Part { threshold, weight }))
    };
    let composite = any::<bool>().prop_flat_map(move |weighted| {
        let combine = if weighted { Combine::Weighted } else { Combine::Max };
        (part(weighted), part(weighted), part(weighted))
            .prop_map(move |(queue, gpu, latency)| Composite { queue, gpu, latency, combine })
            .prop_filter("one part at least", |all| all.queue.is_some() || all.gpu.is_some() || all.latency.is_some())
    });
    prop_oneof![
        (milli(), aggregations())
            .prop_map(|(threshold, aggregation)| Signal::GpuUtilization { threshold, aggregation }),
        (milli(), aggregations()).prop_map(|(threshold, aggregation)| Signal::QueueLength { threshold, aggregation }),
        milli().prop_map(|threshold| Signal::Latency { threshold }),
        composite.prop_map(Signal::Composite),
        Just(Signal::Capacity),
    ]
}

fn triggers() -> impl Strategy<Value = Trigger> {
    let seconds = |to: i64| (1..=to).prop_map(SignedDuration::from_secs);
    let on_missing = prop::sample::select(vec![OnMissing::Hold, OnMissing::Error, OnMissing::Zero]);
    let headroom = prop_oneof![Just(Headroom::Autoscaler), (0..=10_000_u32).prop_map(Headroom::Replicas)];
    let headroom = prop::option::of(headroom);
    let query = ("http://[a-z]{1,9}:9090", "[a-z(){}=\"]{1,30}").prop_map(|(server, text)| Query { server, text });
    let profile = prop::sample::select(vec![None, Some(Profile::Vllm), Some(Profile::Tei)]);
    (
        (signals(), prop::option::of("[a-z0-9-]{1,50}"), profile, 0..=2_000_000_i64, on_missing),
        (seconds(3600), prop::option::of(seconds(21_600)), any::<bool>(), headroom),
        (prop::option::of(any::<i32>().prop_map(|p| p.min(1_000_000_000))), prop::option::of(query)),
    )
        .prop_map(|((signal, name, profile, activation, on_missing), (stale_after, warmup, clamp, headroom), rest)| {
            Trigger {
                metric_name: name.unwrap_or_else(|| signal.metric_name().to_owned()),
                clamp: clamp || signal == Signal::Capacity,
                signal,
                profile,
                activation: Milli(activation),
                on_missing,
                stale_after,
                warmup,
                headroom,
                priority: rest.0,
                query: rest.1,
                server: None,
            }
        })
        .prop_map(|trigger| {
            // Without a query of its own, a profile's may be asked.
            let asks = trigger.query.is_none() && trigger.profile.is_some() && trigger.signal.counts_waiting();
            Trigger { server: asks.then(|| "http://p:9090".to_owned()), ..trigger }
        })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_equal(trigger in triggers()) {
        prop_assert_eq!(Trigger::parse(&trigger.metadata()), Ok(trigger));
    }

    #[test]
    fn any_text_is_read_or_refused_with_keys(
        pairs in prop::collection::btree_map("[a-zA-Z]{0,20}|signal|threshold|warmup|headroom", ".{0,40}", 0..12),
    ) {
        if let Err(problems) = Trigger::parse(&pairs) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn one_change_of_one_value_never_makes_a_target_of_zero(
        trigger in triggers(), at in any::<prop::sample::Index>(), text in "[0-9.eEinfNa+-]{0,12}",
    ) {
        let mut metadata = trigger.metadata();
        let key = metadata.keys().nth(at.index(metadata.len())).unwrap().clone();
        metadata.insert(key, text);
        if let Ok(read) = Trigger::parse(&metadata) {
            prop_assert!(read.target().0 > 0);
        }
    }
}
