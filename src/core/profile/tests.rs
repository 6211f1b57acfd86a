use proptest::prelude::*;

use super::*;

fn profile(name: &str) -> Profile {
    Profile::builtin().unwrap().into_iter().find(|profile| profile.name == name).unwrap()
}

fn pod(name: &str) -> Target {
    Target::Pod(ObjectKey::new("ml", name))
}

fn exporter() -> Target {
    Target::Exporter { pod: Some(ObjectKey::new("gpu", "dcgm-1")), node: Some("n1".to_owned()) }
}

fn observe(profile_name: &str, target: &Target, body: &str) -> Observed {
    profile(profile_name).observe(body.as_bytes(), target, &Limits::default()).unwrap()
}

/// Gauges as `namespace/pod` and value.
fn gauges(observed: &Observed, signal: &str) -> Vec<(String, f64)> {
    let of_signal = observed.observations.iter().filter(|seen| seen.signal == signal);
    of_signal
        .map(|seen| match seen.reading {
            Reading::Gauge(value) => (seen.pod.to_string(), value),
            Reading::Histogram { .. } => panic!("{signal} is a histogram"),
        })
        .collect()
}

fn dcgm(body: &str) -> Vec<(String, f64)> {
    gauges(&observe("dcgm", &exporter(), body), "gpuUtilization")
}

fn seen(pod: &str, value: f64) -> (String, f64) {
    (pod.to_owned(), value)
}

#[test]
fn the_built_in_profiles_are_read_in_the_order_of_detection() {
    let names: Vec<_> = Profile::builtin().unwrap().into_iter().map(|profile| profile.name).collect();
    assert_eq!(names, ["dcgm", "vllm", "sglang", "tgi", "tei", "triton", "generic"]);
}

#[test]
fn a_wrong_profile_is_refused_with_the_reason() {
    let error = |text: &str| Profile::from_json(text).unwrap_err().to_string();
    let with_rule = |rule: &str| format!(r#"{{"name":"x","detect":[],"identity":"target","signals":[{rule}]}}"#);
    assert!(
        error(r#"{"name":"x","detect":[],"identity":"target","signals":[],"unit":"s"}"#)
            .contains("unknown field `unit`")
    );
    let gauge = r#"{"signal":"s","kind":{"gauge":{"aggregate":"sum"}},"from":[]}"#;
    assert!(error(&with_rule(gauge)).contains("at least one metric"));
    let scale = r#"{"signal":"s","kind":{"gauge":{"aggregate":"sum"}},"from":[{"metric":"m","scale":0}]}"#;
    assert!(error(&with_rule(scale)).contains("positive"));
    let quantile = r#"{"signal":"s","kind":{"histogram":{"quantile":99}},"from":[{"metric":"m"}]}"#;
    assert!(error(&with_rule(quantile)).contains("between 0 and 1"));
}

#[test]
fn a_profile_is_detected_by_metric_prefix_and_by_what_the_target_may_say() {
    let profiles = Profile::builtin().unwrap();
    let detect = |body: &str, target: &Target| {
        Profile::detect(&profiles, body.as_bytes(), target).map(|profile| profile.name.clone())
    };
    let own = pod("a");
    assert_eq!(detect("# HELP x\nvllm:num_requests_waiting 1\n", &own).as_deref(), Some("vllm"));
    assert_eq!(detect("http_request_duration_seconds_bucket{le=\"1\"} 1\nvllm:x 1\n", &own).as_deref(), Some("vllm"));
    assert_eq!(detect("go_goroutines 1\ninference_queue_length 1\n", &own).as_deref(), Some("generic"));
    assert_eq!(detect("nv_inference_count 1\nvllm:num_requests_waiting 1\n", &own).as_deref(), Some("vllm"));
    for (line, name) in [
        ("sglang:num_queue_reqs 1", "sglang"),
        ("tgi_queue_size 1", "tgi"),
        ("te_request_count 1", "tei"),
        ("nv_trt_llm_request_metrics 1", "triton"),
        ("nv_inference_pending_request_count 1", "triton"),
    ] {
        assert_eq!(detect(&format!("http_request_duration_seconds_count 1\n{line}\n"), &own).as_deref(), Some(name));
    }
    assert_eq!(detect("go_goroutines 1\n", &own), None);
    assert_eq!(detect("DCGM_FI_DEV_GPU_UTIL{} 1\n", &own), None);
    assert_eq!(detect("DCGM_FI_DEV_GPU_UTIL{} 1\n", &exporter()).as_deref(), Some("dcgm"));
    assert_eq!(detect("vllm:num_requests_waiting 1\n", &exporter()), None);
}

#[test]
fn a_workload_cannot_speak_for_other_pods() {
    let body = "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"a\",namespace=\"victim\",pod=\"v\"} 1\n";
    let error = profile("dcgm").observe(body.as_bytes(), &pod("a"), &Limits::default()).unwrap_err();
    assert!(matches!(error, ObserveError::Untrusted { .. }), "{error}");
    let body = "vllm:num_requests_waiting{namespace=\"victim\",pod=\"v\"} 3\n";
    assert_eq!(gauges(&observe("vllm", &pod("a"), body), "queueLength"), [seen("ml/a", 3.0)]);
    let error = profile("vllm").observe(body.as_bytes(), &exporter(), &Limits::default()).unwrap_err();
    assert!(matches!(error, ObserveError::NoPod { .. }), "{error}");
}

#[test]
fn a_body_that_is_none_is_an_error() {
    let error = profile("vllm").observe(b"<html>", &pod("a"), &Limits::default()).unwrap_err();
    assert!(matches!(error, ObserveError::Body(BodyError::NotMetrics(_))), "{error}");
}

#[test]
fn a_pod_with_several_gpus_has_their_mean_and_an_idle_gpu_belongs_to_nobody() {
    let values = dcgm(
        "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"a\",namespace=\"ml\",pod=\"x\",container=\"c\"} 90\n\
         DCGM_FI_DEV_GPU_UTIL{gpu=\"1\",UUID=\"b\",namespace=\"ml\",pod=\"x\",container=\"c\"} 50\n\
         DCGM_FI_DEV_GPU_UTIL{gpu=\"2\",UUID=\"c\",namespace=\"ml\",pod=\"y\",container=\"c\"} 10\n\
         DCGM_FI_DEV_GPU_UTIL{gpu=\"3\",UUID=\"d\"} 0\n\
         DCGM_FI_DEV_GPU_UTIL{gpu=\"4\",UUID=\"e\",namespace=\"\",pod=\"\",container=\"\"} 0\n\
         DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"a\",namespace=\"ml\",pod=\"x\"} 70000\n",
    );
    assert_eq!(values, [seen("ml/x", 70.0), seen("ml/y", 10.0)]);
}

#[test]
fn a_mig_instance_is_measured_by_its_engine_and_never_by_a_zero() {
    let labels = "gpu=\"0\",UUID=\"a\",GPU_I_PROFILE=\"1g.10gb\",GPU_I_ID=\"7\",namespace=\"ml\",pod=\"x\"";
    let body = format!("DCGM_FI_DEV_GPU_UTIL{{{labels}}} 0\nDCGM_FI_PROF_GR_ENGINE_ACTIVE{{{labels}}} 0.625000\n");
    assert_eq!(dcgm(&body), [seen("ml/x", 62.5)]);
    // Two instances of one GPU are two devices, not a duplicate.
    let other = labels.replace("GPU_I_ID=\"7\"", "GPU_I_ID=\"8\"");
    let body = format!("{body}DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{other}}} 0.375\n");
    assert_eq!(dcgm(&body), [seen("ml/x", 50.0)]);
}

#[test]
fn the_engine_stands_in_where_the_utilisation_is_missing_or_blank() {
    let labels = "gpu=\"0\",UUID=\"a\",namespace=\"ml\",pod=\"x\"";
    let engine = format!("DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{labels}}} 0.25\n");
    assert_eq!(dcgm(&engine), [seen("ml/x", 25.0)]);
    assert_eq!(dcgm(&format!("{engine}DCGM_FI_DEV_GPU_UTIL{{{labels}}} 80\n")), [seen("ml/x", 80.0)]);
    let blank = format!("{engine}DCGM_FI_DEV_GPU_UTIL{{{labels}}} 9223372036854775794\n");
    let observed = observe("dcgm", &exporter(), &blank);
    assert_eq!(gauges(&observed, "gpuUtilization"), [seen("ml/x", 25.0)]);
    assert_eq!(observed.refused, BTreeMap::from([(Refused::Blank, 1)]));
}

#[test]
fn what_cannot_be_a_utilisation_is_refused_and_never_clamped() {
    for (value, reason) in [
        ("2147483632", Refused::Blank),
        ("2147483635", Refused::Blank),
        ("140737488355328.000000", Refused::Blank),
        ("9223372036854775792", Refused::Blank),
        ("4294967295", Refused::OutOfRange),
        ("101", Refused::OutOfRange),
        ("100.1", Refused::OutOfRange),
        ("-1", Refused::Negative),
        ("NaN", Refused::NotFinite),
        ("+Inf", Refused::NotFinite),
    ] {
        let body = format!("DCGM_FI_DEV_GPU_UTIL{{gpu=\"0\",UUID=\"a\",namespace=\"ml\",pod=\"x\"}} {value}\n");
        let observed = observe("dcgm", &exporter(), &body);
        assert_eq!((observed.observations.len(), observed.refused), (0, BTreeMap::from([(reason, 1)])), "{value}");
    }
    let ratio = "DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"0\",UUID=\"a\",namespace=\"ml\",pod=\"x\"} 62.5\n";
    assert_eq!(observe("dcgm", &exporter(), ratio).refused, BTreeMap::from([(Refused::OutOfRange, 1)]));
}

#[test]
fn names_come_from_the_labels_that_name_the_workload() {
    let line = |labels: &str| format!("DCGM_FI_DEV_GPU_UTIL{{gpu=\"0\",UUID=\"a\",{labels}}} 5\n");
    let moved = line("namespace=\"gpu\",pod=\"dcgm-1\",exported_namespace=\"ml\",exported_pod=\"x\"");
    assert_eq!(dcgm(&moved), [seen("ml/x", 5.0)]);
    let only_exported = line("exported_namespace=\"ml\",exported_pod=\"x\"");
    assert_eq!(dcgm(&only_exported), [seen("ml/x", 5.0)]);
    let old = "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",uuid=\"a\",pod_namespace=\"ml\",pod_name=\"x\",container_name=\"c\"} 5\n";
    assert_eq!(dcgm(old), [seen("ml/x", 5.0)]);
    let exporter_itself = line("namespace=\"gpu\",pod=\"dcgm-1\"");
    assert_eq!(dcgm(&exporter_itself), []);
    // A pod label that a tenant chose, copied by the exporter, moves nothing.
    let copied = line("namespace=\"ml\",pod=\"x\",exported_namespace=\"victim\",exported_pod=\"v\"");
    assert_eq!(dcgm(&copied), [seen("ml/x", 5.0)]);
    // Behind an address that is no known pod, the plain labels may be the exporter's.
    let anywhere = Target::Exporter { pod: None, node: None };
    assert_eq!(gauges(&observe("dcgm", &anywhere, &moved), "gpuUtilization"), [seen("ml/x", 5.0)]);
}

#[test]
fn series_without_a_gpu_are_not_gpus() {
    let body = "DCGM_FI_DEV_GPU_UTIL{nvswitch=\"0\",namespace=\"ml\",pod=\"x\"} 5\n\
                DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",namespace=\"ml\",pod=\"x\"} 5\n";
    assert_eq!(dcgm(body), []);
}

#[test]
fn pods_that_share_a_gpu_have_their_own_values_where_the_device_is_reported_too() {
    let observed = observe(
        "dcgm",
        &exporter(),
        "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"a\"} 90\n\
         DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"a\",vgpu=\"0\",namespace=\"ml\",pod=\"x\"} 45\n\
         DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"a\",vgpu=\"1\",namespace=\"ml\",pod=\"y\"} 45\n",
    );
    assert_eq!(gauges(&observed, "gpuUtilization"), [seen("ml/x", 45.0), seen("ml/y", 45.0)]);
    assert!(observed.observations.iter().all(|seen| seen.approximate));
}

#[test]
fn a_device_value_that_was_copied_to_every_sharer_is_divided_among_them() {
    let observed = observe(
        "dcgm",
        &exporter(),
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"0\",UUID=\"a\",vgpu=\"0\",namespace=\"ml\",pod=\"x\"} 0.9\n\
         DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"0\",UUID=\"a\",vgpu=\"1\",namespace=\"ml\",pod=\"y\"} 0.9\n\
         DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"1\",UUID=\"b\",namespace=\"ml\",pod=\"z\"} 0.9\n",
    );
    assert_eq!(gauges(&observed, "gpuUtilization"), [seen("ml/x", 45.0), seen("ml/y", 45.0), seen("ml/z", 90.0)]);
    let approximate: Vec<_> = observed.observations.iter().map(|seen| seen.approximate).collect();
    assert_eq!(approximate, [true, true, false]);
}

#[test]
fn the_same_device_of_a_pod_twice_is_believed_only_if_both_agree() {
    let line = |job: &str, value: u8| {
        format!("DCGM_FI_DEV_GPU_UTIL{{gpu=\"0\",UUID=\"a\",hpc_job=\"{job}\",namespace=\"ml\",pod=\"x\"}} {value}\n")
    };
    assert_eq!(dcgm(&format!("{}{}", line("1", 40), line("2", 40))), [seen("ml/x", 40.0)]);
    let observed = observe("dcgm", &exporter(), &format!("{}{}", line("1", 40), line("2", 60)));
    assert_eq!((observed.observations.len(), observed.refused), (0, BTreeMap::from([(Refused::Duplicate, 1)])));
}

#[test]
fn a_uid_in_the_payload_travels_with_the_claim() {
    let body =
        "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"a\",namespace=\"ml\",pod=\"x\",pod_uid=\"u-1\"} 5 1700000000000\n";
    let observed = observe("dcgm", &exporter(), body);
    assert_eq!(observed.observations[0].uid.as_deref(), Some("u-1"));
    assert_eq!(observed.observations[0].at, Some(Timestamp::from_millisecond(1_700_000_000_000).unwrap()));
}

#[test]
fn the_queue_of_vllm_is_what_waits_for_capacity_where_that_is_told() {
    let old = "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 7\nvllm:num_requests_waiting{engine=\"1\",model_name=\"m\"} 5\n";
    assert_eq!(gauges(&observe("vllm", &pod("a"), old), "queueLength"), [seen("ml/a", 12.0)]);
    let new = format!(
        "{old}vllm:num_requests_waiting_by_reason{{engine=\"0\",reason=\"capacity\"}} 3\n\
         vllm:num_requests_waiting_by_reason{{engine=\"0\",reason=\"deferred\"}} 4\n\
         vllm:num_requests_waiting_by_reason{{engine=\"1\",reason=\"capacity\"}} 0\n"
    );
    assert_eq!(gauges(&observe("vllm", &pod("a"), &new), "queueLength"), [seen("ml/a", 3.0)]);
}

#[test]
fn the_cache_of_vllm_is_the_fullest_series_under_either_name() {
    let new = "vllm:kv_cache_usage_perc{pid=\"1\"} 0\nvllm:kv_cache_usage_perc{pid=\"2\"} 0.5\nvllm:gpu_cache_usage_perc 0.9\n";
    assert_eq!(gauges(&observe("vllm", &pod("a"), new), "kvCacheUsage"), [seen("ml/a", 50.0)]);
    let old = "vllm:gpu_cache_usage_perc{model_name=\"m\"} 0.25\n";
    assert_eq!(gauges(&observe("vllm", &pod("a"), old), "kvCacheUsage"), [seen("ml/a", 25.0)]);
}

#[test]
fn the_latency_is_kept_as_one_histogram_per_series() {
    let observed = observe(
        "vllm",
        &pod("a"),
        "vllm:e2e_request_latency_seconds_bucket{engine=\"0\",le=\"1.0\"} 5\n\
         vllm:e2e_request_latency_seconds_bucket{le=\"+Inf\",engine=\"0\"} 6\n\
         vllm:e2e_request_latency_seconds_bucket{engine=\"1\",le=\"1\"} 1\n\
         vllm:e2e_request_latency_seconds_bucket{engine=\"1\",le=\"+Inf\"} 1\n\
         vllm:e2e_request_latency_seconds_bucket{engine=\"2\",le=\"1\"} 1\n\
         vllm:e2e_request_latency_seconds_bucket{engine=\"3\",le=\"wide\"} 1\n\
         vllm:e2e_request_latency_seconds_count{engine=\"0\"} 6\n",
    );
    assert_eq!(observed.observations.len(), 1);
    let Reading::Histogram { quantile, series } = &observed.observations[0].reading else { panic!("no histogram") };
    assert_eq!((quantile.to_bits(), series.len()), (0.99_f64.to_bits(), 2));
    assert_eq!(series["engine\u{0}0\u{0}"], Histogram::new(vec![(1.0, 5.0), (f64::INFINITY, 6.0)]).unwrap());
    // One series without +Inf, one bucket without a number.
    assert_eq!(observed.refused, BTreeMap::from([(Refused::Bucket, 2)]));
}

#[test]
fn a_server_of_ones_own_is_read_by_the_textbook_names() {
    let observed = observe(
        "generic",
        &pod("a"),
        "inference_queue_length{model=\"a\"} 4\ninference_queue_length{model=\"b\"} 6\ngpu_utilization 55\n\
         http_request_duration_seconds_bucket{le=\"1\"} 5\nhttp_request_duration_seconds_bucket{le=\"+Inf\"} 5\n",
    );
    assert_eq!(
        gauges(&observe("generic", &pod("a"), "inference_queue_length 3\n"), "queueLength"),
        [seen("ml/a", 3.0)]
    );
    let signals: Vec<_> = observed.observations.iter().map(|seen| seen.signal.as_str()).collect();
    assert_eq!(signals, ["queueLength", "latencyP99"], "a pod does not tell how busy its GPUs are");
    assert!(matches!(observed.observations[0].reading, Reading::Gauge(value) if value.to_bits() == 10.0_f64.to_bits()));
}

#[test]
fn a_histogram_with_too_many_series_keeps_those_within_the_bound() {
    let lines: Vec<_> = (0..300)
        .map(|path| format!("http_request_duration_seconds_bucket{{path=\"{path:03}\",le=\"+Inf\"}} 1\n"))
        .collect();
    let observed = observe("generic", &pod("a"), &lines.concat());
    let Reading::Histogram { series, .. } = &observed.observations[0].reading else { panic!("no histogram") };
    assert_eq!(series.len(), 256);
    assert_eq!(observed.refused, BTreeMap::from([(Refused::TooManySeries, 44)]));
}

/// What a page says of a pod's queue.
fn queue(profile_name: &str, body: &str) -> Vec<f64> {
    let queue = gauges(&observe(profile_name, &pod("a"), body), "queueLength");
    queue.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn the_queue_of_sglang_is_counted_once_however_many_ranks_and_priorities_report_it() {
    let line = |labels: &str, value: u8| format!("sglang:num_queue_reqs{{model_name=\"m\"{labels}}} {value}\n");
    assert_eq!(queue("sglang", &line("", 3)), [3.0], "before there were ranks");
    let ranks = [
        line(",tp_rank=\"0\",pp_rank=\"0\"", 5),
        line(",tp_rank=\"1\",pp_rank=\"0\"", 5),
        line(",tp_rank=\"0\",pp_rank=\"1\"", 5),
    ];
    assert_eq!(queue("sglang", &ranks.concat()), [5.0]);
    assert_eq!(queue("sglang", &line(",tp_rank=\"0\"", 4)), [4.0]);
    let priorities =
        [line(",tp_rank=\"0\",priority=\"\"", 7), line(",tp_rank=\"0\",priority=\"1\"", 5), line(",priority=\"2\"", 2)];
    assert_eq!(queue("sglang", &priorities.concat()), [7.0], "the total is the series without a priority");
    let usage = observe("sglang", &pod("a"), "sglang:token_usage{tp_rank=\"0\"} 0.37\n");
    assert_eq!(gauges(&usage, "kvCacheUsage"), [seen("ml/a", 37.0)]);
}

#[test]
fn the_queue_of_triton_is_that_of_tensorrt_llm_where_it_has_one() {
    let plain = "nv_inference_pending_request_count{model=\"a\",version=\"1\"} 3\n\
                 nv_inference_pending_request_count{model=\"b\",version=\"2\"} 11\n";
    assert_eq!(queue("triton", plain), [14.0]);
    let llm = format!(
        "{plain}nv_trt_llm_request_metrics{{model=\"m\",request_type=\"waiting\",version=\"1\"}} 6\n\
         nv_trt_llm_request_metrics{{model=\"m\",request_type=\"scheduled\",version=\"1\"}} 64\n\
         nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type=\"fraction\",model=\"m\"}} 0.5\n\
         nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type=\"max\",model=\"m\"}} 6239\n"
    );
    assert_eq!(queue("triton", &llm), [6.0]);
    assert_eq!(gauges(&observe("triton", &pod("a"), &llm), "kvCacheUsage"), [seen("ml/a", 50.0)]);
}

#[test]
fn the_servers_of_hugging_face_tell_queue_and_latency_under_their_own_names() {
    for (name, prefix) in [("tgi", "tgi"), ("tei", "te")] {
        let body = format!(
            "{prefix}_queue_size 4\n{prefix}_request_duration_bucket{{le=\"0.5\"}} 9\n\
             {prefix}_request_duration_bucket{{le=\"+Inf\"}} 10\n"
        );
        let observed = observe(name, &pod("a"), &body);
        let signals: Vec<_> = observed.observations.iter().map(|seen| seen.signal.as_str()).collect();
        assert_eq!(signals, ["queueLength", "latencyP99"], "{name}");
        assert!(
            matches!(observed.observations[0].reading, Reading::Gauge(value) if value.to_bits() == 4.0_f64.to_bits())
        );
    }
}

#[test]
fn a_profile_is_a_query_too_where_the_servers_say_whose_data_it_is() {
    let query = |name: &str, signal: &str| profile(name).query(signal);
    assert_eq!(query("tgi", "queueLength").as_deref(), Some("sum by (pod) (tgi_queue_size)"));
    assert_eq!(
        query("vllm", "queueLength").as_deref(),
        Some(
            "sum by (pod) (vllm:num_requests_waiting_by_reason{reason=\"capacity\"}) or sum by (pod) (vllm:num_requests_waiting)"
        )
    );
    assert!(query("sglang", "queueLength").unwrap().ends_with(
        " or sum by (pod) (sglang:num_queue_reqs{tp_rank=\"0\",pp_rank=\"\",priority=\"\"}) \
         or sum by (pod) (sglang:num_queue_reqs{tp_rank=\"\",priority=\"\"})"
    ));
    assert_eq!(
        query("triton", "kvCacheUsage").as_deref(),
        Some("max by (pod) (nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"}) * 100")
    );
    assert_eq!(query("vllm", "latencyP99"), None, "no query per pod gives a quantile over all of them");
    assert_eq!(query("dcgm", "gpuUtilization"), None, "whose GPU it is stands in labels");
}

fn label_value() -> impl Strategy<Value = String> {
    "[a-z]{0,6}"
}

proptest! {
    #[test]
    fn whatever_the_payload_says_it_is_about_the_pod_that_was_scraped(
        labels in prop::collection::btree_map("(exported_)?(pod|namespace|pod_name|pod_namespace|pod_uid|UUID|gpu)", label_value(), 0..6),
        value in 0_u32..1000,
    ) {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = labels.join(",");
        let metrics = [
            "vllm:num_requests_waiting", "sglang:num_queue_reqs", "tgi_queue_size", "te_queue_size",
            "nv_inference_pending_request_count", "inference_queue_length", "DCGM_FI_DEV_GPU_UTIL",
        ];
        let body = metrics.map(|metric| format!("{metric}{{{labels}}} {value}\n")).concat();
        for profile in Profile::builtin().unwrap() {
            if let Ok(observed) = profile.observe(body.as_bytes(), &pod("a"), &Limits::default()) {
                prop_assert_eq!(gauges(&observed, "queueLength"), vec![seen("ml/a", f64::from(value))]);
                prop_assert_eq!(observed.observations.len(), 1);
            }
        }
    }

    #[test]
    fn the_order_of_lines_does_not_matter(mut lines in prop::collection::vec(
        (0_u8..3, prop::sample::select(vec!["", "x", "y"]), 0_u8..120, any::<bool>()), 0..12,
    )) {
        let body = |lines: &[(u8, &str, u8, bool)]| lines.iter().map(|(gpu, pod, value, engine)| {
            let metric = if *engine { "DCGM_FI_PROF_GR_ENGINE_ACTIVE" } else { "DCGM_FI_DEV_GPU_UTIL" };
            let value = if *engine { f64::from(*value) / 100.0 } else { f64::from(*value) };
            format!("{metric}{{gpu=\"{gpu}\",UUID=\"{gpu}\",namespace=\"ml\",pod=\"{pod}\"}} {value}\n")
        }).collect::<Vec<_>>().concat();
        let forward = dcgm(&body(&lines));
        lines.reverse();
        let close = |(left, right): (&(String, f64), &(String, f64))| left.0 == right.0 && (left.1 - right.1).abs() < 1e-9;
        let backward = dcgm(&body(&lines));
        prop_assert_eq!(forward.len(), backward.len());
        prop_assert!(forward.iter().zip(&backward).all(close), "{forward:?} {backward:?}");
        prop_assert!(forward.iter().all(|(_, value)| (0.0..=100.0).contains(value)));
    }
}
