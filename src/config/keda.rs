//! `keda`: where KEDA's metrics server is, for a Plimsoll in front of it.

use std::{path::PathBuf, time::Duration};

use serde_saphyr::Location;

use super::{duration::GoDuration, file, value::HttpUrl};

/// The token that every pod with a ServiceAccount has.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// No answer takes longer: kube-apiserver itself gives up after a minute.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// Where KEDA's metrics server is, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keda {
    /// `https`, host and port.
    pub url: HttpUrl,
    /// Authorities that it is verified with.
    pub ca_file: PathBuf,
    /// How we say who we are.
    pub identity: Identity,
    /// Time in which an exchange must end.
    pub timeout: Duration,
}

/// Who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A token in a file.
    Token(PathBuf),
    /// A client certificate and its key.
    Certificate {
        /// Chain, leaf first.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

pub(super) fn check(at: Location, keda: file::Keda) -> Result<Keda, (Location, String)> {
    let fail = |message: String| Err((at, message));
    let url = keda.url.url();
    if url.scheme() != "https" {
        return fail(format!("keda.url {} is not https: KEDA's metrics server is asked with credentials", keda.url));
    }
    if url.query().is_some() || url.path() != "/" {
        return fail(format!("keda.url {} must end with host and port", keda.url));
    }
    if keda.ca_file.as_os_str().is_empty() {
        return fail("keda.caFile is empty: it is ca.crt of KEDA's Secret kedaorg-certs".to_owned());
    }
    let (least, most) = (Duration::from_millis(100), MAX_TIMEOUT);
    if !(least..=most).contains(&keda.timeout.0) {
        let (least, most) = (GoDuration(least), GoDuration(most));
        return fail(format!("keda.timeout is {}, expected {least} to {most}", keda.timeout));
    }
    let identity = match (keda.bearer_token_file, keda.client_certificate_file, keda.client_key_file) {
        (None, Some(certificate), Some(key)) => Identity::Certificate { certificate, key },
        (token, None, None) => Identity::Token(token.unwrap_or_else(|| SERVICE_ACCOUNT_TOKEN.into())),
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return fail("keda: give bearerTokenFile or a client certificate, not both".to_owned());
        }
        (None, Some(_), None) => return fail("keda.clientCertificateFile needs keda.clientKeyFile".to_owned()),
        (None, None, Some(_)) => return fail("keda.clientKeyFile needs keda.clientCertificateFile".to_owned()),
    };
    Ok(Keda { url: keda.url, ca_file: keda.ca_file, identity, timeout: keda.timeout.0 })
}
