mod latency;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::{
    cluster::{Census, View},
    exposition::Limits,
    object::{Labels, Pod, ScaleTarget},
    policy::Policy,
    profile::{Observation, Observed, Profile, Reading, Target},
};

/// Seconds after the beginning of the tests.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ml", name)
}

fn target(name: &str) -> Target {
    Target::Pod(key(name))
}

fn exporter(node: Option<&str>) -> Target {
    Target::Exporter { pod: Some(ObjectKey::new("gpu", "dcgm-1")), node: node.map(str::to_owned) }
}

/// A running pod of the workload `app`, on node `n1`.
fn pod(namespace: &str, name: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = namespace.into();
    pod.metadata.name = name.into();
    pod.metadata.uid = format!("uid-{name}").as_str().into();
    pod.metadata.labels = Labels::from([("app".to_owned(), "app".to_owned())]).into();
    pod.metadata.creation_timestamp = Some(at(-3600).into());
    pod.node_name = "n1".into();
    pod.status.phase = "Running".into();
    pod
}

fn workload() -> WorkloadKey {
    WorkloadKey {
        namespace: "ml".to_owned(),
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        name: "app".to_owned(),
    }
}

fn view(pods: impl IntoIterator<Item = Pod>) -> View {
    let target = ScaleTarget { selector: "app=app".parse().unwrap(), ..ScaleTarget::default() };
    View {
        pods: pods.into_iter().map(|pod| (pod.metadata.key(), pod)).collect(),
        workloads: [(workload(), target)].into(),
        ..View::default()
    }
}

fn observed(observations: Vec<Observation>) -> Observed {
    Observed { observations, ..Observed::default() }
}

fn queue(pod: &str, value: f64) -> Observation {
    Observation {
        signal: QUEUE_LENGTH.to_owned(),
        pod: key(pod),
        uid: None,
        reading: Reading::Gauge(value),
        at: None,
        approximate: false,
    }
}

/// Cumulative counts of the series `""` below 1 s, below 10 s and in all.
fn latency(pod: &str, counts: [f64; 3]) -> Observation {
    let buckets = [1.0, 10.0, f64::INFINITY].into_iter().zip(counts).collect();
    let series = [(String::new(), crate::histogram::Histogram::new(buckets).unwrap())].into();
    Observation {
        signal: LATENCY_P99.to_owned(),
        reading: Reading::Histogram { quantile: 0.99, series },
        ..queue(pod, 0.0)
    }
}

fn queues(signals: &Signals) -> Vec<(&str, i64, Quality)> {
    let pods = signals.pods.get(QUEUE_LENGTH).into_iter().flat_map(|samples| samples.iter());
    pods.map(|(pod, sample)| (pod.name.as_str(), sample.value.0, sample.quality)).collect()
}

fn signals(store: &Store, view: &View, now: Timestamp) -> Signals {
    store.signals(view, &Census::of(view, [&workload()]), &Policy::default(), now)
}

#[test]
fn a_value_is_live_then_last_known_good_then_absent_and_keeps_its_time() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    assert!(store.record("a", &target("a"), observed(vec![queue("a", 7.5)]), at(0)));
    for (now, expected) in [
        (0, Some(Quality::Live)),
        (10, Some(Quality::Live)),
        (11, Some(Quality::LastKnownGood)),
        (120, Some(Quality::LastKnownGood)),
        (121, None),
    ] {
        let signals = signals(&store, &view, at(now));
        let expected: Vec<_> = expected.into_iter().map(|quality| ("a", 7500, quality)).collect();
        assert_eq!(queues(&signals), expected, "{now}");
        assert!(signals.pods.get(QUEUE_LENGTH).is_none_or(|pods| pods[&key("a")].at == at(0)));
    }
}

#[test]
fn a_value_is_kept_as_long_as_the_policy_wants() {
    let view = view([pod("ml", "a")]);
    let policy = Policy { last_known_good_bound: SignedDuration::from_mins(30), ..Policy::default() };
    let mut store = Store::default();
    store.set_age(policy.last_known_good_bound);
    store.record("pod/ml/a", &target("a"), observed(vec![queue("a", 7.0)]), at(0));
    store.record("pod/ml/a", &target("a"), observed(Vec::new()), at(1200));
    let census = Census::of(&view, []);
    assert_eq!(queues(&store.signals(&view, &census, &policy, at(1200))), [("a", 7000, Quality::LastKnownGood)]);
}

#[test]
fn a_failing_source_keeps_its_values_says_why_and_recovers() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    store.record("a", &target("a"), observed(vec![queue("a", 1.0)]), at(0));
    store.fail("a", "connection refused", at(5));
    let failed = signals(&store, &view, at(5));
    assert_eq!(queues(&failed), [("a", 1000, Quality::Live)]);
    assert_eq!(failed.sources["a"].error.as_deref(), Some("connection refused"));
    assert_eq!(failed.sources["a"].last_success, Some(at(0)));
    store.record("a", &target("a"), observed(vec![queue("a", 2.0)]), at(10));
    assert_eq!(signals(&store, &view, at(10)).sources["a"].error, None);
    store.forget("a");
    assert_eq!(signals(&store, &view, at(10)), Signals::default());
    assert!(store.is_empty());
}

#[test]
fn a_source_that_never_answered_is_listed_with_its_error() {
    let mut store = Store::default();
    store.fail("b", "no route to host", at(0));
    let signals = signals(&store, &view([]), at(0));
    assert_eq!(signals.sources["b"].last_success, None);
    assert_eq!(signals.sources["b"].error.as_deref(), Some("no route to host"));
}

#[test]
fn pods_that_are_gone_or_have_ended_have_no_signals() {
    let mut store = Store::default();
    for name in ["a", "b", "c"] {
        store.record(name, &target(name), observed(vec![queue(name, 1.0)]), at(0));
    }
    let mut ended = pod("ml", "b");
    ended.status.phase = "Failed".into();
    let signals = signals(&store, &view([pod("ml", "a"), ended]), at(0));
    assert_eq!(queues(&signals), [("a", 1000, Quality::Live)]);
}

#[test]
fn what_a_predecessor_of_the_same_name_said_is_not_about_the_new_pod() {
    let mut store = Store::default();
    store.record("a", &target("a"), observed(vec![queue("a", 1.0)]), at(0));
    let mut successor = pod("ml", "a");
    successor.metadata.creation_timestamp = Some(at(1).into());
    let view = view([successor]);
    assert_eq!(queues(&signals(&store, &view, at(2))), []);
    store.record("a", &target("a"), observed(vec![queue("a", 2.0)]), at(3));
    assert_eq!(queues(&signals(&store, &view, at(3))), [("a", 2000, Quality::Live)]);
}

#[test]
fn an_exporter_is_believed_only_about_running_pods_of_its_node() {
    let mut pending = pod("ml", "pending");
    pending.status.phase = "Pending".into();
    let mut elsewhere = pod("ml", "elsewhere");
    elsewhere.node_name = "n2".into();
    let view = view([pod("ml", "a"), pending, elsewhere, pod("ml", "other"), pod("gpu", "dcgm-1")]);
    let mut other = queue("other", 4.0);
    other.uid = Some("uid-of-its-predecessor".to_owned());
    let mut own = queue("a", 1.0);
    own.uid = Some("uid-a".to_owned());
    let claims = vec![own, queue("pending", 2.0), queue("elsewhere", 3.0), other, queue("gone", 5.0)];
    // Named by the target, or known from the exporter's own pod.
    for node in [Some("n1"), None] {
        let mut store = Store::default();
        store.record("dcgm", &exporter(node), observed(claims.clone()), at(0));
        let signals = signals(&store, &view, at(0));
        assert_eq!(queues(&signals), [("a", 1000, Quality::Live)], "{node:?}");
        let refused: Vec<_> = signals.sources["dcgm"].refused.iter().map(|(why, n)| (why.as_str(), *n)).collect();
        assert_eq!(refused, [("notRunning", 2), ("otherNode", 1), ("otherPod", 1)]);
    }
}

#[test]
fn of_several_sources_the_newest_word_about_a_pod_counts() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    store.record("1", &target("a"), observed(vec![queue("a", 1.0)]), at(0));
    store.record("2", &target("a"), observed(vec![queue("a", 2.0)]), at(5));
    store.record("3", &target("a"), observed(vec![queue("a", 3.0)]), at(5));
    assert_eq!(queues(&signals(&store, &view, at(5))), [("a", 2000, Quality::Live)]);
}

#[test]
fn sample_times_from_the_future_or_too_long_ago_are_refused() {
    let view = view([pod("ml", "a")]);
    for (sampled, reason) in [(11, Some("future")), (10, None), (-120, None), (-121, Some("tooOld"))] {
        let mut store = Store::default();
        let seen = Observation { at: Some(at(sampled)), ..queue("a", 1.0) };
        store.record("a", &target("a"), observed(vec![seen]), at(0));
        let signals = signals(&store, &view, at(0));
        let refused = signals.sources["a"].refused.keys().next().map(String::as_str);
        assert_eq!((refused, queues(&signals).len()), (reason, usize::from(reason.is_none())), "{sampled}");
    }
}

#[test]
fn a_query_yields_one_value_per_pod_in_the_same_bounds() {
    let view = view(["a", "b", "c", "d", "e"].map(|name| pod("ml", name)));
    let mut store = Store::default();
    let values = vec![
        (key("a"), 50.0, at(-3)),
        (key("b"), 101.0, at(0)),
        (key("c"), f64::NAN, at(0)),
        (key("d"), 1.0, at(0)),
        (key("d"), 2.0, at(0)),
        (key("e"), 1.0, at(-300)),
    ];
    assert!(store.record_pod_values("prometheus/gpu", GPU_UTILIZATION, values, at(0)));
    let signals = signals(&store, &view, at(0));
    let expected = Sample { value: Milli(50_000), at: at(-3), quality: Quality::Live };
    assert_eq!(signals.pods[GPU_UTILIZATION], BTreeMap::from([(key("a"), expected)]).into());
    let refused: Vec<_> = signals.sources["prometheus/gpu"].refused.keys().map(String::as_str).collect();
    assert_eq!(refused, ["duplicate", "notFinite", "outOfRange", "tooOld"]);
}

#[test]
fn an_answer_without_values_is_no_zero() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    store.record_pod_values("q", QUEUE_LENGTH, vec![], at(0));
    let empty = signals(&store, &view, at(0));
    assert_eq!((queues(&empty), empty.sources["q"].last_success), (vec![], Some(at(0))));
}

#[test]
fn bounds_on_sources_and_values_hold_and_are_counted() {
    let view = view(["a", "b", "c"].map(|name| pod("ml", name)));
    let mut store = Store::new(Bounds { sources: 2, values_per_source: 2, values: 3, ..Bounds::default() });
    let values = |names: &[&str]| names.iter().map(|name| queue(name, 1.0)).collect();
    assert!(store.record("1", &exporter(None), observed(values(&["a", "b", "c"])), at(0)));
    assert!(store.record("2", &exporter(None), observed(values(&["c", "b"])), at(0)));
    assert!(!store.record("3", &exporter(None), observed(values(&["a"])), at(0)));
    store.fail("4", "down", at(0));
    let full = signals(&store, &view, at(0));
    assert_eq!(full.sources.keys().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(full.sources["1"].refused["tooManyValues"], 1);
    assert_eq!(full.sources["2"].refused["tooManyValues"], 1);
    assert_eq!(queues(&full).len(), 3);
    // Known pods are updated although the source is full, and what is forgotten or too old makes room.
    store.record("1", &exporter(None), observed(values(&["a", "b"])), at(5));
    assert!(signals(&store, &view, at(5)).sources["1"].refused.is_empty());
    store.forget("2");
    assert!(store.record("3", &exporter(None), observed(values(&["c"])), at(5)));
    store.record("1", &exporter(None), observed(values(&["c"])), at(200));
    assert_eq!(queues(&signals(&store, &view, at(200))), [("c", 1000, Quality::Live)]);
}

#[test]
fn malformed_lines_and_estimates_show_in_the_health_of_the_source() {
    let body = b"DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"a\",namespace=\"ml\",pod=\"a\"} 40\n\
                 DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"a\",namespace=\"ml\",pod=\"b\"} 40\nbroken{\n";
    let profiles = Profile::builtin().unwrap();
    let seen = profiles[0].observe(body, &exporter(None), &Limits::default()).unwrap();
    let mut store = Store::default();
    store.record("dcgm", &exporter(None), seen, at(0));
    let signals = signals(&store, &view([pod("ml", "a"), pod("ml", "b")]), at(0));
    assert_eq!(signals.pods[GPU_UTILIZATION][&key("a")].value, Milli(20_000));
    assert_eq!(signals.sources["dcgm"].approximate, 2);
    assert_eq!(signals.sources["dcgm"].refused, BTreeMap::from([("malformedLine".to_owned(), 1)]));
}

#[test]
fn values_that_cannot_be_measured_are_refused() {
    for (signal, value, expected) in [
        (QUEUE_LENGTH, 0.0, Ok(())),
        (QUEUE_LENGTH, 1e12, Ok(())),
        (QUEUE_LENGTH, 1.1e12, Err(Refused::OutOfRange)),
        (QUEUE_LENGTH, -0.1, Err(Refused::Negative)),
        (QUEUE_LENGTH, f64::NEG_INFINITY, Err(Refused::NotFinite)),
        (QUEUE_LENGTH, f64::NAN, Err(Refused::NotFinite)),
        (GPU_UTILIZATION, 100.0, Ok(())),
        (GPU_UTILIZATION, 100.001, Err(Refused::OutOfRange)),
        (KV_CACHE_USAGE, 101.0, Err(Refused::OutOfRange)),
    ] {
        assert_eq!(check(signal, value).map(drop), expected, "{signal} {value}");
    }
}

/// A recording: source, pod, value, second.
fn recordings() -> impl Strategy<Value = Vec<(u8, u8, f64, i64)>> {
    let value = prop_oneof![0.0..1e6_f64, any::<f64>()];
    prop::collection::vec((0_u8..4, 0_u8..4, value, 0_i64..400), 0..40)
}

proptest! {
    #[test]
    fn what_is_served_was_said_of_a_live_pod_and_is_in_bounds(recordings in recordings(), now in 0_i64..500) {
        let mut recordings = recordings;
        recordings.sort_by_key(|recording| recording.3);
        recordings.retain(|recording| recording.3 <= now);
        let view = view([pod("ml", "0"), pod("ml", "1"), pod("ml", "2")]);
        let mut store = Store::default();
        for (source, pod, value, seconds) in &recordings {
            let seen = observed(vec![queue(&pod.to_string(), *value)]);
            store.record(&source.to_string(), &exporter(None), seen, at(*seconds));
        }
        let now = at(now);
        let signals = signals(&store, &view, now);
        for (pod, sample) in signals.pods.get(QUEUE_LENGTH).into_iter().flat_map(|samples| samples.iter()) {
            prop_assert!(view.pods.contains_key(pod));
            prop_assert!(sample.value == sample.value.servable());
            let age = now.duration_since(sample.at);
            prop_assert!(age <= SignedDuration::from_secs(120));
            prop_assert_eq!(sample.quality == Quality::Live, age <= SignedDuration::from_secs(10));
            let said = recordings.iter().any(|(_, name, value, seconds)| {
                key(&name.to_string()) == *pod && at(*seconds) == sample.at && Milli::from_f64(*value) == Some(sample.value)
            });
            prop_assert!(said, "{pod} {sample:?}");
        }
    }

    #[test]
    fn the_count_of_held_values_is_right_after_anything(recordings in recordings()) {
        let bounds = Bounds { values_per_source: 7, values: 16, ..Bounds::default() };
        let mut store = Store::new(bounds);
        for (index, (source, pod, value, seconds)) in recordings.into_iter().enumerate() {
            let (source, pod) = (source.to_string(), pod.to_string());
            match index % 5 {
                0 => store.forget(&source),
                1 => store.fail(&source, "down", at(seconds)),
                2 => drop(store.record(&source, &target(&pod), observed(vec![latency(&pod, [1.0; 3])]), at(seconds))),
                _ => drop(store.record(&source, &target(&pod), observed(vec![queue(&pod, value)]), at(seconds))),
            }
            prop_assert!(store.held_matches());
        }
    }
}
