//! The command on files and streams, from arguments to what is printed.

use clap::Parser;
use serde_json::{Value, json};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// What came out.
struct Outcome {
    result: anyhow::Result<ExitCode>,
    out: String,
    talk: String,
}

/// Runs the command with files `0`, `1`, … in a fresh folder; `@0` in an argument stands for the first one's path.
fn plimsoll(arguments: &str, files: &[&str], stdin: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    for (index, content) in files.iter().enumerate() {
        std::fs::write(folder.path().join(index.to_string()), content).unwrap();
    }
    let prefix = format!("{}/", folder.path().display());
    let arguments = arguments.split_whitespace().map(|argument| argument.replace('@', &prefix));
    let args = Line::try_parse_from(std::iter::once("capacity".to_owned()).chain(arguments)).unwrap().args;
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    let result = run_with(args, stdin.as_bytes(), &mut out, &mut talk);
    Outcome { result, out: String::from_utf8(out).unwrap(), talk: String::from_utf8(talk).unwrap() }
}

fn answer(objects: &Value, workload: &str) -> Value {
    let outcome = plimsoll("-f @0 --for @1 -o json", &[&objects.to_string(), workload], "");
    assert_eq!(outcome.result.unwrap(), ExitCode::SUCCESS);
    serde_json::from_str(&outcome.out).unwrap()
}

fn refusal(objects: &str, workload: &str) -> String {
    format!("{:#}", plimsoll("-f @0 --for @1", &[objects, workload], "").result.unwrap_err())
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn node(name: &str, gpus: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {
            "allocatable": {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": gpus},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn pod(name: &str, app: &str, node: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": "1"}}}]},
        "status": {"phase": if node.is_some() { "Running" } else { "Pending" }},
    })
}

#[test]
fn what_was_added_to_the_newest_pod_is_counted_unless_the_template_is_another_one() {
    let mut injected = pod("a", "llm", Some("n"));
    injected["spec"]["containers"][0]["resources"] = json!({"limits": {"nvidia.com/gpu": "1", "cpu": "500m"}});
    let proxy = json!({"name": "proxy", "resources": {"requests": {"cpu": "20"}}});
    injected["spec"]["containers"].as_array_mut().unwrap().push(proxy);
    let objects = list(&[node("n", "8"), injected]);
    // 64 CPUs, of which 20.5 are taken by each.
    assert_eq!(answer(&objects, DEPLOYMENT)["fits"]["lo"], 2);
    let edited = DEPLOYMENT.replace("500m", "1");
    assert_eq!(answer(&objects, &edited)["fits"]["lo"], 7, "of an edited file, pods tell nothing");
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: llm}
spec:
  selector: {matchLabels: {app: llm}}
  template:
    metadata: {labels: {app: llm}}
    spec:
      containers:
        - name: c
          resources: {limits: {nvidia.com/gpu: 1, cpu: 500m}}
";

#[test]
fn the_answer_counts_bound_pending_and_what_fits() {
    let mut leaving = pod("old", "llm", Some("a"));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let objects = list(&[
        node("a", "8"),
        list(&[pod("llm-1", "llm", Some("a")), pod("llm-2", "llm", None), leaving]),
        pod("cv-1", "cv", Some("a")),
        pod("cv-2", "cv", None),
    ]);
    let answer = answer(&objects, DEPLOYMENT);
    assert_eq!(answer["fits"], json!({"class": "interval", "lo": 4, "hi": 5}));
    assert_eq!(answer["requests"], json!({"cpu": "500m", "nvidia.com/gpu": "1"}));
    let counts = ["bound", "ceiling", "pending", "pendingOthers", "freeGpus", "strandedGpus"].map(|key| &answer[key]);
    assert_eq!(counts.map(|count| count.as_i64().unwrap()), [1, 5, 1, 1, 5, 0]);
    assert_eq!(answer["limitingFactor"], "gpu");
    assert_eq!(
        answer["groups"],
        json!([{"nodes": 1, "names": ["a"], "fits": 5, "limitingFactor": "gpu",
            "reason": "not enough nvidia.com/gpu for one more"}])
    );
    assert_eq!(answer["workload"], json!({"namespace": "default", "kind": "Deployment", "name": "llm"}));
}

#[test]
fn a_pod_that_is_labelled_alike_but_controlled_by_another_is_not_bound() {
    let controlled = |replica_set: &str| {
        let mut pod = pod("llm-1", "llm", Some("a"));
        pod["metadata"]["labels"]["pod-template-hash"] = json!("5d9f");
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set, "uid": "1", "controller": true}]);
        answer(&list(&[node("a", "8"), pod]), DEPLOYMENT)
    };
    let (own, foreign) = (controlled("llm-5d9f"), controlled("llm-canary-5d9f"));
    assert_eq!((&own["bound"], &own["ceiling"]), (&json!(1), &json!(8)));
    assert_eq!((&foreign["bound"], &foreign["ceiling"]), (&json!(0), &json!(7)));
}

#[test]
fn lists_may_be_typed_repeated_concatenated_yaml_and_on_standard_input() {
    let mut untyped = node("a", "2");
    untyped.as_object_mut().unwrap().remove("kind");
    let typed = json!({"kind": "NodeList", "apiVersion": "v1", "items": [untyped]}).to_string();
    let two = format!("{}\n{}", node("b", "3"), node("c", "5"));
    let yaml = "kind: Node\nmetadata: {name: d}\nstatus:\n  allocatable: {pods: 9, cpu: 9, nvidia.com/gpu: 7}\n  conditions: [{type: Ready, status: 'True'}]\n---\nkind: Service\n";
    let outcome = plimsoll("-f @0 -f @1 -f - --for @2 -o yaml", &[&typed, &two, DEPLOYMENT], yaml);
    assert!(outcome.result.is_ok());
    assert!(outcome.out.contains("ceiling: 17\n"), "{}", outcome.out);
    assert!(outcome.talk.contains("ignored, as they decide nothing here: Service (1)"), "{}", outcome.talk);
}

#[test]
fn the_table_reads_without_a_manual() {
    let objects = list(&[node("a", "3"), node("b", "3"), pod("llm-1", "llm", Some("a"))]).to_string();
    let workload = DEPLOYMENT.replace("gpu: 1", "gpu: 2");
    let outcome = plimsoll("-f @0 --for @1", &[&objects, &workload], "");
    assert_eq!(
        outcome.out,
        "\
Deployment default/llm: one replica asks for cpu 500m, nvidia.com/gpu 2

BOUND  PENDING  FITS       QUOTA  CEILING  LIMITED BY
1      0        2 (exact)  -      3        gpu

FREE GPUS  STRANDED  UNHEALTHY  RELEASING  ARRIVING  HEADROOM
5          1         0          0          0         0

NODES  FITS  WHY NO MORE                             NAMES
2      2     not enough nvidia.com/gpu for one more  a, b

to make room: add one node like a (then 1 more)
"
    );
}

#[test]
fn a_quota_that_is_not_counted_makes_the_answer_unknown_and_a_device_class_leaves_its_upper_end_open() {
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "x"}, "spec": {"hard": {"pods": "1"}}});
    let class = json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu"},
        "spec": {"extendedResourceName": "nvidia.com/gpu"}});
    let unknown = answer(&list(&[node("a", "8"), quota]), DEPLOYMENT);
    assert_eq!(unknown["fits"], json!({"class": "unknown", "lo": 0, "hi": null}));
    assert_eq!((&unknown["ceiling"], &unknown["limitingFactor"]), (&json!(0), &json!("quota")));
    assert_eq!(unknown["unmodelled"].as_array().unwrap().len(), 1);
    let open = answer(&list(&[node("a", "8"), class]), DEPLOYMENT);
    assert_eq!(open["fits"], json!({"class": "interval", "lo": 8, "hi": null}));
}

#[test]
fn a_quota_in_the_input_limits_the_ceiling_and_is_named() {
    let counts = |pods: &str| json!({"pods": pods});
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": counts("3")},
        "status": {"hard": counts("3"), "used": counts("2")}});
    let waiting = pod("llm-2", "llm", None);
    let answer = answer(&list(&[node("a", "8"), pod("llm-1", "llm", Some("a")), waiting, quota]), DEPLOYMENT);
    // One is bound, one has been created and is charged already, one more may be created.
    assert_eq!((&answer["fits"]["lo"], &answer["ceiling"]), (&json!(7), &json!(3)));
    assert_eq!((&answer["limitingFactor"], &answer["quota"]["pods"]), (&json!("quota"), &json!(1)));
}

#[test]
fn priority_classes_in_the_input_are_resolved() {
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"},
        "value": 1000});
    let objects = list(&[node("a", "8"), pod("cv-1", "cv", Some("a")), class]);
    let workload = DEPLOYMENT.replace("    spec:\n", "    spec:\n      priorityClassName: high\n");
    assert_eq!(answer(&objects, &workload)["fits"], json!({"class": "interval", "lo": 7, "hi": 8}));
}

#[test]
fn an_unreadable_node_or_pod_costs_one_node_and_the_claim_to_be_exact() {
    let mut odd = pod("odd", "cv", Some("c"));
    odd["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("1 core");
    let objects = list(&[node("a", "8"), node("b", "8x"), node("c", "8"), odd]);
    let answer = answer(&objects, DEPLOYMENT);
    assert_eq!(answer["fits"], json!({"class": "interval", "lo": 8, "hi": null}));
    let groups = answer["groups"].as_array().unwrap();
    let closed = groups.iter().filter(|group| group["fits"] == json!(0));
    let reasons: Vec<_> = closed.map(|group| group["reason"].as_str().unwrap()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("\"8x\" is not a quantity")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.starts_with("pod default/odd is here, and")), "{reasons:?}");
}

#[test]
fn a_pod_that_waits_and_cannot_be_read_may_take_what_is_free_wherever_it_may_go() {
    let mut odd = pod("odd", "cv", None);
    odd["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("1 core");
    let fits = |odd: &Value| answer(&list(&[node("a", "8"), odd.clone()]), DEPLOYMENT)["fits"].clone();
    assert_eq!(fits(&odd), json!({"class": "interval", "lo": 0, "hi": 8}));
    odd["spec"]["nodeSelector"] = json!({"pool": "cpu"});
    assert_eq!(fits(&odd), json!({"class": "exact", "lo": 8, "hi": 8}));
    odd["metadata"]["labels"] = json!([]);
    let error = refusal(&list(&[node("a", "8"), odd]).to_string(), DEPLOYMENT);
    assert!(error.contains("Pod default/odd cannot be read"), "{error}");
}

/// Objects that decide, each of its group and in a version that nobody knows.
const UNKNOWN_VERSIONS: [(&str, &str); 11] = [
    ("v9", "ResourceQuota"),
    ("v9", "LimitRange"),
    ("v9", "PersistentVolumeClaim"),
    ("node.k8s.io/v9", "RuntimeClass"),
    ("scheduling.k8s.io/v9", "PriorityClass"),
    ("resource.k8s.io/v1beta9", "DeviceClass"),
    ("resource.k8s.io/v1beta9", "ResourceSlice"),
    ("storage.k8s.io/v9", "StorageClass"),
    ("kueue.x-k8s.io/v9", "ClusterQueue"),
    ("karpenter.sh/v9", "NodePool"),
    ("autoscaling.x-k8s.io/v9", "CapacityBuffer"),
];

#[test]
fn an_object_of_an_unknown_version_is_neither_read_nor_dropped_silently() {
    for (version, kind) in UNKNOWN_VERSIONS {
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "odd"}, "spec": 7});
        let answer = answer(&list(&[node("a", "8"), object]), DEPLOYMENT);
        let warnings: Vec<_> = answer["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let said = |warning: &&str| warning.contains(kind) && warning.contains("which is not understood");
        assert!(warnings.iter().any(said), "{kind}: {warnings:?}");
        // What does not depend on it goes on.
        let of_namespace = matches!(kind, "ResourceQuota" | "LimitRange");
        assert_eq!(answer["fits"]["class"] == "unknown", of_namespace, "{kind}: {}", answer["unmodelled"]);
        assert!(of_namespace || answer["fits"]["lo"] == json!(8), "{kind}");
    }
    let slice = json!({"metadata": {"name": "odd"}});
    let typed = json!({"apiVersion": "resource.k8s.io/v1beta9", "kind": "ResourceSliceList", "items": [slice]});
    let objects = json!([node("a", "8"), typed]);
    assert!(answer(&objects, DEPLOYMENT)["warnings"].to_string().contains("v1beta9"));
    let mut odd = node("b", "8");
    odd["apiVersion"] = json!("v9");
    let answer = answer(&list(&[node("a", "8"), odd]), DEPLOYMENT);
    assert_eq!(answer["fits"], json!({"class": "interval", "lo": 8, "hi": null}));
}

#[test]
fn an_object_that_cannot_be_read_leaves_unknown_what_depends_on_it_and_nothing_else() {
    let quota = |namespace: &str| {
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": namespace},
            "status": {"hard": {"pods": "many"}}})
    };
    let class = |namespace| answer(&list(&[node("a", "8"), quota(namespace)]), DEPLOYMENT)["fits"]["class"].clone();
    assert_eq!((class("default"), class("web")), (json!("unknown"), json!("exact")));
}

#[test]
fn an_unreadable_node_leaves_unknown_what_constraints_between_pods_decide() {
    let constraint = "      topologySpreadConstraints:\n      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, \
                      whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: llm}}}\n";
    let workload = DEPLOYMENT.replace("    spec:\n", &format!("    spec:\n{constraint}"));
    let answer = answer(&list(&[node("a", "8"), node("b", "8x")]), &workload);
    assert_eq!(answer["fits"]["class"], "unknown");
    assert_eq!(answer["unmodelled"][0]["code"], "nodes");
}

#[test]
fn of_several_default_priority_classes_the_lowest_counts() {
    let class = |name: &str, value: i32| json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value, "globalDefault": true});
    let mut low = pod("low", "cv", Some("a"));
    low["spec"]["priority"] = json!(5);
    let with = |values: [i32; 2]| {
        let objects = list(&[node("a", "8"), low.clone(), class("x", values[0]), class("y", values[1])]);
        answer(&objects, DEPLOYMENT)["fits"]["class"].clone()
    };
    assert_eq!((with([3, 9]), with([9, 3])), (json!("exact"), json!("exact")));
    assert_eq!(with([9, 7]), json!("interval"));
}

#[test]
fn a_pod_stands_for_others_like_it() {
    let workload = pod("llm-1", "llm", Some("a"));
    let answer = answer(&list(&[node("a", "8"), workload.clone()]), &workload.to_string());
    assert_eq!((&answer["fits"]["lo"], &answer["bound"]), (&json!(7), &json!(1)));
}

#[test]
fn replication_controllers_and_cron_jobs_are_workloads_too() {
    let template = json!({"metadata": {"labels": {"app": "llm"}}, "spec": {"containers": []}});
    let objects = list(&[node("a", "8"), pod("llm-1", "llm", Some("a"))]);
    let old = json!({"kind": "ReplicationController", "spec": {"selector": {"app": "llm"}, "template": template}});
    let job = json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": template}}}});
    for workload in [old, job] {
        assert_eq!(answer(&objects, &workload.to_string())["bound"], 1);
    }
}

#[test]
fn other_gpu_names_may_be_given() {
    let objects = list(&[node("a", "3")]).to_string();
    let outcome = plimsoll("-f @0 --for @1 --gpu-resource example.com/* -o json", &[&objects, DEPLOYMENT], "");
    let answer: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((&answer["freeGpus"], &answer["limitingFactor"]), (&json!(0), &json!("otherResource")));
}

#[test]
fn standard_input_is_read_once() {
    let outcome = plimsoll("-f - --for -", &[], "");
    assert_eq!(outcome.result.unwrap(), ExitCode::from(2));
    assert!(outcome.talk.contains("only one of -f and --for"));
}

#[test]
fn errors_name_the_file_the_cause_and_the_cure() {
    let objects = list(&[]).to_string();
    for (objects, workload, expected) in [
        (&*objects, "kind: Service\n", "nothing here makes pods (found: Service); give a Deployment"),
        (&*objects, "", "nothing here makes pods (found: no object)"),
        (&*objects, &format!("{DEPLOYMENT}\n---{DEPLOYMENT}"), "several objects make pods"),
        (&*objects, &DEPLOYMENT.replace("500m", "half"), "spec.template: \"half\" is not a quantity"),
        ("{\"kind\": \"List\", \"items\": [}", DEPLOYMENT, "this is not JSON as kubectl prints it"),
        ("a: [b", DEPLOYMENT, "this is not YAML as kubectl prints it"),
        ("[1]", DEPLOYMENT, "found 1 where a Kubernetes object should be"),
        ("{\"metadata\": {}}", DEPLOYMENT, "an object has no kind"),
        ("{\"kind\": \"Node\"}", DEPLOYMENT, "a Node has no metadata.name"),
        ("[[[[[[[[[[[]]]]]]]]]]]", DEPLOYMENT, "nested deeper than 8"),
    ] {
        let error = refusal(objects, workload);
        assert!(error.contains(expected), "{error}");
    }
    let missing = plimsoll("-f @9 --for @0", &[DEPLOYMENT], "").result.unwrap_err();
    assert!(format!("{missing:#}").starts_with("reading /"));
}

#[test]
fn a_workload_of_another_version_is_not_guessed_at() {
    let objects = list(&[node("a", "8")]).to_string();
    let say = |version: &str| {
        let workload = DEPLOYMENT.replace("apps/v1", version);
        plimsoll("-f @0 --for @1", &[&objects, &workload], "").result.map_err(|error| format!("{error:#}"))
    };
    assert!(say("apps/v9").unwrap_err().ends_with("a Deployment is understood in apps/v1, not in apps/v9"));
    assert!(say("apps/v1").is_ok());
}

#[test]
fn claim_templates_bind_the_pods_of_a_stateful_set_to_volumes() {
    let workload = DEPLOYMENT.replace("Deployment", "StatefulSet")
        + "  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]\n";
    let answer = answer(&list(&[node("a", "8")]), &workload);
    assert_eq!((&answer["fits"]["class"], &answer["unmodelled"][0]["code"]), (&json!("unknown"), &json!("volumes")));
}

#[test]
fn a_bound_claim_in_the_input_keeps_replicas_where_its_volume_is() {
    let workload = DEPLOYMENT
        .replace("containers:", "volumes: [{name: m, persistentVolumeClaim: {claimName: m}}]\n      containers:");
    assert_ne!(workload, DEPLOYMENT);
    let annotations = json!({"pv.kubernetes.io/bind-completed": "yes"});
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"volumeName": "pv"},
        "metadata": {"name": "m", "annotations": annotations},
    });
    let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]});
    let terms = json!([{"matchExpressions": [expression]}]);
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"},
        "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}},
    });
    let mut there = node("b", "3");
    there["metadata"]["labels"] = json!({"kubernetes.io/hostname": "b"});
    let answer = answer(&list(&[node("a", "8"), there, claim, volume]), &workload);
    assert_eq!(answer["fits"], json!({"class": "exact", "lo": 3, "hi": 3}));
}

#[test]
fn amounts_below_zero_are_refused_in_the_workload_and_cost_a_node_elsewhere() {
    let error = refusal(&list(&[]).to_string(), &DEPLOYMENT.replace("500m", "-500m"));
    assert!(error.contains("spec.template.spec.containers[0].resources.limits[cpu] is -500m, below zero"), "{error}");
    let mut odd = pod("odd", "cv", Some("c"));
    odd["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("-1");
    let answer = answer(&list(&[node("a", "8"), node("b", "-8"), node("c", "8"), odd]), DEPLOYMENT);
    assert_eq!(answer["fits"], json!({"class": "interval", "lo": 8, "hi": null}));
}

/// [`DEPLOYMENT`] with two GPUs a replica.
fn wants_two() -> String {
    DEPLOYMENT.replace("nvidia.com/gpu: 1", "nvidia.com/gpu: 2")
}

#[test]
fn a_change_is_answered_as_if_it_had_been_made_beside_the_answer_without_it() {
    let objects = list(&[node("a", "2"), node("b", "0")]);
    let ask = |change: &str| {
        let line = format!("-f @0 --for @1 -o json --what-if {change}");
        let outcome = plimsoll(&line, &[&objects.to_string(), &wants_two()], "");
        serde_json::from_str::<Value>(&outcome.out).unwrap()
    };
    for (change, after) in [
        ("add-nodes=3:a", 4),
        ("remove-node=a", 0),
        ("cordon=a", 0),
        ("request=nvidia.com/gpu=1", 2),
        ("cordon=a --what-if uncordon=a", 1),
    ] {
        let answer = ask(change);
        assert_eq!((&answer["before"]["fits"]["lo"], &answer["fits"]["lo"]), (&json!(1), &json!(after)), "{change}");
    }
}

#[test]
fn a_change_that_cannot_be_made_says_why() {
    let objects = list(&[node("a", "2")]).to_string();
    let say = |change: &str| {
        let line = format!("-f @0 --for @1 --what-if {change}");
        format!("{:#}", plimsoll(&line, &[&objects, DEPLOYMENT], "").result.unwrap_err())
    };
    assert!(say("cordon=z").contains("there is no node \"z\""));
    assert!(say("delete-pod=ml/z").contains("there is no pod ml/z"));
    let parsed = |text: &str| text.parse::<WhatIf>().map(|_| ()).map_err(|error| format!("{error:#}"));
    assert!(parsed("explode=a").unwrap_err().contains("add-nodes=COUNT:LIKE-NODE"));
    assert!(parsed("add-nodes=x:a").unwrap_err().contains("no number of nodes"));
    assert!(parsed("delete-pod=a").unwrap_err().contains("namespace is missing"));
    assert!(parsed("request=cpu=lots").unwrap_err().contains("no quantity"));
}

#[test]
fn the_smallest_change_that_makes_room_is_one_that_was_tried() {
    let lift = |items: &[Value]| answer(&list(items), &wants_two())["lift"].clone();
    let mut taken = pod("other", "other", Some("a"));
    taken["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] = json!("2");
    let mut cordoned = node("c", "2");
    cordoned["spec"]["unschedulable"] = json!(true);
    let a = node("a", "2");
    let edits = |lift: Value| lift["edits"].clone();
    let lifted = lift(&[a.clone(), taken.clone(), cordoned]);
    assert_eq!(edits(lifted), json!([{"kind": "uncordon", "node": "c"}]));
    let mut elsewhere = node("b", "2");
    elsewhere["status"]["allocatable"]["cpu"] = json!("100m");
    assert_eq!(lift(&[a.clone(), taken, elsewhere])["change"], "move pod default/other to node b");
    let own = pod("llm-1", "llm", Some("a"));
    let lifted = lift(&[a, own]);
    assert_eq!((&lifted["change"], &lifted["gain"]), (&json!("add one node like a"), &json!(1)));
}

/// A quota for GPUs in the namespace that objects without one are in.
fn quota(hard: &str, used: &str) -> Value {
    let amount = |amount: &str| json!({"requests.nvidia.com/gpu": amount});
    let status = json!({"hard": amount(hard), "used": amount(used)});
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": amount(hard)}, "status": status})
}

#[test]
fn a_quota_is_changed_as_if_it_had_been_and_named_where_it_limits() {
    let objects = list(&[node("a", "8"), quota("5", "1")]);
    let found = answer(&objects, &wants_two());
    assert_eq!((&found["ceiling"], &found["limitingFactor"]), (&json!(2), &json!("quota")));
    assert_eq!(found["lift"]["edits"][0]["hard"], "7");
    let line = "-f @0 --for @1 -o json --what-if quota=default/team:requests.nvidia.com/gpu=7";
    let outcome = plimsoll(line, &[&objects.to_string(), &wants_two()], "");
    let after: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((&after["before"]["ceiling"], &after["ceiling"]), (&json!(2), &json!(3)));
}

#[test]
fn a_quota_that_cannot_be_changed_says_why() {
    let objects = list(&[node("a", "8"), quota("5", "1")]).to_string();
    let say = |change: &str| {
        let line = format!("-f @0 --for @1 --what-if {change}");
        format!("{:#}", plimsoll(&line, &[&objects, DEPLOYMENT], "").result.unwrap_err())
    };
    assert!(say("quota=default/other:pods=3").contains("there is no ResourceQuota default/other"));
    let unlimited = say("quota=default/team:pods=3");
    assert!(unlimited.contains("default/team does not limit pods; it limits requests.nvidia.com/gpu"), "{unlimited}");
    assert!(say("quota=default/team:requests.nvidia.com/gpu=-1").contains("below zero"));
    let parsed = |text: &str| text.parse::<WhatIf>().map(|_| ()).map_err(|error| format!("{error:#}"));
    for wrong in ["quota=team:pods=3", "quota=ml/team", "quota=ml/team:pods", "quota=ml/team:pods=lots"] {
        assert!(parsed(wrong).unwrap_err().contains("quota=NAMESPACE/NAME:RESOURCE=AMOUNT"), "{wrong}");
    }
    for wrong in ["queue-quota=team", "queue-quota=team:h100", "queue-quota=team::pods=1", "queue-quota=team:h100:pods"]
    {
        assert!(parsed(wrong).unwrap_err().contains("queue-quota=QUEUE:FLAVOR:RESOURCE=AMOUNT"), "{wrong}");
    }
    let queue = say("queue-quota=team:h100:nvidia.com/gpu=16");
    assert!(queue.contains("there is no ClusterQueue \"team\""), "{queue}");
    assert!(parsed("move-pod=ml/a").unwrap_err().contains("move-pod=NAMESPACE/NAME:NODE"));
}

#[test]
fn room_that_is_yet_to_come_is_told_apart_from_room() {
    let mut labelled = node("a", "4");
    labelled["metadata"]["labels"] = json!({"karpenter.sh/nodepool": "gpu"});
    let mut leaving = pod("old", "old", Some("a"));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let pool = json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "gpu"},
        "spec": {"limits": {"nodes": "4"}}, "status": {"resources": {"nodes": "2"}}});
    let claim = |initialized: &str| {
        let conditions = json!([{"type": "Initialized", "status": initialized}]);
        json!({"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": "c", "labels":
            {"karpenter.sh/nodepool": "gpu"}}, "status": {"conditions": conditions}})
    };
    let objects = [labelled, leaving, pool, claim("True"), claim("Unknown")];
    let answer = answer(&list(&objects), DEPLOYMENT);
    let numbers = ["releasing", "arriving", "headroom"].map(|key| answer[key].as_u64().unwrap());
    assert_eq!((answer["fits"]["lo"].as_u64(), numbers), (Some(3), [1, 4, 8]));
}

#[test]
fn what_has_to_be_said_in_words_is_in_the_table_too() {
    let mut labelled = node("a", "8");
    labelled["metadata"]["labels"] = json!({"nvidia.com/gpu.replicas": "4", "karpenter.sh/nodepool": "gpu"});
    labelled["status"]["capacity"] = json!({"nvidia.com/gpu": "12"});
    let mut leaving = pod("old", "old", Some("a"));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let pool = |name: &str| {
        json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": name},
            "spec": {"limits": {"nodes": "2"}}, "status": {"resources": {"nodes": "1"}}})
    };
    let items = [labelled, leaving, quota("5", "4"), pool("gpu"), pool("new")];
    let out = plimsoll("-f @0 --for @1", &[&list(&items).to_string(), DEPLOYMENT], "").out;
    assert!(
        out.ends_with(
            "
gpus:         4 GPUs are there and not allocatable: unhealthy, or their device plugin restarts
gpus:         7 free slots of shared GPUs make 1 whole devices of 2, at up to 4 slots each: slots are no compute
quota:        1 pod more may be created (ResourceQuota default/team: requests.nvidia.com/gpu 4 of 5 used, 1 for each)
later:        1 more in the room of terminating pods
later:        16 more on nodes that may be added
later:        a group of nodes may grow of which no node is here, so what its nodes take is not known
to make room: allow 1 more of requests.nvidia.com/gpu in ResourceQuota default/team, 6 in all (then 1 more)
"
        ),
        "{out}"
    );
}

/// Nodes and pods of another workload, room for two pods of two GPUs that is booked, and one that is kept free.
fn booked() -> Value {
    let container = json!({"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2"}}});
    let template = json!({"kind": "PodTemplate", "metadata": {"name": "trainer", "namespace": "batch"},
        "template": {"spec": {"containers": [container]}}});
    let request = json!({"kind": "ProvisioningRequest", "metadata": {"name": "job", "namespace": "batch"},
        "spec": {"podSets": [{"podTemplateRef": {"name": "trainer"}, "count": 2}],
            "provisioningClassName": "check-capacity.autoscaling.x-k8s.io"},
        "status": {"conditions": [{"type": "Provisioned", "status": "True"}]}});
    let conditions = ["ReadyForProvisioning", "Provisioning"].map(|kind| json!({"type": kind, "status": "True"}));
    let buffer = json!({"kind": "CapacityBuffer", "metadata": {"name": "spare"},
        "spec": {"scalableRef": {"apiGroup": "apps", "kind": "Deployment", "name": "llm"}},
        "status": {"replicas": 2, "conditions": conditions}});
    let pool = json!({"kind": "NodePool", "metadata": {"name": "gpu"}});
    list(&[node("a", "8"), template, request, buffer, pool])
}

#[test]
fn room_that_is_booked_or_kept_free_fits_and_is_told() {
    let report = answer(&booked(), DEPLOYMENT);
    let counts = (&report["fits"]["lo"], &report["ceiling"], &report["fitsBesideBooked"]);
    assert_eq!(counts, (&json!(8), &json!(8), &json!(4)));
    assert_eq!(report["booked"][0]["request"], json!({"namespace": "batch", "name": "job"}));
    assert_eq!(report["buffers"], json!([{"buffer": {"namespace": "default", "name": "spare"}, "replicas": 2}]));
    let out = plimsoll("-f @0 --for @1", &[&booked().to_string(), DEPLOYMENT], "").out;
    assert!(out.contains("4 replicas beside that; the service grants no more"), "{out}");
    let nothing = answer(&list(&[node("a", "8")]), DEPLOYMENT);
    assert_eq!((&nothing["fitsBesideBooked"], &nothing["booked"]), (&Value::Null, &json!([])));
}

#[test]
fn a_workload_is_found_by_name_among_the_objects() {
    let deployment = |namespace: &str| {
        json!({"metadata": {"name": "llm", "namespace": namespace}, "spec": {
            "selector": {"matchLabels": {"app": "llm"}},
            "template": {"metadata": {"labels": {"app": "llm"}},
                "spec": {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]}}}})
    };
    let mut own = pod("llm-1", "llm", Some("a"));
    own["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] = json!("2");
    let nodes = list(&[node("a", "8"), own]).to_string();
    let deployments =
        |all: &[Value]| json!({"kind": "DeploymentList", "apiVersion": "apps/v1", "items": all}).to_string();
    let one = deployments(&[deployment("default")]);
    let outcome = plimsoll("-f @0 -f @1 deployment/llm -o json", &[&nodes, &one], "");
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((&report["workload"]["kind"], &report["bound"]), (&json!("Deployment"), &json!(1)));
    assert_eq!(report["fits"]["lo"], 3);
    assert!(!outcome.talk.contains("ignored"), "{}", outcome.talk);
    let both = deployments(&[deployment("default"), deployment("ml")]);
    let say = |line: &str| format!("{:#}", plimsoll(line, &[&nodes, &both], "").result.unwrap_err());
    assert!(say("-f @0 -f @1 deploy/llm").contains("in several namespaces, so name one with -n: default, ml"));
    assert!(say("-f @0 -f @1 deploy/llm -n x").contains("no deployments/llm in namespace \"x\""));
    assert!(plimsoll("-f @0 -f @1 deploy/llm -n ml", &[&nodes, &both], "").result.is_ok());
}

#[test]
fn a_file_without_a_namespace_is_of_the_one_that_is_asked_for() {
    let objects = list(&[node("a", "8")]).to_string();
    let placed = plimsoll("-f @0 --for @1 -n ml -o json", &[&objects, DEPLOYMENT], "");
    assert!(placed.out.contains("\"namespace\": \"ml\""), "{}", placed.out);
    let other = DEPLOYMENT.replace("name: llm}", "name: llm, namespace: x}");
    let error = plimsoll("-f @0 --for @1 -n ml", &[&objects, &other], "").result.unwrap_err();
    assert!(error.to_string().ends_with("the workload is of namespace \"x\", not of \"ml\" as -n says"), "{error}");
}

#[test]
fn the_paths_are_those_of_everything_that_is_read_and_of_workloads() {
    let paths = plimsoll("--paths", &[], "").out;
    for path in ["/api/v1/nodes", "/api/v1/podtemplates", "/apis/apps/v1/deployments"] {
        assert!(paths.lines().any(|line| line == path), "{path}");
    }
    assert!(!paths.contains('?'));
}

#[test]
fn what_an_input_can_be_seen_to_lack_is_said() {
    let class =
        json!({"kind": "DeviceClass", "metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "nvidia.com/gpu"}});
    let talk = |items: &Value| plimsoll("-f @0 --for @1", &[&items.to_string(), DEPLOYMENT], "").talk;
    let said = talk(&list(&[node("a", "8"), class]));
    assert!(said.contains("the input has no list of ResourceSlices, ResourceClaims,"), "{said}");
    let nodes = json!({"kind": "NodeList", "items": [node("a", "8")]});
    assert!(!talk(&json!([nodes, list(&[])])).contains("may lack"), "an empty kind leaves no trace in the other list");
    let said = talk(&nodes);
    assert!(said.contains("none of Pod, Namespace, ResourceQuota"), "{said}");
    assert!(!talk(&list(&[node("a", "8")])).contains("lack"));
}

#[test]
fn nodes_that_are_too_small_are_told_apart_from_those_that_are_full() {
    let report = answer(&list(&[node("cpu", "0"), node("a", "1"), node("b", "4")]), &wants_two());
    let groups = report["groups"].as_array().unwrap().iter().map(|group| (&group["names"], &group["reason"]));
    let groups: Vec<_> = groups.collect();
    assert_eq!(groups[0], (&json!(["b"]), &json!("not enough nvidia.com/gpu for one more")));
    assert_eq!(groups[1], (&json!(["a", "cpu"]), &json!("not enough nvidia.com/gpu for one even when empty")));
}

#[test]
fn what_is_not_known_is_not_told_as_a_number() {
    let foreign = DEPLOYMENT.replace("      containers:\n", "      schedulerName: other\n      containers:\n");
    let report = answer(&list(&[node("a", "8")]), &foreign);
    for key in ["freeGpus", "strandedGpus", "unhealthyGpus", "releasing", "arriving", "headroom"] {
        assert_eq!(report[key], Value::Null, "{key}");
    }
    let out = plimsoll("-f @0 --for @1", &[&list(&[node("a", "8")]).to_string(), &foreign], "").out;
    assert!(out.contains("\nunknown: pods are placed by \"other\""), "{out}");
}

#[test]
fn claims_for_devices_are_among_what_is_asked_for() {
    let claims = "      resourceClaims: [{name: gpu, resourceClaimTemplateName: one}]\n      containers:\n";
    let workload = DEPLOYMENT.replace("      containers:\n", claims);
    let out = plimsoll("-f @0 --for @1", &[&list(&[node("a", "8")]).to_string(), &workload], "").out;
    assert!(out.contains("asks for cpu 500m, nvidia.com/gpu 1, claim one\n"), "{out}");
}

#[test]
fn a_workload_is_named_as_kubectl_names_it() {
    let parse = |text: &str| text.parse::<Named>().map(|_| ()).map_err(|error| error.to_string());
    for text in ["deployment/chat", "deploy/chat", "sts/db.1", "ReplicaSet/x"] {
        assert_eq!(parse(text), Ok(()), "{text}");
    }
    for (text, hint) in
        [("chat", "KIND/NAME"), ("pod/x", "--for"), ("deploy/", "no name"), ("deploy/a/../b", "no name")]
    {
        assert!(parse(text).unwrap_err().contains(hint), "{text}");
    }
}

#[test]
fn a_leader_worker_set_is_counted_in_whole_groups() {
    let set = json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": "llm"},
        "spec": {"leaderWorkerTemplate": {"size": 3, "workerTemplate": {"spec": {"containers": [
            {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "4"}}},
        ]}}}},
    });
    let member = |worker: u32, node: Option<&str>| {
        let mut pod = pod(&format!("llm-0-{worker}"), "llm", node);
        pod["metadata"]["labels"] = json!({
            "leaderworkerset.sigs.k8s.io/name": "llm",
            "leaderworkerset.sigs.k8s.io/group-index": "0",
            "leaderworkerset.sigs.k8s.io/worker-index": worker.to_string(),
        });
        pod["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] = "4".into();
        pod
    };
    let nodes = [node("a", "8"), node("b", "8"), node("c", "4")];
    let report = answer(&list(&nodes), &set.to_string());
    assert_eq!(report["fits"], json!({"class": "exact", "lo": 1, "hi": 1}));
    assert_eq!((&report["pods"], &report["requests"]["nvidia.com/gpu"]), (&json!(3), &json!("12")));
    assert_eq!(report["lift"]["edits"][0]["kind"], "addNodes");

    let members = [member(0, Some("a")), member(1, Some("a")), member(2, None)];
    let report = answer(&list(&[&nodes[..], &members[..]].concat()), &set.to_string());
    assert_eq!((&report["bound"], &report["pending"]), (&json!(0), &json!(1)));
    assert_eq!(report["fits"]["lo"], 1, "one pod completes the group that has been started");
}
