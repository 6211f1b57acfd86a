//! All certificates between KEDA and the scaler change while KEDA's client calls without a pause.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    World,
    conformance::{self, Load},
    keda::ScaledObject,
    pki::{Authority, Pair},
    scaler::{Files, Scaler},
    suite::{Cluster, Report},
    wait,
    workload::Inference,
    world::SOON,
};
use serde_json::Value;

use crate::{gateway, of_gateway, tail};

const NAME: &str = "keda-rotation";
/// Common names of what the server presents, one after the other.
const SERVERS: [&str; 2] = ["scaler-of-today", "scaler-of-tomorrow"];

/// What is asked, and where.
struct Asked<'a> {
    cluster: &'a Cluster,
    port: u16,
    metadata: Value,
}

impl Asked<'_> {
    /// Asks over a new connection until a call ends so.
    async fn until(&self, shown: &Path, code: &str) -> Result<()> {
        wait::until(&format!("{code} with {}", shown.display()), SOON, async || {
            let lines = conformance::calls_as(&self.cluster.plane, shown, self.port, NAME, &self.metadata, 1).await?;
            Ok(if lines[1].code == code { Ok(()) } else { Err(lines) })
        })
        .await
        .with_context(tail)
    }

    fn load(&self, shown: &Path) -> Result<Load> {
        Load::start(&self.cluster.plane, shown, self.port, NAME, &self.metadata)
    }
}

pub(crate) async fn certificates_rotate_under_load_without_a_failed_call(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let plane = &cluster.plane;
    let world = World::create(plane, NAME).await?;
    world.add_node(1).await?;
    world.deploy(&Inference::new(NAME, 1), 1).await?;
    gateway()?.set(NAME, 5);
    let files = Files::create(plane, "scaler-rotation")?;
    let serving = |name: &str| plane.pki.cluster.server(name, &["localhost", "127.0.0.1"]);
    files.present(&serving(SERVERS[0])?)?;
    files.admit(&[plane.pki.cluster.certificate()])?;
    let mut scaler = Scaler::start_with(plane, "scaler-rotation", &gateway()?.url, &files).await?;
    let metadata = of_gateway(NAME)?;
    let object = ScaledObject { kind: "external", min: 1, polling: 1, cooldown: 5, metadata: metadata.clone() };
    object.apply(plane, scaler.port, NAME).await?;
    let asked = Asked { cluster, port: scaler.port, metadata };

    let shown = |name: &str, pair: &Pair| -> Result<_> {
        let file = plane.path(&format!("{name}.pem"));
        conformance::show(&file, pair)?;
        Ok(file)
    };
    let today = plane.pki.cluster.client("keda-operator", None)?;
    let next = Authority::new("clients-of-tomorrow")?;
    let tomorrow = next.client("keda-operator", None)?;
    let (old, new) = (shown("rotation-today", &today)?, shown("rotation-tomorrow", &tomorrow)?);
    let kedas = shown("rotation-keda", &today)?;
    asked.until(&old, "OK").await?;
    asked.until(&new, "Unauthenticated").await?;

    // The next authority joins the present one, then KEDA's secret changes, and the server's certificate.
    let load = asked.load(&kedas)?;
    files.admit(&[plane.pki.cluster.certificate(), next.certificate()])?;
    asked.until(&new, "OK").await?;
    conformance::show(&kedas, &tomorrow)?;
    files.present(&serving(SERVERS[1])?)?;
    wait_presented(&asked, &kedas).await?;
    let tally = load.stop().await?;
    ensure!(tally.failures.is_empty() && tally.streams.is_empty(), "{tally:?}");
    ensure!(tally.servers.keys().eq(SERVERS.iter()) && tally.fresh > 0, "{tally:?}");
    report.line(format!(
        "{} calls, {} of them over new connections, none failed; slowest {:.1} ms",
        tally.calls, tally.fresh, tally.slowest_ms
    ));

    // Then it is alone: who shows the old one is refused from here on.
    files.admit(&[next.certificate()])?;
    asked.until(&old, "Unauthenticated").await?;

    // A drain ends the streams of KEDA's client with OK, whatever comes of calls that are late.
    files.admit(&[plane.pki.cluster.certificate(), next.certificate()])?;
    asked.until(&old, "OK").await?;
    let load = asked.load(&kedas)?;
    wait::until("both streams", SOON, async || {
        let open = scaler.streams().await?;
        Ok(if open == 2 { Ok(()) } else { Err(open) })
    })
    .await?;
    scaler.end().await?;
    let tally = load.stop().await?;
    let ends: Vec<_> = tally.streams.iter().map(|(call, code)| (call.as_str(), code.as_str())).collect();
    ensure!(ends == [("StreamIsActive", "OK"), ("StreamMetricSpec", "OK")], "{tally:?}");
    scaler.resume(plane).await?;
    ScaledObject::remove(plane, NAME).await?;
    world.remove().await
}

/// Waits until a new connection is answered under the second name.
async fn wait_presented(asked: &Asked<'_>, shown: &Path) -> Result<()> {
    wait::until("the second certificate", SOON, async || {
        let once = asked.load(shown)?;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let tally = once.stop().await?;
        Ok(if tally.servers.contains_key(SERVERS[1]) { Ok(()) } else { Err(tally) })
    })
    .await
}
