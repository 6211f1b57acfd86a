//! The HPAs of the textbook, verbatim: they scale as their authors meant where the cluster has room.

use std::time::Duration;

use anyhow::Result;
use plimsoll_e2e::{
    World,
    standin::{Dialect, Load},
    suite::{Cluster, Report},
    trajectory::{Mark, Step},
    wait,
    workload::{Autoscaler, Inference},
};
use serde_json::{Value, json};

/// Reaching a size takes a scrape, a tick and a few HPA periods of 2 s; pods must become Ready in between.
const SCALING: Duration = Duration::from_secs(60);

pub(crate) async fn two_metrics_scale_up_and_down_with_load(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "textbook").await?;
    up_and_down(&world, &Inference::new("textbook", 2), report).await?;
    let (pods, exporters) = world.standin.scrapes();
    report.line(format!("{pods} scrapes of pods and {exporters} of exporters were answered"));
    world.ensure(pods > 0 && exporters > 0, "the values came from somewhere else than the pods").await?;
    world.remove().await
}

/// 2 -> 7 -> 3 -> 1 replicas on 16 GPUs, by load alone.
pub(crate) async fn up_and_down(world: &World<'_>, inference: &Inference, report: &Report) -> Result<()> {
    world.add_nodes(2, 8).await?;
    world.standin.set_load(Load::for_replicas(2));
    world.deploy(inference, 2).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(1, 50)).await?;
    world.wait_metrics(SCALING).await?;
    let began = world.trajectory.mark();

    world.standin.set_load(Load::for_replicas(7));
    world.wait_replicas(7, SCALING).await?;
    world.wait_pods("7 Ready pods", |pods| pods.ready == 7).await?;
    wait_utilisation(world, 490.0).await?;

    world.standin.set_load(Load::for_replicas(3));
    world.wait_replicas(3, SCALING).await?;
    world.standin.set_load(Load::NONE);
    world.wait_replicas(1, SCALING).await?;
    report.line(world.trajectory.path(began));
    ensure_most(world, began, 7).await
}

/// No more than the load needs, but for one replica: while load moves to new pods, a sum of samples that were taken at
/// different moments may count some of it twice.
async fn ensure_most(world: &World<'_>, since: Mark, needed: i32) -> Result<()> {
    let most = world.trajectory.most_replicas(since);
    let fits = (needed..=needed + 1).contains(&most);
    world.ensure(fits, &format!("it went up to {most} for a load that needs {needed}")).await
}

/// The values of a list, added up.
fn sum(list: &Value) -> f64 {
    list["items"].as_array().map_or(0.0, |items| items.iter().filter_map(value_of).sum())
}

/// The sum over the pods, not their average: an HPA divides an External value by the replicas.
async fn wait_utilisation(world: &World<'_>, percents: f64) -> Result<()> {
    wait::until(&format!("dcgm_gpu_utilization to be {percents}"), SCALING, async || {
        let list = world.external("dcgm_gpu_utilization").await?;
        Ok(if (sum(&list) - percents).abs() < 0.5 { Ok(()) } else { Err(list) })
    })
    .await
}

/// A quantity as it is served here: plain, in thousands or in thousandths.
fn value_of(item: &Value) -> Option<f64> {
    let text = item["value"].as_str()?;
    let (digits, factor) = match text.strip_suffix('m') {
        Some(digits) => (digits, 0.001),
        None => text.strip_suffix('k').map_or((text, 1.0), |digits| (digits, 1000.0)),
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

pub(crate) async fn a_capacity_guard_beside_them_changes_nothing(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "guarded").await?;
    world.add_nodes(2, 8).await?;
    world.standin.set_load(Load::for_replicas(2));
    // The names in the HPA stay the same, whatever the server calls its queue.
    world.deploy(&Inference::new("guarded", 2).dialect(Dialect::Vllm), 2).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(1, 50).with_nodes_available()).await?;
    world.wait_metrics(SCALING).await?;
    let began = world.trajectory.mark();

    // Served raw, 14 free GPUs would propose 28 replicas at once, and 50 soon.
    let guard = world.external("gpu_nodes_available").await?;
    world.ensure(guard["items"][0]["value"] == "0", &format!("the guard has a vote: {guard}")).await?;
    report.line(format!("gpu_nodes_available is served as {}", guard["items"][0]));

    world.standin.set_load(Load::for_replicas(6));
    world.wait_replicas(6, SCALING).await?;
    world.standin.set_load(Load::NONE);
    world.wait_replicas(1, SCALING).await?;
    report.line(world.trajectory.path(began));
    ensure_most(&world, began, 6).await?;
    world.remove().await
}

pub(crate) async fn a_spike_of_forty_times_is_served_and_left_again(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "spike").await?;
    world.add_nodes(8, 8).await?;
    // 11.7 waiting requests keep the minimum of 3; forty times as many need exactly 47.
    let calm = Load { queue: 11.7, gpu: 80.0, rate: 25.0 };
    world.standin.set_load(calm);
    world.deploy(&Inference::new("spike", 3), 3).await?;
    // With the default tolerance of 10 % an HPA may rest at 43: sums are short while load moves to new pods.
    let behavior = json!({"scaleUp": {"tolerance": "10m", "policies": [percent(100, 1)]}});
    world.autoscale(&Autoscaler::queue_and_utilisation(3, 50).behavior(behavior)).await?;
    world.wait_metrics(SCALING).await?;

    let spike = world.trajectory.mark();
    world.standin.set_load(calm.times(40.0));
    world.wait_replicas(47, SCALING).await?;
    world.wait_pods("47 Ready pods", |pods| pods.ready == 47).await?;
    let up = world.trajectory.since(spike);
    // The whole load has arrived: from here on the HPA recommends 47 by itself.
    world.wait_settled(47).await?;
    wait::until("468 waiting requests to be served", SCALING, async || {
        let list = world.of_pods("inference_queue_length").await?;
        Ok(if (sum(&list) - 468.0).abs() < 0.5 { Ok(()) } else { Err(list) })
    })
    .await?;
    wait::stays("47 replicas under the spike", Duration::from_secs(4), || match world.trajectory.replicas() {
        47 => Ok(()),
        other => Err(other),
    })
    .await?;
    report.line(format!("up: {}; all Ready after {:.1} s", world.trajectory.path(spike), up.as_secs_f64()));
    ensure_most(&world, spike, 47).await?;

    let calmed = world.trajectory.mark();
    world.standin.set_load(calm);
    world.wait_replicas(3, SCALING).await?;
    report.line(format!("down: {}", world.trajectory.path(calmed)));
    // Window 10 s; the last high recommendation may be one period of 2 s old.
    let first = world.trajectory.steps(calmed).get(1).map(|step| world.trajectory.from(calmed, *step));
    let waited = first.is_some_and(|first| first >= Duration::from_secs(8));
    world.ensure(waited, &format!("the stabilisation window was cut short: {first:?}")).await?;
    world.remove().await
}

fn percent(value: u32, period: u32) -> Value {
    json!({"type": "Percent", "value": value, "periodSeconds": period})
}

pub(crate) async fn a_policy_for_growth_is_respected(cluster: &Cluster, report: &Report) -> Result<()> {
    let behavior = json!({
        "scaleUp": {"policies": [percent(100, 15), {"type": "Pods", "value": 4, "periodSeconds": 15}]},
        "scaleDown": {"stabilizationWindowSeconds": 10},
    });
    let world = behaving(cluster, "growth", 2, behavior).await?;
    let began = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(20));
    world.wait_replicas(20, 2 * SCALING).await?;
    report.line(world.trajectory.path(began));
    // 2 s less than the period: the controller's clock and ours note a change at different moments.
    let fast = breach(&world, began, Duration::from_secs(13), |base, now| now <= (2 * base).max(base + 4));
    world.ensure(fast.is_none(), &format!("faster than 100 % or 4 pods in 15 s: {fast:?}")).await?;
    world.remove().await
}

pub(crate) async fn a_policy_for_shrinking_is_respected(cluster: &Cluster, report: &Report) -> Result<()> {
    let behavior = json!({"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [percent(50, 60)]}});
    let world = behaving(cluster, "shrinking", 20, behavior).await?;
    let began = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(2));
    world.wait_replicas(5, 2 * SCALING).await?;
    report.line(world.trajectory.path(began));
    let fast = breach(&world, began, Duration::from_secs(58), |base, now| now >= base / 2);
    world.ensure(fast.is_none(), &format!("faster than 50 % in 60 s: {fast:?}")).await?;
    world.remove().await
}

/// A world with room for 24 replicas, at rest with `replicas`.
async fn behaving<'a>(cluster: &'a Cluster, name: &str, replicas: u32, behavior: Value) -> Result<World<'a>> {
    let world = World::create(&cluster.plane, name).await?;
    world.add_nodes(3, 8).await?;
    world.standin.set_load(Load::for_replicas(replicas));
    world.deploy(&Inference::new(name, replicas), replicas as usize).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(1, 50).behavior(behavior)).await?;
    world.wait_metrics(SCALING).await?;
    wait_utilisation(&world, 70.0 * f64::from(replicas)).await?;
    let now = world.trajectory.replicas();
    world.ensure(now == i32::try_from(replicas)?, &format!("not at rest: {now} replicas")).await?;
    Ok(world)
}

/// The first step since `mark` that `allowed` refuses, given what was in force `period` before it.
fn breach(world: &World<'_>, mark: Mark, period: Duration, allowed: impl Fn(i32, i32) -> bool) -> Option<(Step, i32)> {
    let steps = world.trajectory.steps(mark);
    steps.iter().find_map(|step| {
        let before = steps.iter().rfind(|other| other.at + period <= step.at).unwrap_or(&steps[0]);
        (!allowed(before.replicas, step.replicas)).then_some((*step, before.replicas))
    })
}
