//! Identity from a client certificate: CN is the name, O the groups
//! (`k8s.io/apiserver` v0.36.3 `pkg/authentication/request/x509/x509.go`, `CommonNameUserConversion`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use plimsoll_core::hex;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::{Rejection, User};
use crate::server::{Peer, Pool};

/// Extra key under which Kubernetes names the credential.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// The user of a leaf that chains to `pool`; nobody without a certificate or without a CN.
pub(super) fn authenticate(peer: &Peer, pool: &Pool, now: Timestamp) -> Result<Option<User>, Rejection> {
    let Some(leaf) = peer.leaf() else { return Ok(None) };
    peer.verify(pool, now).map_err(Rejection::Bad)?;
    let Some(subject) = subject(leaf)? else { return Ok(None) };
    let digest = hex::encode(&Sha256::digest(leaf));
    let extra = BTreeMap::from([(CREDENTIAL.to_owned(), vec![format!("X509SHA256={digest}")])]);
    Ok(Some(User { name: subject.name, uid: String::new(), groups: subject.groups, extra }))
}

/// The read part of a leaf's subject.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
}

/// The subject of a verified leaf; `None` without a CN. Of several CNs the last counts, as in Go's `pkix.Name`.
pub(super) fn subject(leaf: &CertificateDer<'_>) -> Result<Option<Subject>, Rejection> {
    let bad = |_| Rejection::Bad("the client certificate cannot be read".to_owned());
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(bad)?;
    Ok(read(certificate.subject()))
}

fn read(name: &X509Name<'_>) -> Option<Subject> {
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
    let common = name.iter_common_name().filter_map(text).last().filter(|name| !name.is_empty())?;
    Some(Subject { name: common, groups: name.iter_organization().filter_map(text).collect() })
}
