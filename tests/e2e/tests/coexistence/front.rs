//! One APIService for both: what is ours is answered here, what is KEDA's by KEDA.

use anyhow::{Context, Result, bail, ensure};
use plimsoll_e2e::{
    World,
    keda::{self, ScaledObject},
    manifests::{NAME, NAMESPACE},
    standin::Load,
    suite::{Cluster, Report},
    wait,
    workload::{Autoscaler, Inference, WORKLOAD},
    world::SOON,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{address, backlog, keda as running, pass_on, pass_on_by_certificate, status, tail, wait_coexistence};

/// The APIService in question.
const EXTERNAL: &str = "v1beta1.external.metrics.k8s.io";

/// A ScaledObject whose trigger KEDA answers without us: ten of what waits per replica.
fn of_kedas_own(namespace: &str) -> Result<Value> {
    let url = format!("{}/waiting", backlog()?.url);
    let rules = json!({"stabilizationWindowSeconds": 0, "tolerance": "0"});
    Ok(json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": WORKLOAD, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"name": WORKLOAD}, "minReplicaCount": 1, "maxReplicaCount": 20,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": rules, "scaleDown": rules}}},
            "triggers": [{
                "type": "metrics-api", "metadata": {"url": url, "valueLocation": "waiting", "targetValue": "10"},
            }],
        },
    }))
}

/// A workload of one replica for KEDA's own trigger.
async fn kedas_world<'a>(cluster: &'a Cluster, name: &str) -> Result<World<'a>> {
    let world = World::create(&cluster.plane, name).await?;
    world.add_node(8).await?;
    backlog()?.set(0);
    world.deploy(&Inference::new(name, 1), 1).await?;
    keda::apply(&cluster.plane, &format!("{name}-own"), vec![of_kedas_own(name)?]).await?;
    Ok(world)
}

/// The path under which the HPA controller asks for the only metric of KEDA's HPA.
async fn path_of(cluster: &Cluster, namespace: &str) -> Result<String> {
    let path =
        ["get", "hpa", "keda-hpa-llm", "-n", namespace, "-o", "jsonpath={.spec.metrics[0].external.metric.name}"];
    let metric = cluster.plane.kubectl(&path).await?;
    let selector = format!("scaledobject.keda.sh%2Fname%3D{WORKLOAD}");
    let metric = metric.trim();
    Ok(format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}?labelSelector={selector}"))
}

/// The median time of an answer at a URL, in milliseconds.
async fn median(client: &reqwest::Client, url: &str) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..101 {
        let began = Instant::now();
        client.get(url).send().await?.error_for_status()?.bytes().await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    times.get(50).copied().context("101 answers")
}

pub(crate) async fn a_trigger_of_kedas_own_and_an_hpa_of_ours_share_one_api(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let ours = World::create(&cluster.plane, "front-ours").await?;
    ours.add_node(8).await?;
    ours.standin.set_load(Load::for_replicas(5));
    ours.deploy(&Inference::new("front-ours", 5), 5).await?;
    ours.autoscale(&Autoscaler::queue_and_utilisation(1, 50)).await?;

    let kedas = kedas_world(cluster, "front-keda").await?;

    // KEDA's numbers arrive through us, in both directions.
    let began = kedas.trajectory.mark();
    backlog()?.set(50);
    kedas.wait_replicas(5, SOON).await.with_context(tail)?;
    let path = path_of(cluster, kedas.namespace()).await?;
    let list: Value = serde_json::from_str(&cluster.plane.kubectl(&["get", "--raw", &path]).await?)?;
    ensure!(list["items"][0]["value"] == "50", "KEDA's answer is {list}");
    let client = cluster.adapter.client(Some(&cluster.plane.pki.cluster.client("e2e", Some("system:masters"))?))?;
    let kedas_address = address(&*running()?);
    let (direct, passed_on) = (
        median(&client, &format!("{kedas_address}{path}")).await?,
        median(&client, &cluster.adapter.url(&path)).await?,
    );
    report.line(format!("an answer of KEDA takes {direct:.1} ms, and {passed_on:.1} ms through us (medians of 101)"));
    backlog()?.set(15);
    kedas.wait_replicas(2, SOON).await.with_context(tail)?;
    report.line(format!("KEDA's own trigger: {}", kedas.trajectory.path(began)));

    // Ours is served and kept within what fits all the while.
    let began = ours.trajectory.mark();
    ours.wait_metrics(SOON).await?;
    ours.standin.set_load(Load::for_replicas(15));
    ours.wait_replicas(8, SOON).await?;
    ours.wait_pods("8 Ready pods", |pods| pods.ready == 8 && pods.pending == 0).await?;
    report.line(format!("our HPA on 8 GPUs: {}, {:?}", ours.trajectory.path(began), ours.trajectory.pods()));

    let metrics = status(&cluster.adapter, "/metrics").await?;
    let passed = metrics.lines().filter(|line| line.starts_with("plimsoll_keda_requests_total"));
    let passed: Vec<_> = passed.collect();
    ensure!(passed.iter().any(|line| line.contains("\"answered\"")), "nothing was passed on: {passed:?}");
    report.line(passed.join(", "));
    ScaledObject::remove(&cluster.plane, kedas.namespace()).await?;
    kedas.remove().await?;
    ours.remove().await
}

pub(crate) async fn an_api_that_is_taken_away_is_told_and_not_fought_for(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let path = ["get", "apiservice", EXTERNAL, "-o", "jsonpath={.spec.service}"];
    let before: Value = serde_json::from_str(&cluster.plane.kubectl(&path).await?)?;
    let lead_to = async |service: &Value| {
        let change = json!({"spec": {"service": service}}).to_string();
        cluster.plane.kubectl(&["patch", "apiservice", EXTERNAL, "--type=merge", "-p", &change]).await
    };
    let world = World::create(&cluster.plane, "front-lost").await?;
    world.add_node(1).await?;
    world.deploy(&Inference::new("front-lost", 1), 1).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(1, 2).with_nodes_available()).await?;
    let kedas = json!({"namespace": "keda", "name": "keda-metrics-apiserver", "port": 443});
    lead_to(&kedas).await?;
    let noticed = wait_coexistence(&cluster.adapter, "besideKeda").await?;
    let meaning = noticed["meaning"].as_str().unwrap_or_default();
    ensure!(meaning.contains("KEDA (keda/keda-metrics-apiserver) owns"), "it says {noticed}");
    report.line(meaning);
    let metrics = status(&cluster.adapter, "/metrics").await?;
    let owner = "plimsoll_external_metrics_api_owner{owner=\"keda\"} 1";
    ensure!(metrics.lines().any(|line| line == owner), "the gauge does not say so");
    let lost = cluster.adapter.log()?.lines().any(|line| line.contains("were ours and are not any more"));
    ensure!(lost, "the log does not say so");
    let said = wait::until("an Event on the HPA", SOON, async || {
        let path = ["get", "events", "-n", world.namespace(), "--field-selector=reason=ExternalElsewhere"];
        let said = cluster.plane.kubectl(&[&path[..], &["-o", "jsonpath={.items[*].message}"]].concat()).await?;
        Ok(if said.contains("owns the APIService") { Ok(said) } else { Err(said) })
    });
    report.line(said.await?);
    let user = format!("--as=system:serviceaccount:{NAMESPACE}:{NAME}");
    for verb in ["patch", "update", "delete"] {
        let may = cluster.plane.kubectl(&["auth", "can-i", verb, "apiservices", &user, "--quiet"]).await;
        ensure!(may.is_err(), "it may {verb} APIServices");
    }
    let after: Value = serde_json::from_str(&cluster.plane.kubectl(&path).await?)?;
    ensure!(after == kedas, "somebody has changed it: {after}");
    lead_to(&before).await?;
    wait_coexistence(&cluster.adapter, "inFrontOfKeda").await?;
    world.remove().await
}

/// What the HPA controller last said of KEDA's HPA.
async fn complaint(cluster: &Cluster, namespace: &str) -> Result<String> {
    let condition = "jsonpath={.status.conditions[?(@.type==\"ScalingActive\")].message}";
    cluster.plane.kubectl(&["get", "hpa", "keda-hpa-llm", "-n", namespace, "-o", condition]).await
}

pub(crate) async fn while_kedas_metrics_server_is_away_its_hpas_hold_and_ours_go_on(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let kedas = kedas_world(cluster, "away-keda").await?;
    backlog()?.set(30);
    kedas.wait_replicas(3, SOON).await.with_context(tail)?;
    let ours = World::create(&cluster.plane, "away-ours").await?;
    ours.add_node(8).await?;
    ours.standin.set_load(Load::for_replicas(2));
    ours.deploy(&Inference::new("away-ours", 2), 2).await?;
    ours.autoscale(&Autoscaler::queue_and_utilisation(1, 50)).await?;
    ours.wait_metrics(SOON).await?;

    // KEDA knows us by a certificate as well as by a token.
    let kedas_address = address(&*running()?);
    pass_on_by_certificate(&cluster.plane, &cluster.adapter, &kedas_address).await?;
    let path = path_of(cluster, kedas.namespace()).await?;
    let list: Value = serde_json::from_str(&cluster.plane.kubectl(&["get", "--raw", &path]).await?)?;
    ensure!(list["items"][0]["value"] == "30", "KEDA's answer is {list}");

    running()?.stop_metrics_server();
    backlog()?.set(80);
    let said = wait::until("the HPA controller to be told why", SOON, async || {
        let said = complaint(cluster, kedas.namespace()).await?;
        Ok(if said.contains("is KEDA's to tell, but its metrics server") { Ok(said) } else { Err(said) })
    });
    report.line(said.await?);
    ours.standin.set_load(Load::for_replicas(6));
    ours.wait_replicas(6, SOON).await?;
    ensure!(kedas.trajectory.replicas() == 3, "KEDA's workload has moved to {}", kedas.trajectory.replicas());

    running()?.start_metrics_server(&cluster.plane)?;
    kedas.wait_replicas(8, SOON).await.with_context(tail)?;
    ScaledObject::remove(&cluster.plane, kedas.namespace()).await?;
    kedas.remove().await?;
    ours.remove().await
}

pub(crate) async fn the_shipped_components_are_accepted(cluster: &Cluster, report: &Report) -> Result<()> {
    for component in ["beside-keda", "in-front-of-keda"] {
        let overlay = cluster.plane.path("deploy").join("overlays").join(component);
        std::fs::create_dir_all(&overlay)?;
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": ["../own-ca"], "components": [format!("../../components/{component}")],
        });
        std::fs::write(overlay.join("kustomization.yaml"), kustomization.to_string())?;
        let overlay = overlay.to_str().context("the temporary folder is not UTF-8")?;
        let tried = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", overlay];
        let said = cluster.plane.kubectl(&tried).await.with_context(|| format!("trying {component}"))?;
        let external = said.contains(&format!("apiservice.apiregistration.k8s.io/{EXTERNAL}"));
        ensure!(external == (component == "in-front-of-keda"), "{component}: {said}");
        report.line(format!("{component}: {} objects", said.lines().count()));
    }
    Ok(())
}

pub(crate) async fn a_way_to_keda_that_leads_back_to_us_is_found_out(cluster: &Cluster, report: &Report) -> Result<()> {
    let (plane, adapter) = (&cluster.plane, &cluster.adapter);
    // kube-apiserver passes everything of this API on to us.
    pass_on(plane, adapter, plane.server.trim_end_matches('/')).await?;
    let path =
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/s0-x?labelSelector=scaledobject.keda.sh%2Fname%3Dx";
    let Err(refused) = plane.kubectl(&["get", "--raw", path]).await else { bail!("it was answered") };
    let refused = format!("{refused:#}");
    ensure!(refused.contains("keda.url leads back here"), "it was refused for another reason: {refused}");
    let at = refused.find("s0-x of ScaledObject").unwrap_or_default();
    report.line(refused.get(at..).unwrap_or_default().trim());
    let kedas = address(&*running()?);
    pass_on(plane, adapter, &kedas).await
}
