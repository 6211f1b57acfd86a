//! `plimsoll capacity` on a cluster that answers: the built program against a small API server.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::process::Command;

use super::api::{Api, NODES, PODS};

fn kubeconfig(url: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": url}}], "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    });
    std::fs::write(file.path(), text.to_string()).unwrap();
    file
}

async fn plimsoll(url: &str, arguments: &[&str]) -> Output {
    let kubeconfig = kubeconfig(url);
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["capacity", "-o", "json", "--kubeconfig"]).arg(kubeconfig.path()).args(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
}

fn cluster(api: &Api) {
    let offered = json!({"cpu": "8", "memory": "32Gi", "pods": "110", "nvidia.com/gpu": "4"});
    let conditions = json!([{"type": "Ready", "status": "True"}]);
    api.list(NODES, [json!({"metadata": {"name": "a"}, "status": {"allocatable": offered, "conditions": conditions}})]);
    let container = json!({"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}});
    let spec = json!({"nodeName": "a", "containers": [container]});
    api.list(
        PODS,
        [json!({"metadata": {"namespace": "ml", "name": "x"}, "spec": spec, "status": {"phase": "Running"}})],
    );
    let template = json!({"metadata": {"labels": {"app": "chat"}}, "spec": {"containers": [container]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "ml", "name": "chat"},
        "spec": {"selector": {"matchLabels": {"app": "chat"}}, "template": template}});
    api.object("/apis/apps/v1/namespaces/ml/deployments/chat", deployment);
}

#[tokio::test]
async fn a_workload_of_a_cluster_is_answered_from_its_objects() {
    let api = Api::start().await;
    cluster(&api);
    let output = plimsoll(&api.url, &["deployment/chat", "-n", "ml"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["fits"]["lo"], &answer["workload"]["name"]), (&json!(3), &json!("chat")));
    assert!(String::from_utf8_lossy(&output.stderr).contains("read 1 nodes, 1 pods"));
}

#[tokio::test]
async fn what_node_autoscalers_have_booked_is_read_and_what_may_not_be_read_is_named() {
    let api = Api::start().await;
    cluster(&api);
    let container = json!({"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2"}}});
    let template =
        json!({"metadata": {"namespace": "ml", "name": "t"}, "template": {"spec": {"containers": [container]}}});
    api.list("/api/v1/podtemplates", [template]);
    let spec = json!({"podSets": [{"podTemplateRef": {"name": "t"}, "count": 1}],
        "provisioningClassName": "check-capacity.autoscaling.x-k8s.io"});
    let conditions = json!([{"type": "Provisioned", "status": "True"}]);
    let request =
        json!({"metadata": {"namespace": "ml", "name": "job"}, "spec": spec, "status": {"conditions": conditions}});
    api.list("/apis/autoscaling.x-k8s.io/v1/provisioningrequests", [request]);
    api.refuse("/apis/autoscaling.x-k8s.io/v1beta1/capacitybuffers", 403);
    let output = plimsoll(&api.url, &["deployment/chat", "-n", "ml"]).await;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["fits"]["lo"], &answer["fitsBesideBooked"]), (&json!(3), &json!(1)));
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(talk.contains("you may not list capacitybuffers"), "{talk}");
}

#[tokio::test]
async fn what_may_not_be_read_is_an_error_and_not_an_answer() {
    let api = Api::start().await;
    cluster(&api);
    let output = plimsoll(&api.url, &["deployment/other", "-n", "ml"]).await;
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && talk.contains("there is no deployments/other"), "{talk}");
    api.refuse("/api/v1/resourcequotas", 403);
    let output = plimsoll(&api.url, &["deployment/chat", "-n", "ml"]).await;
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && talk.contains("reading resourcequotas"), "{talk}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_has_an_exit_code_of_its_own() {
    let output = plimsoll("http://127.0.0.1:1", &["deployment/chat"]).await;
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}
