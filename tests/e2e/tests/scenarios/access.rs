//! Who is believed and who may read: past the aggregator with forged identities, and through it without a role.

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    World,
    adapter::service_account_kubeconfig,
    kubeconfig,
    pki::Pair,
    standin::Load,
    suite::{Cluster, Report},
    workload::{Autoscaler, Inference},
    world::SOON,
};
use serde_json::Value;

/// A direct request: its certificate, and what must come of it.
struct Attempt {
    what: &'static str,
    certificate: Option<Pair>,
    /// `X-Remote-User` and `X-Remote-Group`.
    claims: Option<(&'static str, &'static str)>,
    expected: &'static [u16],
}

pub(crate) async fn forged_and_unentitled_requests_are_refused(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "access").await?;
    world.add_node(8).await?;
    world.standin.set_load(Load::for_replicas(2));
    world.deploy(&Inference::new("access", 2), 2).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(2, 8)).await?;
    world.wait_metrics(SOON).await?;
    let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/access/dcgm_gpu_utilization";

    for attempt in attempts(cluster)? {
        let status = send(cluster, &attempt, path).await?;
        ensure!(attempt.expected.contains(&status), "{}: answered {status}", attempt.what);
        report.line(format!("{}: {status}", attempt.what));
    }
    by_role(cluster, path, report).await?;
    world.remove().await
}

fn attempts(cluster: &Cluster) -> Result<Vec<Attempt>> {
    let (masters, refused) = (Some(("e2e-admin", "system:masters")), &[401, 403][..]);
    let (clients, proxies) = (&cluster.plane.pki.cluster, &cluster.plane.pki.front_proxy);
    let nobody = || clients.client("mallory", Some("developers"));
    Ok(vec![
        Attempt { what: "no certificate", certificate: None, claims: None, expected: refused },
        Attempt { what: "no certificate, forged X-Remote-*", certificate: None, claims: masters, expected: refused },
        Attempt {
            what: "a client certificate without a role",
            certificate: Some(nobody()?),
            claims: None,
            expected: &[403],
        },
        Attempt {
            what: "a client certificate and forged X-Remote-*",
            certificate: Some(nobody()?),
            claims: masters,
            expected: &[403],
        },
        Attempt {
            what: "a client certificate that is named like the front proxy",
            certificate: Some(clients.client("front-proxy-client", None)?),
            claims: masters,
            expected: &[403],
        },
        Attempt {
            what: "the front proxy's authority with a wrong name",
            certificate: Some(proxies.client("some-other-proxy", None)?),
            claims: masters,
            expected: refused,
        },
        Attempt {
            what: "the front proxy itself for a user without a role",
            certificate: Some(proxies.client("front-proxy-client", None)?),
            claims: Some(("mallory", "developers")),
            expected: &[403],
        },
        Attempt {
            what: "the front proxy itself for an administrator",
            certificate: Some(proxies.client("front-proxy-client", None)?),
            claims: masters,
            expected: &[200],
        },
    ])
}

async fn send(cluster: &Cluster, attempt: &Attempt, path: &str) -> Result<u16> {
    let client = cluster.adapter.client(attempt.certificate.as_ref())?;
    let mut request = client.get(cluster.adapter.url(path));
    if let Some((user, group)) = attempt.claims {
        request = request.header("X-Remote-User", user).header("X-Remote-Group", group);
    }
    let answer = request.send().await.with_context(|| attempt.what)?;
    Ok(answer.status().as_u16())
}

/// A ServiceAccount reads nothing, until the shipped role that aggregates to `view` is bound to it.
async fn by_role(cluster: &Cluster, path: &str, report: &Report) -> Result<()> {
    let plane = &cluster.plane;
    plane.kubectl(&["create", "serviceaccount", "reader", "-n", "access"]).await?;
    let client = kubeconfig::client(&service_account_kubeconfig(plane, "access", "reader").await?).await?;
    let read =
        async || client.request::<Value>(http::Request::get(path).body(Vec::new())?).await.map_err(anyhow::Error::from);
    let refused = read().await.err().context("a ServiceAccount without a role was answered")?.to_string();
    ensure!(refused.contains("forbidden"), "refused without saying so: {refused}");
    report.line(format!("without a role, through the aggregator: {refused}"));

    let bind =
        ["create", "rolebinding", "reader", "-n", "access", "--clusterrole=view", "--serviceaccount=access:reader"];
    plane.kubectl(&bind).await?;
    // kube-apiserver refused, not we: its own authorisation comes first, so no cached refusal of ours is in the way.
    plimsoll_e2e::wait::until("the role to take effect", SOON, async || match read().await {
        Ok(_) => Ok(Ok(())),
        Err(error) => Ok(Err(error.to_string())),
    })
    .await?;
    report.line("with the role `view`: answered");
    Ok(())
}
