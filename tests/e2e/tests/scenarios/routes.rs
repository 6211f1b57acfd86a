//! Every route through the aggregator, as kubectl, the HPA controller and kube-apiserver itself use them.

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    World,
    adapter::available,
    manifests::API_SERVICES,
    standin::Load,
    suite::{Cluster, Report},
    workload::{Autoscaler, Inference},
    world::SOON,
};
use serde_json::Value;

pub(crate) async fn every_route_answers_through_the_aggregator(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "routes").await?;
    world.add_node(8).await?;
    world.standin.set_load(Load::for_replicas(2));
    world.deploy(&Inference::new("routes", 2), 2).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(2, 8).with_nodes_available()).await?;
    world.wait_metrics(SOON).await?;

    for name in API_SERVICES {
        let condition = available(&cluster.plane.client, name).await?;
        ensure!(condition["status"] == "True", "{name} is not Available: {condition}");
    }
    let mut routes = routes("routes");
    let pods = world.of_pods("inference_queue_length").await?;
    let pod = pods["items"][0]["describedObject"]["name"].as_str().context("a pod has a name")?;
    for version in ["v1beta1", "v1beta2"] {
        let path = format!("/apis/custom.metrics.k8s.io/{version}/namespaces/routes/pods/{pod}/inference_queue_length");
        routes.push((path, Answer::Items("MetricValueList")));
    }
    for (path, kind) in &routes {
        let text = cluster.plane.kubectl(&["get", "--raw", path]).await?;
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("{path} is no JSON: {text}"))?;
        let holds = match kind {
            Answer::Kind(kind) => answer["kind"] == *kind,
            Answer::Items(kind) => {
                answer["kind"] == *kind && answer["items"].as_array().is_some_and(|items| !items.is_empty())
            }
            Answer::OpenApi => answer["openapi"].as_str().is_some_and(|version| version.starts_with("3.")),
        };
        ensure!(holds, "{path} answered {text}");
    }
    let resources = cluster.plane.kubectl(&["api-resources", "--api-group=external.metrics.k8s.io"]).await?;
    ensure!(resources.contains("ExternalMetricValueList"), "discovery lists no external metrics:\n{resources}");
    report.line(format!("{} routes answered", routes.len()));
    refuses(cluster, &world).await?;
    let log = cluster.plane.log("kube-apiserver")?;
    let complaints = complaints(&log);
    ensure!(complaints.is_empty(), "kube-apiserver complains of us:\n{}", complaints.join("\n"));
    world.remove().await
}

enum Answer {
    Kind(&'static str),
    Items(&'static str),
    OpenApi,
}

fn routes(namespace: &str) -> Vec<(String, Answer)> {
    let mut routes = Vec::new();
    for group in ["external.metrics.k8s.io", "custom.metrics.k8s.io"] {
        routes.push((format!("/apis/{group}"), Answer::Kind("APIGroup")));
    }
    for version in ["external.metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta2"]
    {
        routes.push((format!("/apis/{version}"), Answer::Kind("APIResourceList")));
        routes.push((format!("/openapi/v3/apis/{version}"), Answer::OpenApi));
    }
    for metric in ["dcgm_gpu_utilization", "gpu_nodes_available"] {
        let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}");
        routes.push((path, Answer::Items("ExternalMetricValueList")));
    }
    for version in ["v1beta1", "v1beta2"] {
        let path = format!(
            "/apis/custom.metrics.k8s.io/{version}/namespaces/{namespace}/pods/*/inference_queue_length?labelSelector=app%3Dllm"
        );
        routes.push((path, Answer::Items("MetricValueList")));
    }
    routes
}

/// What must be an error, with a sentence of use.
async fn refuses(cluster: &Cluster, world: &World<'_>) -> Result<()> {
    let base = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{}", world.namespace());
    for (path, expected) in [
        (format!("{base}/no_such_metric"), "NotFound"),
        (format!("{base}/dcgm_gpu_utilization?labelSelector=a%20b%20c"), "BadRequest"),
    ] {
        let answer = cluster.plane.kubectl(&["get", "--raw", &path]).await;
        let error = answer.err().with_context(|| format!("{path} was answered"))?.to_string();
        ensure!(error.contains(expected), "{path}: {error}");
    }
    Ok(())
}

/// Error and warning lines of kube-apiserver (klog: `E1120 ...`) that are about our groups.
fn complaints(log: &str) -> Vec<&str> {
    let ours = |line: &&str| {
        let severe = line.starts_with(['E', 'W']) && line.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        severe && ["external.metrics", "custom.metrics", "plimsoll"].iter().any(|name| line.contains(name))
    };
    log.lines().filter(ours).collect()
}
