//! Identity from the headers of a front proxy, believed only from a proxy that TLS and its CA have proved
//! (`k8s.io/apiserver` v0.36.3 `pkg/authentication/request/headerrequest/requestheader.go`).
//!
//! Only the verified leaf's CN is compared with the allowed names: an allowed name on any other certificate of the
//! chain, or among alternative names, means nothing.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::{Rejection, User, certificate};
use crate::{
    api::percent,
    server::{Peer, Pool},
};

/// How a front proxy is recognised and what it may say.
#[derive(Clone, Debug)]
pub struct FrontProxy {
    /// Authorities of its certificate, apart from those of clients.
    pub pool: Pool,
    /// Common names it may have; none means any under that authority.
    pub allowed_names: Vec<String>,
    /// Headers with the user's name: the first that is not empty counts.
    pub username_headers: Vec<HeaderName>,
    /// Headers with the user's uid. Without a default, as in Kubernetes.
    pub uid_headers: Vec<HeaderName>,
    /// Headers with groups: all values of all count.
    pub group_headers: Vec<HeaderName>,
    /// Prefixes of headers with further attributes, lower-case.
    pub extra_prefixes: Vec<String>,
}

// === impl FrontProxy ===

impl FrontProxy {
    /// The user that the proxy names; nobody if it names none.
    pub(super) fn authenticate(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<User>, Rejection> {
        peer.verify(&self.pool, now).map_err(Rejection::Bad)?;
        self.check_name(peer)?;
        let Some(name) = first(headers, &self.username_headers)? else { return Ok(None) };
        let mut groups = Vec::new();
        for value in self.group_headers.iter().flat_map(|name| headers.get_all(name)) {
            groups.push(text(value)?.to_owned());
        }
        groups.retain(|group| !group.is_empty());
        Ok(Some(User {
            name: name.to_owned(),
            uid: first(headers, &self.uid_headers)?.unwrap_or_default().to_owned(),
            groups,
            extra: self.extra(headers)?,
        }))
    }

    fn check_name(&self, peer: &Peer) -> Result<(), Rejection> {
        if self.allowed_names.is_empty() {
            return Ok(());
        }
        let leaf = peer.leaf().ok_or_else(|| Rejection::Bad("no certificate was presented".to_owned()))?;
        let name = certificate::subject(leaf)?.map(|subject| subject.name).unwrap_or_default();
        if self.allowed_names.contains(&name) {
            return Ok(());
        }
        Err(Rejection::Bad(format!("x509: subject with cn={name} is not in the allowed list")))
    }

    fn extra(&self, headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, Rejection> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for prefix in &self.extra_prefixes {
            for (name, value) in headers {
                let Some(key) = name.as_str().strip_prefix(prefix.as_str()) else { continue };
                // A key that does not decode is kept as it came: nothing that was said may be lost.
                let key = percent::decode(key).unwrap_or_else(|| key.to_owned());
                extra.entry(key).or_default().push(text(value)?.to_owned());
            }
        }
        Ok(extra)
    }

    /// Removes every header that could carry identity.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        let named = self.username_headers.iter().chain(&self.uid_headers).chain(&self.group_headers);
        for name in named {
            headers.remove(name);
        }
        let prefixed = |name: &&HeaderName| self.extra_prefixes.iter().any(|p| name.as_str().starts_with(p.as_str()));
        let extra: Vec<_> = headers.keys().filter(prefixed).cloned().collect();
        for name in extra {
            headers.remove(name);
        }
    }
}

/// The first header that is not empty. Of a repeated header the first value counts, as with Go's `Header.Get`.
fn first<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Result<Option<&'a str>, Rejection> {
    for value in names.iter().filter_map(|name| headers.get(name)) {
        let value = text(value)?;
        if !value.is_empty() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn text(value: &HeaderValue) -> Result<&str, Rejection> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| Rejection::Bad("an identity header is not UTF-8".to_owned()))
}
