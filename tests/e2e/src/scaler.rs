//! One more replica of the adapter, asked only for its external scaler: it can be killed, and come back where it was.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use crate::{
    ControlPlane,
    adapter::{self, Settings},
    pki::Pair,
    ports,
    process::{Ending, Process},
    tools, wait,
};

/// From the start of the process until it knows the cluster.
const START: Duration = Duration::from_secs(60);

/// The replica.
#[derive(Debug)]
pub struct Scaler {
    name: String,
    process: Option<Process>,
    arguments: Vec<String>,
    ending: Ending,
    api_port: u16,
    status_port: u16,
    /// Where its external scaler listens.
    pub port: u16,
}

/// The files of a scaler's certificates, which it follows.
#[derive(Debug)]
pub struct Files(PathBuf);

impl Files {
    /// In a new folder of that name.
    pub fn create(plane: &ControlPlane, name: &str) -> Result<Self> {
        let folder = plane.path(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// Presents this certificate from now on.
    pub fn present(&self, pair: &Pair) -> Result<()> {
        std::fs::write(self.0.join("tls.key"), &pair.key)?;
        Ok(std::fs::write(self.0.join("tls.crt"), &pair.certificate)?)
    }

    /// Knows clients of these authorities from now on.
    pub fn admit(&self, authorities: &[&str]) -> Result<()> {
        let next = self.0.join("next");
        std::fs::write(&next, authorities.concat())?;
        Ok(std::fs::rename(next, self.0.join("clients.crt"))?)
    }

    fn arguments(&self, at: SocketAddr) -> [String; 5] {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.0.join(name).display());
        [
            format!("--scaler-port={}", at.port()),
            format!("--scaler-bind-address={}", at.ip()),
            file("scaler-client-ca-file", "clients.crt"),
            file("scaler-tls-cert-file", "tls.crt"),
            file("scaler-tls-private-key-file", "tls.key"),
        ]
    }
}

impl Scaler {
    /// Starts one beside the adapter that will be killed, with another Prometheus that triggers may name, and waits
    /// until it is ready.
    pub async fn start(plane: &ControlPlane, name: &str, prometheus: &str) -> Result<Self> {
        let [port] = ports::free()?;
        Self::start_at(plane, name, prometheus, (Ipv4Addr::LOCALHOST, port).into(), Ending::Kill).await
    }

    /// The same at an address, for an end of another kind.
    pub async fn start_at(
        plane: &ControlPlane,
        name: &str,
        prometheus: &str,
        at: SocketAddr,
        ending: Ending,
    ) -> Result<Self> {
        Self::launch(plane, name, prometheus, at, ending, &adapter::scaler_arguments(plane, at)).await
    }

    /// One with certificates of its own, in files that a scenario may change: what it presents, and whom it knows.
    pub async fn start_with(plane: &ControlPlane, name: &str, prometheus: &str, files: &Files) -> Result<Self> {
        let [port] = ports::free()?;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::launch(plane, name, prometheus, at, Ending::Term, &files.arguments(at)).await
    }

    async fn launch(
        plane: &ControlPlane,
        name: &str,
        prometheus: &str,
        at: SocketAddr,
        ending: Ending,
        flags: &[String],
    ) -> Result<Self> {
        let [api_port, status_port] = ports::free()?;
        let settings = Settings { prometheus: None, keda: Some(prometheus.to_owned()) };
        let config = plane.path(&format!("{name}.yaml"));
        std::fs::write(&config, adapter::config(&settings).to_string()).context("writing the configuration")?;
        let mut arguments = adapter::arguments(plane, [api_port, status_port], &config);
        arguments.extend_from_slice(flags);
        let (name, port) = (name.to_owned(), at.port());
        let mut scaler = Self { name, process: None, arguments, ending, api_port, status_port, port };
        scaler.resume(plane).await?;
        Ok(scaler)
    }

    /// Kills it: no stream is ended, no connection closed in order.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Asks it to end, and leaves it to that; resolves when it has.
    pub fn end(&mut self) -> JoinHandle<()> {
        let process = self.process.take();
        tokio::task::spawn_blocking(move || drop(process))
    }

    /// How many streams to KEDA are open.
    pub async fn streams(&self) -> Result<u32> {
        let url = format!("http://127.0.0.1:{}/metrics", self.status_port);
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let page = client.get(&url).send().await?.error_for_status()?.text().await?;
        let streams = page.lines().find_map(|line| line.strip_prefix("plimsoll_scaler_streams "));
        streams.context("its page has no streams")?.parse().context("streams")
    }

    /// Starts it again at the same port, with nothing remembered, and waits until it is ready.
    pub async fn resume(&mut self, plane: &ControlPlane) -> Result<()> {
        self.kill();
        let process = Process::spawn(&self.name, &tools::plimsoll()?, &self.arguments, &plane.logs(), self.ending)?;
        self.process = Some(process);
        let url = format!("https://localhost:{}/readyz", self.api_port);
        let authority = reqwest::Certificate::from_pem(plane.pki.cluster.certificate().as_bytes())?;
        let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
        let client = builder.tls_certs_only([authority]).build()?;
        let ready = wait::until("the scaler to be ready", START, async || {
            let answer = client.get(&url).send().await?;
            let status = answer.status();
            Ok(if status.is_success() { Ok(()) } else { Err((status, answer.text().await?)) })
        });
        ready.await.with_context(|| self.tail())
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.process.as_ref().map(|process| process.tail(30)).unwrap_or_default()
    }
}
