use plimsoll_core::{
    decision,
    object::{HorizontalPodAutoscaler, Pod, ScaleTarget},
    policy::Policy,
};
use serde_json::{Value, json};

use super::*;
use crate::config;

fn pod(namespace: &str, name: &str, labels: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"nodeName": "node-1", "containers": [{"ports": [{"name": "metrics", "containerPort": 8000}]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]},
    }))
    .unwrap()
}

fn annotate(mut pod: Pod, annotations: &[(&str, &str)]) -> Pod {
    for (name, value) in annotations {
        pod.metadata.annotations.insert(format!("prometheus.io/{name}"), (*value).to_owned());
    }
    pod
}

fn without_ports(mut pod: Pod) -> Pod {
    pod.spec.containers.clear();
    pod
}

fn view(pods: &[Pod]) -> View {
    let hpa: HorizontalPodAutoscaler = serde_json::from_value(json!({
        "metadata": {"namespace": "inference", "name": "chat"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}, "maxReplicas": 9,
            "metrics": [{"type": "Pods", "pods": {"metric": {"name": "inference_queue_length"}}}]},
    }))
    .unwrap();
    let mut view = View::default();
    let scale = ScaleTarget { selector: "app=chat".parse().unwrap(), ..ScaleTarget::default() };
    view.workloads.insert(hpa.workload(), scale);
    view.hpas.insert(hpa.metadata.key(), hpa);
    view.pods.extend(pods.iter().map(|pod| (pod.metadata.key(), pod.clone())));
    view
}

fn settings(text: &str) -> SourceSettings {
    let head = "apiVersion: plimsoll.dev/v1alpha1\nkind: Configuration\n";
    config::parse(&format!("{head}{text}"), "test").unwrap().sources
}

fn find(view: &View, settings: &SourceSettings) -> Discovery {
    let workloads = decision::scaled(view, &Policy::default());
    let mut targets = Targets::default();
    targets.renew(view, &Census::of(view, &workloads), settings, &Reach::Everywhere);
    targets.discovery(settings)
}

fn chat(name: &str) -> Pod {
    pod("inference", name, &json!({"app": "chat"}))
}

fn url_of(pod: Pod, text: &str) -> Result<String, String> {
    let found = find(&view(&[pod]), &settings(text));
    match (found.targets.first(), found.refused.values().next()) {
        (Some(target), None) => Ok(target.url.to_string()),
        (None, Some(reason)) => Err(reason.clone()),
        (None, None) => Err("exempt".to_owned()),
        both => panic!("{both:?}"),
    }
}

#[test]
fn a_workloads_pod_is_found_by_its_named_port() {
    let found = find(&view(&[chat("chat-0"), pod("inference", "other", &json!({"app": "x"}))]), &settings(""));
    assert_eq!(found.targets.len(), 1, "{found:?}");
    let target = &found.targets[0];
    assert_eq!(&*target.source, "pod/inference/chat-0");
    assert_eq!(target.url.as_str(), "http://10.0.0.7:8000/metrics");
    assert_eq!(target.subject, profile::Target::Pod(ObjectKey::new("inference", "chat-0")));
    assert!(target.ready);
}

#[test]
fn pods_of_hpas_that_use_none_of_our_metrics_are_let_alone() {
    let mut view = view(&[chat("chat-0")]);
    let hpa = view.hpas.values_mut().next().unwrap();
    hpa.spec.metrics = serde_json::from_value(json!([
        {"type": "Resource", "resource": {"name": "cpu"}},
        {"type": "External", "external": {"metric": {"name": "somebody_elses"}}},
    ]))
    .unwrap();
    assert_eq!(find(&view, &settings("")), Discovery::default());
}

#[test]
fn pods_that_are_labelled_alike_but_controlled_by_others_are_let_alone() {
    let mut canary = chat("chat-0");
    let owner = json!({"kind": "ReplicaSet", "name": "chat-canary-5d9f", "controller": true});
    canary.metadata.owner_references.push(serde_json::from_value(owner).unwrap());
    canary.metadata.labels.insert("pod-template-hash".to_owned(), "5d9f".to_owned());
    assert_eq!(find(&view(&[canary]), &settings("")), Discovery::default());
}

#[test]
fn annotations_win_over_ports_and_the_configuration_over_both() {
    let annotated =
        annotate(chat("a"), &[("scrape", "true"), ("port", "9000"), ("path", "/m?x=1"), ("scheme", "https")]);
    assert_eq!(url_of(annotated.clone(), "").unwrap(), "https://10.0.0.7:9000/m?x=1");
    assert_eq!(url_of(annotated.clone(), "pods: {annotations: false}").unwrap(), "http://10.0.0.7:8000/metrics");
    let entry = "pods: {workloads: [{namespace: inference, name: chat, port: 7000, path: /x}]}";
    assert_eq!(url_of(annotated.clone(), entry).unwrap(), "http://10.0.0.7:7000/x");
    let exempt = "pods: {workloads: [{namespace: inference, name: chat, scrape: false}]}";
    assert_eq!(url_of(annotated, exempt).unwrap_err(), "exempt");
    assert_eq!(url_of(annotate(chat("a"), &[("scrape", "false")]), "").unwrap_err(), "exempt");
}

#[test]
fn an_annotated_pod_without_a_port_annotation_uses_its_only_port() {
    let mut only = annotate(chat("a"), &[("scrape", "true")]);
    only.spec.containers[0].ports[0].name = "http".to_owned();
    assert_eq!(url_of(only.clone(), "").unwrap(), "http://10.0.0.7:8000/metrics");
    let mut second = only.spec.containers[0].ports[0].clone();
    second.container_port = 8001;
    only.spec.containers[0].ports.push(second);
    assert!(url_of(only, "").unwrap_err().contains("no metrics port is known"));
}

#[test]
fn what_cannot_be_scraped_is_told_with_the_reason() {
    let with_ip = |ip: &str| {
        let mut pod = chat("a");
        pod.status.pod_ip = ip.parse().ok();
        pod
    };
    let mut on_the_nodes_network = annotate(chat("a"), &[("scrape", "true"), ("port", "10250")]);
    on_the_nodes_network.spec.host_network = true;
    let yes = ("scrape", "true");
    for (pod, expected) in [
        (without_ports(chat("a")), "no metrics port is known: annotate the pods"),
        (with_ip(""), "the pod has no address yet"),
        (with_ip("127.0.0.1"), "the pod's address 127.0.0.1 is a loopback address (scrape.allowLoopback is off)"),
        (with_ip("169.254.169.254"), "the pod's address 169.254.169.254 is a link-local address"),
        (with_ip("evil.example.com"), "the pod has no address yet"),
        (annotate(chat("a"), &[("scrape", "yes")]), "annotation prometheus.io/scrape is \"yes\""),
        (annotate(chat("a"), &[yes, ("port", "0")]), "annotation prometheus.io/port is \"0\", expected 1 to 65535"),
        (annotate(chat("a"), &[yes, ("port", "70000")]), "annotation prometheus.io/port is \"70000\""),
        (annotate(chat("a"), &[yes, ("path", "@evil.example.com/")]), "annotation prometheus.io/path: "),
        (annotate(chat("a"), &[yes, ("scheme", "file")]), "annotation prometheus.io/scheme is \"file\""),
        (on_the_nodes_network, "port 10250 is none of the pod's own, and the pod is on the node's network"),
    ] {
        let reason = url_of(pod, "").unwrap_err();
        assert!(reason.starts_with(expected), "{reason}");
    }
    assert!(url_of(with_ip("127.1.2.3"), "scrape: {allowLoopback: true}").is_ok());
    assert_eq!(url_of(with_ip("fd12::7"), "").unwrap(), "http://[fd12::7]:8000/metrics");
}

#[test]
fn no_path_leads_away_from_the_pod() {
    for path in ["/../../x", "/@evil.example.com", "/%2e%2e/x", "/:80", "/?http://evil.example.com", "/\u{3000}x"] {
        if let Ok(url) = url_of(annotate(chat("a"), &[("scrape", "true"), ("path", path)]), "") {
            let url = Url::parse(&url).unwrap();
            assert_eq!((url.host_str(), url.port()), (Some("10.0.0.7"), Some(8000)), "{path}");
        }
    }
}

#[test]
fn pods_that_do_not_run_are_no_targets() {
    let mut pending = chat("a");
    pending.status.phase = "Pending".into();
    let mut ending = chat("b");
    ending.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH.into());
    let mut done = chat("c");
    done.status.phase = "Succeeded".into();
    assert_eq!(find(&view(&[pending, ending, done]), &settings("")), Discovery::default());
}

#[test]
fn exporters_are_found_by_label_with_their_node_and_by_url() {
    let exporter = pod("gpu", "dcgm-x", &json!({"app.kubernetes.io/name": "dcgm-exporter"}));
    let operator = without_ports(pod("gpu", "dcgm-y", &json!({"app": "nvidia-dcgm-exporter"})));
    let foreign = pod("tenant", "dcgm-z", &json!({"app": "nvidia-dcgm-exporter"}));
    let view = view(&[exporter, operator, foreign]);
    let found = find(&view, &settings("dcgm: {namespaces: [gpu], urls: ['http://box:9400/metrics']}"));
    let urls: Vec<_> = found.targets.iter().map(|target| (&*target.source, target.url.as_str())).collect();
    assert_eq!(
        urls,
        [
            ("exporter/gpu/dcgm-x", "http://10.0.0.7:8000/metrics"),
            ("exporter/gpu/dcgm-y", "http://10.0.0.7:9400/metrics"),
            ("url/http://box:9400/metrics", "http://box:9400/metrics"),
        ]
    );
    let subject =
        profile::Target::Exporter { pod: Some(ObjectKey::new("gpu", "dcgm-x")), node: Some("node-1".to_owned()) };
    assert_eq!(found.targets[0].subject, subject);
    let reason = r#"namespace "tenant" is not in dcgm.namespaces"#.to_owned();
    assert_eq!(found.refused, BTreeMap::from([(SourceName::from("exporter/tenant/dcgm-z"), reason)]));
    assert_eq!(find(&view, &settings(r#"dcgm: {namespaces: ["*"]}"#)).targets.len(), 3);
    assert!(find(&view, &settings("dcgm: {discover: false}")).targets.is_empty());
}

#[test]
fn there_are_no_more_targets_than_allowed() {
    let found = find(&view(&[chat("a"), chat("b"), chat("c")]), &settings("scrape: {limits: {targets: 2}}"));
    assert_eq!(found.targets.len(), 2);
    let reason = "there are more than 2 targets (scrape.limits.targets)".to_owned();
    assert_eq!(found.refused, BTreeMap::from([(SourceName::from("pod/inference/c"), reason)]));
}
