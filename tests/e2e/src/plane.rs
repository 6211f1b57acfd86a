//! etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok, started and ended together.
//!
//! Everything lives in one temporary folder and on 127.0.0.1. Ports are found by binding port 0; should another
//! process take one before ours binds it, the whole start is tried again with new ones.

mod arguments;
mod kwok;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};
use tempfile::TempDir;

use crate::{
    kubeconfig::{self, Identity},
    pki::Pki,
    ports::{self, AddressBlock},
    process::{Ending, Process},
    tools, wait,
};

pub use arguments::{Components, Settings};
pub(crate) use kwok::{MANAGED, READY_AFTER};

/// A running control plane. Dropping it ends every process and removes the folder.
pub struct ControlPlane {
    // Fields are dropped in order: first the processes, then what they use.
    _processes: Vec<Process>,
    /// Talks to kube-apiserver as a cluster administrator.
    pub client: Client,
    /// Keys and certificates.
    pub pki: Pki,
    /// Addresses of pods and nodes.
    pub addresses: AddressBlock,
    /// Where kube-apiserver answers.
    pub server: String,
    folder: TempDir,
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ControlPlane").field("server", &self.server).finish_non_exhaustive()
    }
}

/// A cold start on a loaded 2-core machine took 19 s; nine builds beside it make it slower.
const START: Duration = Duration::from_secs(120);
/// Another process took one of our ports: unlikely once, hardly ever thrice.
const ATTEMPTS: usize = 3;

impl ControlPlane {
    /// Starts all components and waits until pods can be created.
    pub async fn start(settings: &Settings) -> Result<Self> {
        // Another test of this process may have installed it already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut attempt = 1;
        loop {
            match Self::try_start(settings).await {
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("address already in use") => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn try_start(settings: &Settings) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("plimsoll-e2e-").tempdir()?;
        std::fs::create_dir_all(folder.path().join("logs"))?;
        let pki = Pki::create(folder.path().join("pki"))?;
        let addresses = AddressBlock::take()?;
        let [etcd, peer, api, controllers, scheduler] = ports::free()?;
        let server = format!("https://127.0.0.1:{api}");
        let paths = arguments::Paths { folder: folder.path(), pki: &pki };
        for name in ["admin", "kube-controller-manager", "kube-scheduler", "kwok"] {
            let identity = Identity::Certificate {
                certificate: pki.file(&format!("{name}.crt")),
                key: pki.file(&format!("{name}.key")),
            };
            kubeconfig::write(&paths.kubeconfig(name), &server, &pki.file("ca.crt"), &identity)?;
        }
        std::fs::write(paths.stages(), kwok::STAGES)?;

        let logs = folder.path().join("logs");
        let spawn = |name: &str, arguments: Vec<String>| -> Result<Process> {
            Process::spawn(name, &tools::control_plane(name)?, &arguments, &logs, Ending::Kill)
        };
        let all = settings.components == Components::All;
        let mut flags = paths.kube_apiserver(api, etcd);
        if !all {
            flags.extend(arguments::Paths::kube_apiserver_for_scheduling());
        }
        let mut processes = vec![spawn("etcd", paths.etcd(etcd, peer))?, spawn("kube-apiserver", flags)?];
        let client = kubeconfig::client(&paths.kubeconfig("admin")).await?;
        wait_ready(&client, &mut processes).await?;
        processes.push(spawn("kube-scheduler", paths.kube_scheduler(scheduler))?);
        processes.push(spawn("kube-controller-manager", paths.kube_controller_manager(controllers, settings))?);
        if all {
            processes.push(spawn("kwok", paths.kwok(&addresses.pods(), settings))?);
            wait_default_service_account(&client, &mut processes).await?;
        }
        Ok(Self { _processes: processes, client, pki, addresses, server, folder })
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin.kubeconfig")
    }

    /// A file or folder of this run; its parent exists.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the components write their logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// The whole log of one component.
    pub fn log(&self, name: &str) -> Result<String> {
        let file = self.logs().join(format!("{name}.log"));
        std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
    }

    /// Runs kubectl as the administrator; its standard output, or an error with what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = tokio::process::Command::new(tools::control_plane("kubectl")?)
            .arg("--kubeconfig")
            .arg(self.admin_kubeconfig())
            .args(arguments)
            .env("HOME", self.folder.path())
            .kill_on_drop(true)
            .output()
            .await
            .context("running kubectl")?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn all_run(processes: &mut [Process]) -> Result<()> {
    processes.iter_mut().try_for_each(Process::check)
}

async fn wait_ready(client: &Client, processes: &mut [Process]) -> Result<()> {
    let deadline = tokio::time::Instant::now() + START;
    loop {
        all_run(processes)?;
        let request = http::Request::get("/readyz").body(Vec::new())?;
        match client.request_text(request).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() >= deadline => {
                bail!("kube-apiserver is not ready after {START:?}: {error}\n{}", processes[1].tail(20))
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Pods need the namespace's `default` ServiceAccount, which kube-controller-manager makes.
async fn wait_default_service_account(client: &Client, processes: &mut [Process]) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    wait::until("the ServiceAccount default/default", START, async || {
        Ok(accounts.get_opt("default").await?.map(drop).ok_or("absent"))
    })
    .await
    .or_else(|error| all_run(processes).and(Err(error)))
}
