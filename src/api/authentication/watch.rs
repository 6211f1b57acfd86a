//! Follows the ConfigMap and the files that say whom to trust.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

use super::trust::{self, Data, Store, Trust};
use crate::server::certificate::read_bounded;

/// Where kube-apiserver publishes what it trusts (`pkg/controlplane/controller/clusterauthenticationtrust`).
const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
/// A watch that is silent for this long is begun again: kube's default notices a dead one after 295 s.
const WATCH_SECONDS: u32 = 30;
/// How often files are read again.
const POLL: Duration = Duration::from_secs(5);

/// Where the settings come from.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// Reads the ConfigMap; without it only files count.
    pub maps: Option<Api<ConfigMap>>,
    /// Overrides the authorities of client certificates.
    pub client_ca: Option<PathBuf>,
    /// Overrides everything about the front proxy.
    pub front_proxy: Option<FrontProxyFlags>,
}

/// The front proxy by flags.
#[derive(Clone, Debug, Default)]
pub struct FrontProxyFlags {
    /// Authorities of its certificate.
    pub client_ca: PathBuf,
    /// See [`super::FrontProxy`].
    pub allowed_names: Vec<String>,
    /// See [`super::FrontProxy`].
    pub username_headers: Vec<String>,
    /// See [`super::FrontProxy`].
    pub uid_headers: Vec<String>,
    /// See [`super::FrontProxy`].
    pub group_headers: Vec<String>,
    /// See [`super::FrontProxy`].
    pub extra_prefixes: Vec<String>,
}

// === impl Lookup ===

impl Lookup {
    /// Reads the ConfigMap of the cluster, and nothing else.
    #[must_use]
    pub fn in_cluster(client: Client) -> Self {
        Self { maps: Some(Api::namespaced(client, NAMESPACE)), ..Self::default() }
    }
}

/// Keeps `store` up to date for ever.
pub async fn watch(lookup: Lookup, store: Arc<Store>) {
    let mut settings = Settings { lookup, store, cluster: None, last: None };
    let Some(maps) = settings.lookup.maps.clone() else { return settings.follow_files().await };
    let config = watcher::Config::default().fields(&format!("metadata.name={NAME}")).timeout(WATCH_SECONDS);
    let events = watcher(maps, config).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut tick = tokio::time::interval(POLL);
    let mut listed = None;
    loop {
        // Cancel safety: both arms only wait; what they bring is handled outside of the select.
        let event = tokio::select! {
            event = events.next() => event,
            _ = tick.tick() => { settings.apply().await; continue; }
        };
        match event {
            Some(Ok(Event::Init)) => listed = None,
            Some(Ok(Event::InitApply(map))) => listed = Some(map),
            Some(Ok(Event::InitDone)) => settings.set(listed.take()).await,
            Some(Ok(Event::Apply(map))) => settings.set(Some(map)).await,
            Some(Ok(Event::Delete(_))) => settings.set(None).await,
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot watch ConfigMap {NAMESPACE}/{NAME}; the last settings stay");
            }
            None => return settings.follow_files().await,
        }
    }
}

/// What was read so far.
struct Settings {
    lookup: Lookup,
    store: Arc<Store>,
    /// Data of the ConfigMap; `None` before it was listed once.
    cluster: Option<Data>,
    last: Option<Data>,
}

// === impl Settings ===

impl Settings {
    async fn set(&mut self, map: Option<ConfigMap>) {
        self.cluster = Some(map.and_then(|map| map.data).unwrap_or_default());
        self.apply().await;
    }

    async fn follow_files(mut self) {
        let mut tick = tokio::time::interval(POLL);
        loop {
            tick.tick().await;
            self.apply().await;
        }
    }

    /// Lays the flags over the ConfigMap and swaps the result in if it differs.
    async fn apply(&mut self) {
        // Before the first list there is nothing to say about a front proxy that no flag describes.
        if self.lookup.maps.is_some() && self.cluster.is_none() {
            return;
        }
        let data = match self.data().await {
            Ok(data) => data,
            Err(error) => {
                tracing::warn!(%error, "authentication settings cannot be read; the last good ones stay");
                return;
            }
        };
        if self.last.as_ref() == Some(&data) {
            return;
        }
        let previous = self.store.load_full();
        let mut trust = Trust::read(&data, &previous);
        if self.lookup.maps.is_none() && self.lookup.front_proxy.is_none() {
            // Nobody asked for a front proxy: that it is off is no problem.
            trust.problem = None;
        }
        tracing::info!(
            client_ca = trust.client.is_some(),
            front_proxy = trust.front_proxy.is_some(),
            problem = trust.problem,
            "authentication settings replaced"
        );
        self.store.set(trust);
        self.last = Some(data);
    }

    async fn data(&self) -> Result<Data, crate::server::certificate::Error> {
        let mut data = self.cluster.clone().unwrap_or_default();
        if let Some(path) = &self.lookup.client_ca {
            data.insert(trust::CLIENT_CA.to_owned(), file(path).await?);
        }
        if let Some(flags) = &self.lookup.front_proxy {
            data.insert(trust::PROXY_CA.to_owned(), file(&flags.client_ca).await?);
            let lists = [
                (trust::ALLOWED_NAMES, &flags.allowed_names),
                (trust::USERNAME_HEADERS, &flags.username_headers),
                (trust::UID_HEADERS, &flags.uid_headers),
                (trust::GROUP_HEADERS, &flags.group_headers),
                (trust::EXTRA_PREFIXES, &flags.extra_prefixes),
            ];
            data.extend(lists.map(|(key, list)| (key.to_owned(), serde_json::json!(list).to_string())));
        }
        Ok(data)
    }
}

async fn file(path: &Path) -> Result<String, crate::server::certificate::Error> {
    // Not UTF-8 is not PEM either: reading the bundle then says so.
    read_bounded(path).await.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
