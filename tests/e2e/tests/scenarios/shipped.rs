//! What is shipped is what runs: the Deployment's flags and configuration are good, and its rights suffice and end there.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    manifests::{NAME, NAMESPACE},
    suite::{Cluster, Report},
    tools,
};
use serde_json::Value;

pub(crate) async fn the_shipped_command_line_and_configuration_are_good(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let text = cluster.plane.kubectl(&["get", "deployment", NAME, "-n", NAMESPACE, "-o", "json"]).await?;
    let deployment: Value = serde_json::from_str(&text)?;
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().cloned();
    let config = tools::deploy()?.join("base/config.yaml");
    let arguments = arguments.context("the container has arguments")?;
    let arguments = arguments.iter().filter_map(Value::as_str).map(|argument| match argument.split_once('=') {
        Some(("--config", _)) => format!("--config={}", config.display()),
        _ => argument.to_owned(),
    });
    let output = Command::new(tools::plimsoll()?).args(arguments).arg("--check").output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the shipped command line is refused: {said}");
    report.line(said.trim().rsplit('/').next().unwrap_or_default());
    Ok(())
}

pub(crate) async fn its_rights_suffice_and_end_there(cluster: &Cluster, report: &Report) -> Result<()> {
    let user = format!("--as=system:serviceaccount:{NAMESPACE}:{NAME}");
    let may = async |verb: &str, resource: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let subresource = format!("--subresource={subresource}");
        // `can-i` answers "no" with exit code 1, which is not a failure here.
        let answer =
            cluster.plane.kubectl(&["auth", "can-i", verb, resource, &subresource, "-A", &user, "--quiet"]).await;
        answer.is_ok()
    };
    for (verb, resource) in [("watch", "nodes"), ("list", "pods"), ("watch", "horizontalpodautoscalers.autoscaling")] {
        ensure!(may(verb, resource).await, "it may not {verb} {resource}");
    }
    let never = [
        ("list", "secrets"),
        ("get", "secrets"),
        ("create", "pods/exec"),
        ("get", "nodes/proxy"),
        ("delete", "pods"),
        ("patch", "deployments.apps"),
        ("update", "deployments.apps/scale"),
        ("patch", "horizontalpodautoscalers.autoscaling"),
        ("impersonate", "users"),
        ("list", "configmaps"),
    ];
    for (verb, resource) in never {
        ensure!(!may(verb, resource).await, "it may {verb} {resource}");
    }
    let log = cluster.adapter.log()?;
    // RBAC names the user; an Event for a namespace that is being removed is forbidden to everybody.
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("forbidden: User")).collect();
    ensure!(refused.is_empty(), "rights are missing:\n{}", refused.join("\n"));
    report.line(format!("{} things that it never may; nothing that it tried was forbidden", never.len()));
    Ok(())
}
