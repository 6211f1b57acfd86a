//! Flags of the secure port, under the names that every aggregated API server gives them.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use kube::Client;

use super::{
    Metrics,
    authentication::{Authenticator, FrontProxyFlags, Lookup, Store},
    authorization::{Authorizer, Options},
};
use crate::server::{
    self, Tls,
    certificate::{Error, Files},
};

/// Where the API listens and what it presents.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Secure serving")]
pub struct SecureServingArgs {
    /// Port of the metrics APIs (HTTPS).
    #[arg(long, default_value_t = 6443, env = "PLIMSOLL_SECURE_PORT")]
    pub secure_port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0", env = "PLIMSOLL_BIND_ADDRESS")]
    pub bind_address: IpAddr,
    /// PEM file with the serving certificate and its intermediates. Followed: a change is in use within 10 s. Without
    /// it a self-signed certificate is made, for which an APIService needs insecureSkipTLSVerify.
    #[arg(long, requires = "tls_private_key_file", env = "PLIMSOLL_TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file with the private key of the serving certificate.
    #[arg(long, requires = "tls_cert_file", env = "PLIMSOLL_TLS_PRIVATE_KEY_FILE")]
    pub tls_private_key_file: Option<PathBuf>,
}

/// Who is asking: delegated authentication.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthenticationArgs {
    /// Kubeconfig for token reviews and for the ConfigMap kube-system/extension-apiserver-authentication. Without it
    /// the client of the process is used.
    #[arg(long)]
    pub authentication_kubeconfig: Option<PathBuf>,
    /// Do not read the ConfigMap: trust only what flags say.
    #[arg(long)]
    pub authentication_skip_lookup: bool,
    /// How long the verdict on a bearer token is kept, in seconds or as 10s.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub authentication_token_webhook_cache_ttl: Duration,
    /// PEM bundle: a client certificate signed by one of these is authenticated as its CN and O. Overrides the
    /// ConfigMap; followed.
    #[arg(long)]
    pub client_ca_file: Option<PathBuf>,
    /// PEM bundle: authorities of the front proxy's certificate. Overrides what the ConfigMap says about the proxy;
    /// followed.
    #[arg(long)]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// Common names that the front proxy may have; none means any under its authority.
    #[arg(long, value_delimiter = ',')]
    pub requestheader_allowed_names: Vec<String>,
    /// Headers with the user's name.
    #[arg(long, value_delimiter = ',', default_value = "x-remote-user")]
    pub requestheader_username_headers: Vec<String>,
    /// Headers with the user's uid.
    #[arg(long, value_delimiter = ',')]
    pub requestheader_uid_headers: Vec<String>,
    /// Headers with the user's groups.
    #[arg(long, value_delimiter = ',', default_value = "x-remote-group")]
    pub requestheader_group_headers: Vec<String>,
    /// Prefixes of headers with further attributes.
    #[arg(long, value_delimiter = ',', default_value = "x-remote-extra-")]
    pub requestheader_extra_headers_prefix: Vec<String>,
}

/// What they may do: delegated authorisation.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Authorization")]
pub struct AuthorizationArgs {
    /// Kubeconfig for access reviews. Without it the client of the process is used.
    #[arg(long)]
    pub authorization_kubeconfig: Option<PathBuf>,
    /// Paths that need neither identity nor permission; a trailing * matches any rest.
    #[arg(long, value_delimiter = ',', default_value = "/healthz,/readyz,/livez")]
    pub authorization_always_allow_paths: Vec<String>,
    /// How long an allowed answer is kept. An HPA asks every 15 s: with less than that each of its questions costs
    /// kube-apiserver a review.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub authorization_webhook_cache_authorized_ttl: Duration,
    /// How long a denied answer is kept.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub authorization_webhook_cache_unauthorized_ttl: Duration,
    /// Ask for a review even for the group system:masters.
    #[arg(long)]
    pub authorization_review_masters: bool,
}

/// `10s`, `500ms`, `1m`, `2h`, or whole seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milli = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("unknown unit {unit:?} (examples: 10s, 500ms, 2m)")),
    };
    let number: u64 = number.parse().map_err(|_| "no number (examples: 10s, 500ms, 2m)".to_owned())?;
    number.checked_mul(milli).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

// === impl SecureServingArgs ===

impl SecureServingArgs {
    /// Address and port to listen on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind_address, self.secure_port)
    }

    /// TLS from the files, or with a certificate made now for `names` beside the address.
    pub async fn tls(&self, names: &[String], metrics: server::Metrics) -> Result<Tls, Error> {
        if let (Some(certificate), Some(key)) = (&self.tls_cert_file, &self.tls_private_key_file) {
            let files = Files { certificate: certificate.clone(), key: key.clone() };
            return Tls::from_files(files, metrics).await;
        }
        let own = ["localhost".to_owned(), "127.0.0.1".to_owned(), self.bind_address.to_string()];
        let mut names: Vec<_> = own.into_iter().chain(names.iter().cloned()).collect();
        names.sort();
        names.dedup();
        Tls::self_signed(&names, metrics)
    }
}

// === impl AuthenticationArgs ===

impl AuthenticationArgs {
    /// Where whom to trust is read from; for [`super::authentication::watch`]. Flags that say everything make the
    /// ConfigMap needless.
    #[must_use]
    pub fn lookup(&self, client: Client) -> Lookup {
        let front_proxy = self.requestheader_client_ca_file.as_ref().map(|client_ca| FrontProxyFlags {
            client_ca: client_ca.clone(),
            allowed_names: self.requestheader_allowed_names.clone(),
            username_headers: self.requestheader_username_headers.clone(),
            uid_headers: self.requestheader_uid_headers.clone(),
            group_headers: self.requestheader_group_headers.clone(),
            extra_prefixes: self.requestheader_extra_headers_prefix.clone(),
        });
        let complete = front_proxy.is_some() && self.client_ca_file.is_some();
        let needless = self.authentication_skip_lookup || complete;
        let base = if needless { Lookup::default() } else { Lookup::in_cluster(client) };
        Lookup { client_ca: self.client_ca_file.clone(), front_proxy, ..base }
    }

    /// The authenticator over `trust`.
    #[must_use]
    pub fn authenticator(&self, trust: Arc<Store>, client: Client, metrics: &Metrics) -> Authenticator {
        Authenticator::new(trust, Some(client), self.authentication_token_webhook_cache_ttl, metrics)
    }
}

// === impl AuthorizationArgs ===

impl AuthorizationArgs {
    /// The authoriser.
    #[must_use]
    pub fn authorizer(&self, client: Client, metrics: &Metrics) -> Authorizer {
        let options = Options {
            allowed_life: self.authorization_webhook_cache_authorized_ttl,
            denied_life: self.authorization_webhook_cache_unauthorized_ttl,
            always_allow: self.authorization_always_allow_paths.clone(),
            trust_masters: !self.authorization_review_masters,
            ..Options::default()
        };
        Authorizer::new(client, options, metrics)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        serving: SecureServingArgs,
        #[command(flatten)]
        authentication: AuthenticationArgs,
        #[command(flatten)]
        authorization: AuthorizationArgs,
    }

    #[test]
    fn the_defaults_are_those_of_an_aggregated_api_server_except_for_the_memory_of_allowed_answers() {
        let flags = Flags::parse_from(["serve"]);
        assert_eq!(flags.serving.address().to_string(), "0.0.0.0:6443");
        assert_eq!(flags.authentication.authentication_token_webhook_cache_ttl, Duration::from_secs(10));
        assert_eq!(flags.authorization.authorization_webhook_cache_authorized_ttl, Duration::from_secs(60));
        assert_eq!(flags.authorization.authorization_webhook_cache_unauthorized_ttl, Duration::from_secs(10));
        assert_eq!(flags.authorization.authorization_always_allow_paths, ["/healthz", "/readyz", "/livez"]);
    }

    #[test]
    fn a_certificate_needs_its_key() {
        assert!(Flags::try_parse_from(["serve", "--tls-cert-file", "a"]).is_err());
        assert!(Flags::try_parse_from(["serve", "--tls-cert-file", "a", "--tls-private-key-file", "b"]).is_ok());
    }

    #[test]
    fn durations_are_read_as_kubernetes_writes_them() {
        for (text, milli) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("7", 7_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milli)));
        }
        for text in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
