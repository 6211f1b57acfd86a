//! Which authorities and names are trusted now, read from the data of the ConfigMap
//! `kube-system/extension-apiserver-authentication` (or flags, laid over it under the same keys).
//!
//! Missing means off: without its authority no front proxy is believed. Unreadable means unchanged: the last good
//! part stays; where there was none, readiness says what is wrong.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use http::HeaderName;

use super::FrontProxy;
use crate::server::{Pool, Tls};

/// Keys of the ConfigMap.
pub(super) const CLIENT_CA: &str = "client-ca-file";
pub(super) const PROXY_CA: &str = "requestheader-client-ca-file";
pub(super) const ALLOWED_NAMES: &str = "requestheader-allowed-names";
pub(super) const USERNAME_HEADERS: &str = "requestheader-username-headers";
pub(super) const UID_HEADERS: &str = "requestheader-uid-headers";
pub(super) const GROUP_HEADERS: &str = "requestheader-group-headers";
pub(super) const EXTRA_PREFIXES: &str = "requestheader-extra-headers-prefix";

/// Most entries in a list of names or headers.
const MAX_LIST: usize = 256;

/// The data of the ConfigMap.
pub(super) type Data = BTreeMap<String, String>;

/// What is trusted.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Authorities of client certificates.
    pub client: Option<Pool>,
    /// The front proxy.
    pub front_proxy: Option<FrontProxy>,
    /// What is wrong or missing; readiness shows it.
    pub problem: Option<String>,
}

/// The present [`Trust`], shared by requests and the task that changes it.
pub struct Store {
    trust: ArcSwap<Trust>,
    tls: Option<Arc<Tls>>,
}

// === impl Trust ===

impl Trust {
    /// Reads the data. A part that cannot be read keeps its `previous` state.
    pub(super) fn read(data: &Data, previous: &Self) -> Self {
        let mut problems = Vec::new();
        let client = part(client(data), previous.client.as_ref(), &mut problems);
        let front_proxy = part(front_proxy(data), previous.front_proxy.as_ref(), &mut problems);
        if front_proxy.is_none() && problems.is_empty() {
            problems.push(format!("requestheader authentication is off: {PROXY_CA} or {USERNAME_HEADERS} is missing"));
        }
        Self { client, front_proxy, problem: (!problems.is_empty()).then(|| problems.join("; ")) }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.problem.clone().map_or(Ok(()), Err)
    }
}

fn part<T: Clone>(read: Result<Option<T>, String>, previous: Option<&T>, problems: &mut Vec<String>) -> Option<T> {
    read.unwrap_or_else(|problem| {
        tracing::warn!(problem, "authentication settings cannot be read; the last good ones stay");
        if previous.is_none() {
            problems.push(problem);
        }
        previous.cloned()
    })
}

fn client(data: &Data) -> Result<Option<Pool>, String> {
    pool(data, CLIENT_CA)
}

fn pool(data: &Data, key: &str) -> Result<Option<Pool>, String> {
    let Some(pem) = data.get(key).filter(|pem| !pem.trim().is_empty()) else { return Ok(None) };
    Pool::from_pem(pem.as_bytes()).map(Some).map_err(|error| format!("{key}: {error}"))
}

fn front_proxy(data: &Data) -> Result<Option<FrontProxy>, String> {
    let Some(pool) = pool(data, PROXY_CA)? else { return Ok(None) };
    let username_headers = headers(data, USERNAME_HEADERS)?;
    if username_headers.is_empty() {
        return Ok(None);
    }
    let allowed_names = list(data, ALLOWED_NAMES)?;
    if allowed_names.is_empty() {
        tracing::warn!("{ALLOWED_NAMES} is empty: any certificate of the requestheader CA may name any user");
    }
    Ok(Some(FrontProxy {
        pool,
        allowed_names,
        username_headers,
        uid_headers: headers(data, UID_HEADERS)?,
        group_headers: headers(data, GROUP_HEADERS)?,
        extra_prefixes: prefixes(data)?,
    }))
}

/// A JSON array of strings; missing or empty is an empty one.
fn list(data: &Data, key: &str) -> Result<Vec<String>, String> {
    let Some(text) = data.get(key).filter(|text| !text.trim().is_empty()) else { return Ok(Vec::new()) };
    let list: Vec<String> =
        serde_json::from_str(text).map_err(|error| format!("{key} is not a JSON array of strings: {error}"))?;
    if list.len() > MAX_LIST {
        return Err(format!("{key} has more than {MAX_LIST} entries"));
    }
    Ok(list)
}

fn headers(data: &Data, key: &str) -> Result<Vec<HeaderName>, String> {
    let name = |text: &String| text.trim().parse().map_err(|_| format!("{key}: {text:?} is not the name of a header"));
    list(data, key)?.iter().map(name).collect()
}

fn prefixes(data: &Data) -> Result<Vec<String>, String> {
    let mut prefixes: Vec<_> = list(data, EXTRA_PREFIXES)?.iter().map(|p| p.trim().to_ascii_lowercase()).collect();
    if prefixes.iter().any(String::is_empty) {
        return Err(format!("{EXTRA_PREFIXES}: an empty prefix would take every header"));
    }
    prefixes.dedup();
    Ok(prefixes)
}

// === impl Store ===

impl Store {
    /// Trusts nobody yet. `tls` is told whose certificates to ask for whenever that changes.
    #[must_use]
    pub fn new(tls: Option<Arc<Tls>>) -> Self {
        let problem = Some("requestheader authentication is off: its settings have not been read yet".to_owned());
        Self { trust: ArcSwap::from_pointee(Trust { problem, ..Trust::default() }), tls }
    }

    /// Replaces what is trusted, for the next request of every connection.
    pub fn set(&self, trust: Trust) {
        let proxy = trust.front_proxy.iter().map(|proxy| &proxy.pool);
        let subjects: Vec<_> = proxy.chain(&trust.client).flat_map(|pool| pool.subjects().iter().cloned()).collect();
        self.trust.store(Arc::new(trust));
        if let Some(Err(error)) = self.tls.as_ref().map(|tls| tls.set_client_authorities(&subjects)) {
            tracing::error!(%error, "cannot name the client authorities in TLS");
        }
    }

    pub(super) fn load(&self) -> Guard<Arc<Trust>> {
        self.trust.load()
    }

    pub(super) fn load_full(&self) -> Arc<Trust> {
        self.trust.load_full()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("trust", &self.trust).finish_non_exhaustive()
    }
}
