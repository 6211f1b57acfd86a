//! A cluster as JSON, each object made when it is asked for.

use serde_json::{Value, json};

pub(crate) const NODES: u32 = 5_000;
pub(crate) const PODS: u32 = 150_000;
pub(crate) const WORKLOADS: u32 = 500;
const NAMESPACES: u32 = 25;
/// One workload in so many is a StatefulSet.
const STATEFUL: u32 = 10;

pub(crate) fn namespace(workload: u32) -> String {
    format!("team-{:02}", workload % NAMESPACES)
}

pub(crate) fn workload(index: u32) -> String {
    format!("inference-server-{index:03}")
}

/// The object of that index in a list; none behind the end.
pub(crate) fn object(path: &str, index: u32) -> Option<String> {
    match path {
        "/api/v1/nodes" => (index < NODES).then(|| node(index).to_string()),
        "/api/v1/pods" => (index < PODS).then(|| pod(index)),
        "/api/v1/namespaces" => (index < NAMESPACES).then(|| {
            json!({"metadata": {"name": namespace(index), "labels": {"kubernetes.io/metadata.name": namespace(index)}}})
                .to_string()
        }),
        "/apis/autoscaling/v2/horizontalpodautoscalers" => (index < WORKLOADS).then(|| hpa(index).to_string()),
        "/apis/apps/v1/deployments" => scaled(index, false),
        "/apis/apps/v1/statefulsets" => scaled(index, true),
        _ => None,
    }
}

fn scaled(index: u32, stateful: bool) -> Option<String> {
    let mut of_kind = (0..WORKLOADS).filter(|index| (index % STATEFUL == 0) == stateful);
    let index = of_kind.nth(usize::try_from(index).unwrap())?;
    let (name, replicas) = (workload(index), PODS / WORKLOADS);
    let object = json!({
        "metadata": {"name": name, "namespace": namespace(index), "uid": uid(1, index), "managedFields": managed()},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name, "team": namespace(index)}}, "spec": spec(index)},
        },
        "status": {"replicas": replicas},
    });
    Some(object.to_string())
}

fn hpa(index: u32) -> Value {
    let kind = if index.is_multiple_of(STATEFUL) { "StatefulSet" } else { "Deployment" };
    let name = workload(index);
    json!({
        "metadata": {"name": name, "namespace": namespace(index), "uid": uid(2, index)},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name}, "minReplicas": 1, "maxReplicas": 400,
            "metrics": [{"type": "Pods", "pods": {
                "metric": {"name": "inference_queue_length"}, "target": {"type": "AverageValue", "averageValue": "10"},
            }}],
        },
    })
}

fn node(index: u32) -> Value {
    let name = node_name(index);
    let amounts = json!({
        "cpu": "192", "memory": "2113396Mi", "pods": "110", "nvidia.com/gpu": "8", "ephemeral-storage": "1843Gi",
        "hugepages-1Gi": "0", "hugepages-2Mi": "0",
    });
    let mut labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": format!("zone-{}", index % 3), "topology.kubernetes.io/region": "region",
        "node.kubernetes.io/instance-type": "gpu-8x", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    });
    for feature in 0..40 {
        labels[format!("feature.node.kubernetes.io/cpu-cpuid.FEATURE{feature}")] = json!("true");
    }
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "Kubelet", "message": "as the kubelet says",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let conditions = [
        condition("MemoryPressure", "False"),
        condition("DiskPressure", "False"),
        condition("PIDPressure", "False"),
        condition("Ready", "True"),
    ];
    let image =
        |image: u32| json!({"names": [format!("registry.example/image-{image}@sha256:{image:064x}")], "sizeBytes": 1});
    json!({
        "metadata": {
            "name": name, "uid": uid(3, index), "labels": labels, "managedFields": managed(),
            "annotations": {"csi.volume.kubernetes.io/nodeid": format!("{{\"csi\":\"{name}\"}}")},
        },
        "spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"},
        "status": {
            "allocatable": amounts, "capacity": amounts, "conditions": conditions,
            "images": (0..50).map(image).collect::<Vec<_>>(),
        },
    })
}

/// A running pod; those of one workload are spread over the nodes.
pub(crate) fn pod(index: u32) -> String {
    let of = index % WORKLOADS;
    let (app, number) = (workload(of), index / WORKLOADS);
    let stateful = of.is_multiple_of(STATEFUL);
    let hash = format!("{:x}", 0x5d9f_0000 + of);
    let name = if stateful { format!("{app}-{number}") } else { format!("{app}-{hash}-{:05x}", index % 0xf_ffff) };
    let mut labels = json!({"app": app, "team": namespace(of), "app.kubernetes.io/part-of": "inference"});
    let owner = if stateful {
        labels["statefulset.kubernetes.io/pod-name"] = json!(name);
        labels["apps.kubernetes.io/pod-index"] = json!(number.to_string());
        labels["controller-revision-hash"] = json!(format!("{app}-{hash}"));
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": app, "uid": uid(1, of), "controller": true})
    } else {
        labels["pod-template-hash"] = json!(hash);
        let replica_set = format!("{app}-{hash}");
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set, "uid": uid(4, of), "controller": true})
    };
    let mut spec = spec(of);
    spec["nodeName"] = json!(node_name(index % NODES));
    let token = format!("kube-api-access-{index:05x}");
    spec["volumes"].as_array_mut().unwrap().push(json!({"name": token, "projected": {"sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]}}));
    let at = format!("2026-01-{:02}T{:02}:{:02}:{:02}Z", index % 28 + 1, index % 24, index % 60, (index / 60) % 60);
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": at});
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let resources = spec["containers"][0]["resources"].clone();
    json!({
        "metadata": {
            "name": name, "generateName": format!("{app}-{hash}-"), "namespace": namespace(of), "uid": uid(0, index),
            "resourceVersion": "1", "labels": labels, "ownerReferences": [owner], "creationTimestamp": at,
            "annotations": {
                "prometheus.io/scrape": "true", "prometheus.io/port": "8000",
                "cni.example/pod-ips": format!("[{{\"ip\":\"10.0.{}.{}\"}}]", index >> 8, index & 0xff),
            },
            "managedFields": managed(),
        },
        "spec": spec,
        "status": {
            "phase": "Running", "qosClass": "Burstable", "startTime": at, "hostIP": "192.0.2.1",
            "podIP": format!("10.{}.{}.{}", index >> 16, (index >> 8) & 0xff, index & 0xff),
            "conditions": kinds.map(condition),
            "containerStatuses": [{
                "name": "server", "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": at}},
                "image": "registry.example/inference:1", "imageID": format!("registry.example/inference@sha256:{of:064x}"),
                "containerID": format!("containerd://{index:064x}"),
                "resources": resources, "allocatedResources": resources["requests"],
            }],
        },
    })
    .to_string()
}

fn spec(workload: u32) -> Value {
    let variable =
        |index: u32| json!({"name": format!("SETTING_{index}"), "value": format!("value {index} of {workload}")});
    let mount = |index: u32| json!({"name": format!("config-{index}"), "mountPath": format!("/etc/config/{index}")});
    let volume =
        |index: u32| json!({"name": format!("config-{index}"), "configMap": {"name": format!("settings-{index}")}});
    json!({
        "containers": [{
            "name": "server", "image": "registry.example/inference:1", "args": ["--model", format!("model-{workload}")],
            "env": (0..30).map(variable).collect::<Vec<_>>(),
            "ports": [{"name": "metrics", "containerPort": 8000, "protocol": "TCP"}],
            "resources": {
                "requests": {"cpu": "500m", "memory": format!("{}Mi", 1024 + workload)}, "limits": {"memory": "8Gi"},
            },
            "volumeMounts": (0..6).map(mount).collect::<Vec<_>>(),
            "livenessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 10},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8000}, "periodSeconds": 5},
            "terminationMessagePath": "/dev/termination-log", "imagePullPolicy": "IfNotPresent",
        }],
        "volumes": (0..6).map(volume).collect::<Vec<_>>(),
        "tolerations": [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        ],
        "priority": 0, "preemptionPolicy": "PreemptLowerPriority", "schedulerName": "default-scheduler",
        "serviceAccountName": "default", "dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
        "nodeSelector": {"kubernetes.io/os": "linux"},
    })
}

/// Managed fields as three managers leave them.
fn managed() -> Value {
    let fields: serde_json::Map<_, _> = (0..24)
        .map(|index| (format!("k:{{\"name\":\"SETTING_{index}\"}}"), json!({".": {}, "f:name": {}, "f:value": {}})))
        .collect();
    let manager = |name: &str, fields: Value| {
        json!({"manager": name, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    json!([
        manager("kube-controller-manager", json!({"f:spec": {"f:containers": {"f:env": fields}}})),
        manager("kube-scheduler", json!({"f:status": {"f:conditions": {}}})),
        manager("kubelet", json!({"f:status": {"f:containerStatuses": {}, "f:podIP": {}, "f:startTime": {}}})),
    ])
}

fn node_name(index: u32) -> String {
    format!("gpu-node-{index:04}.cluster.example")
}

fn uid(kind: u32, index: u32) -> String {
    format!("{kind:08x}-0000-4000-8000-{index:012x}")
}
