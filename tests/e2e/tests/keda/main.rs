//! The real KEDA 2.21 beside the adapter: operator and metrics server, which owns the external metrics API.

mod conformance;
mod features;
mod gateway;
mod gone;
mod hung;
mod jobs;
mod mistake;
mod names;
mod rolling;
mod rotation;

use std::{
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use conformance::{
    a_trigger_is_active_above_its_activation_value_and_not_at_it, the_five_calls_answer_the_client_that_keda_generated,
    what_cannot_be_answered_is_said_in_time_and_in_kedas_own_terms,
};
use features::{
    a_fallback_without_threshold_fires_even_while_the_scaler_is_gone, a_formula_of_kedas_caps_demand_by_our_capacity,
    a_profile_has_prometheus_asked_for_what_its_servers_call_a_queue,
    a_replica_that_loads_its_model_is_not_put_to_sleep, a_target_of_type_value_stops_at_the_room_too,
    kedas_fallback_takes_over_when_the_source_is_down_and_gives_back, values_that_keda_keeps_stop_at_the_room_too,
};
use gateway::Gateway;
use gone::{
    a_restart_of_kedas_metrics_server_moves_nothing_wrongly, a_restart_of_kedas_operator_moves_nothing,
    a_scaler_that_is_gone_for_many_polls_moves_nothing,
};
use hung::{a_source_that_never_answers_makes_no_call_slow, pods_that_never_answer_make_no_call_slow_and_move_nothing};
use jobs::a_scaled_job_makes_no_job_that_finds_no_gpu;
use mistake::a_mistake_in_the_metadata_is_an_event_on_the_scaled_object;
use plimsoll_e2e::{
    Adapter, ControlPlane, World, adapter,
    keda::{Keda, ScaledObject},
    plane::Settings,
    standin::Load,
    suite::{self, Cluster, Report, Scenario},
    wait,
    workload::Inference,
    world::SOON,
};
use rolling::a_rolling_restart_gives_every_stream_back_and_moves_nothing;
use rotation::certificates_rotate_under_load_without_a_failed_call;
use serde_json::{Value, json};
use tokio::{sync::OnceCell, time::Instant};

/// What the scenarios share beside the cluster; ended with the process.
static SHARED: OnceCell<(Mutex<Keda>, Gateway)> = OnceCell::const_new();

/// The end of the log of KEDA's operator.
fn tail() -> String {
    keda().map(|keda| keda.tail()).unwrap_or_default()
}

fn keda() -> Result<MutexGuard<'static, Keda>> {
    let (keda, _) = SHARED.get().context("KEDA has been started")?;
    Ok(keda.lock().unwrap_or_else(PoisonError::into_inner))
}

fn gateway() -> Result<&'static Gateway> {
    SHARED.get().map(|(_, gateway)| gateway).context("the gateway has been started")
}

/// A trigger on the queue of a model at the gateway.
fn of_gateway(name: &str) -> Result<Value> {
    Ok(json!({
        "signal": "queueLength", "threshold": "10",
        "serverAddress": gateway()?.url, "query": format!("sum(gateway_queue{{model=\"{name}\"}})"),
    }))
}

async fn with_queue_for_fifteen_it_stops_at_the_eight_gpus(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "keda-accident").await?;
    world.add_node(8).await?;
    world.standin.set_load(Load::for_replicas(5));
    world.deploy(&Inference::new("keda-accident", 5), 5).await?;
    let metadata = json!({"signal": "queueLength", "threshold": "10"});
    let object = ScaledObject { kind: "external", min: 1, polling: 2, cooldown: 30, metadata };
    object.apply(&cluster.plane, cluster.adapter.scaler_port, world.namespace()).await?;
    let began = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(15));
    world.wait_replicas(8, SOON).await?;
    world.wait_pods("8 Ready pods", |pods| pods.ready == 8 && pods.pending == 0).await?;
    let stayed = wait::stays("8 replicas and nothing Pending", Duration::from_secs(10), || {
        let (replicas, pods) = (world.trajectory.replicas(), world.trajectory.pods());
        if replicas == 8 && pods.pending == 0 { Ok(()) } else { Err((replicas, pods)) }
    });
    stayed.await?;
    report.line(format!("8 GPUs: {}, {:?}", world.trajectory.path(began), world.trajectory.pods()));
    ScaledObject::remove(&cluster.plane, world.namespace()).await?;
    world.remove().await
}

/// From nothing and back; returns how long the first replica took to be asked for, and how often a second the gateway
/// was asked before.
async fn wakes_and_sleeps(
    cluster: &Cluster,
    name: &'static str,
    kind: &'static str,
    polling: u32,
) -> Result<(f64, f64)> {
    let world = World::create(&cluster.plane, name).await?;
    world.add_node(2).await?;
    world.deploy(&Inference::new(name, 0), 0).await?;
    let object = ScaledObject { kind, min: 0, polling, cooldown: 5, metadata: of_gateway(name)? };
    object.apply(&cluster.plane, cluster.adapter.scaler_port, world.namespace()).await?;
    ScaledObject::wait_ready(&cluster.plane, name).await.with_context(tail)?;
    gateway()?.set(name, 0);
    let (asleep, before) = (Instant::now(), gateway()?.asked(name));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let often = f64::from(gateway()?.asked(name) - before) / asleep.elapsed().as_secs_f64();
    let began = world.trajectory.mark();
    gateway()?.set(name, 15);
    world.wait_replicas(2, SOON).await?;
    // The HPA may follow KEDA's own step from none within moments.
    let steps = world.trajectory.steps(began);
    let first = steps.into_iter().find(|step| step.replicas > 0).context("there is a first replica")?;
    let woken = world.trajectory.from(began, first).as_secs_f64();
    gateway()?.set(name, 0);
    world.wait_replicas(0, SOON).await?;
    ScaledObject::remove(&cluster.plane, world.namespace()).await?;
    world.remove().await?;
    Ok((woken, often))
}

async fn a_push_wakes_a_workload_before_any_poll_would(cluster: &Cluster, report: &Report) -> Result<()> {
    let polling = 30;
    let (pushed, often) = wakes_and_sleeps(cluster, "keda-push", "external-push", polling).await?;
    ensure!(pushed < f64::from(polling) / 3.0, "0 to 1 only after {pushed:.2} s");
    report.line(format!(
        "asked {often:.1} times a second at 0; 0 to 1 after {pushed:.2} s, pushed (KEDA polls every {polling} s); 2 on \
         demand; 0 after the cooldown"
    ));
    Ok(())
}

async fn a_poll_wakes_a_workload_too(cluster: &Cluster, report: &Report) -> Result<()> {
    let (polled, _) = wakes_and_sleeps(cluster, "keda-poll", "external", 5).await?;
    report.line(format!("0 to 1 after {polled:.2} s, polled every 5 s"));
    Ok(())
}

fn main() -> ExitCode {
    let scenarios: Vec<Scenario> = vec![
        plimsoll_e2e::scenario!(with_queue_for_fifteen_it_stops_at_the_eight_gpus),
        plimsoll_e2e::scenario!(a_push_wakes_a_workload_before_any_poll_would),
        plimsoll_e2e::scenario!(a_poll_wakes_a_workload_too),
        plimsoll_e2e::scenario!(the_five_calls_answer_the_client_that_keda_generated),
        plimsoll_e2e::scenario!(what_cannot_be_answered_is_said_in_time_and_in_kedas_own_terms),
        plimsoll_e2e::scenario!(a_trigger_is_active_above_its_activation_value_and_not_at_it),
        plimsoll_e2e::scenario!(a_source_that_never_answers_makes_no_call_slow),
        plimsoll_e2e::scenario!(pods_that_never_answer_make_no_call_slow_and_move_nothing),
        plimsoll_e2e::scenario!(a_scaler_that_is_gone_for_many_polls_moves_nothing),
        plimsoll_e2e::scenario!(kedas_fallback_takes_over_when_the_source_is_down_and_gives_back),
        plimsoll_e2e::scenario!(a_formula_of_kedas_caps_demand_by_our_capacity),
        plimsoll_e2e::scenario!(values_that_keda_keeps_stop_at_the_room_too),
        plimsoll_e2e::scenario!(a_target_of_type_value_stops_at_the_room_too),
        plimsoll_e2e::scenario!(a_profile_has_prometheus_asked_for_what_its_servers_call_a_queue),
        plimsoll_e2e::scenario!(a_replica_that_loads_its_model_is_not_put_to_sleep),
        plimsoll_e2e::scenario!(a_scaled_job_makes_no_job_that_finds_no_gpu),
        plimsoll_e2e::scenario!(a_rolling_restart_gives_every_stream_back_and_moves_nothing),
        plimsoll_e2e::scenario!(certificates_rotate_under_load_without_a_failed_call),
        plimsoll_e2e::scenario!(a_mistake_in_the_metadata_is_an_event_on_the_scaled_object),
        plimsoll_e2e::scenario!(a_fallback_without_threshold_fires_even_while_the_scaler_is_gone),
        plimsoll_e2e::scenario!(alone: a_restart_of_kedas_operator_moves_nothing),
        plimsoll_e2e::scenario!(alone: a_restart_of_kedas_metrics_server_moves_nothing_wrongly),
    ];
    suite::main(scenarios, async || {
        let plane = ControlPlane::start(&Settings::default()).await?;
        let gateway = Gateway::start().await?;
        Keda::install(&plane).await?;
        let settings = adapter::Settings { prometheus: None, keda: Some(gateway.url.clone()) };
        let adapter = Adapter::start(&plane, &settings).await?;
        let keda = Keda::start(&plane).await?;
        SHARED.set((Mutex::new(keda), gateway)).map_err(|_| anyhow::anyhow!("KEDA was started twice"))?;
        Ok(Cluster { adapter, prometheus: None, plane })
    })
}
