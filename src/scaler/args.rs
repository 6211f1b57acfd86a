//! Flags of the external scaler.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::Clients;

/// Where the external scaler listens, and for whom.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "scaler")]
#[command(next_help_heading = "KEDA external scaler")]
pub struct Args {
    /// Port of KEDA's external scaler (gRPC with TLS), e.g. 9443; without it there is none. It presents the serving
    /// certificate of the metrics APIs unless it is given one of its own.
    #[arg(long, value_name = "PORT", env = "PLIMSOLL_SCALER_PORT")]
    pub scaler_port: Option<u16>,
    /// Address that the external scaler listens on.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0", env = "PLIMSOLL_SCALER_BIND_ADDRESS")]
    pub scaler_bind_address: IpAddr,
    /// PEM file with the certificate of the external scaler and its intermediates; followed.
    #[arg(long, requires = "scaler_tls_private_key_file")]
    pub scaler_tls_cert_file: Option<PathBuf>,
    /// PEM file with the private key of that certificate.
    #[arg(long, requires = "scaler_tls_cert_file")]
    pub scaler_tls_private_key_file: Option<PathBuf>,
    /// PEM bundle: KEDA must present a certificate signed by one of these; followed. Nobody is answered before the file
    /// can be read.
    #[arg(long, value_name = "FILE", env = "PLIMSOLL_SCALER_CLIENT_CA_FILE")]
    pub scaler_client_ca_file: Option<PathBuf>,
    /// Answer whoever connects, without a certificate: queue lengths and replica counts of all namespaces.
    #[arg(long, conflicts_with = "scaler_client_ca_file")]
    pub scaler_allow_any_client: bool,
    /// Seconds after which a connection is closed in good order, at most a tenth sooner, so that KEDA finds new replicas.
    #[arg(long, value_name = "SECONDS", default_value_t = super::CONNECTION_AGE.as_secs())]
    pub scaler_max_connection_age: u64,
}

/// Why the flags do not go together.
#[derive(Debug, thiserror::Error)]
#[error(
    "--scaler-port needs --scaler-client-ca-file, so that only KEDA is answered (or --scaler-allow-any-client, if the network keeps others out)"
)]
pub struct NoClients;

// === impl Args ===

impl Args {
    /// Where to listen; none without a port.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.scaler_port.map(|port| SocketAddr::new(self.scaler_bind_address, port))
    }

    /// Who may ask.
    pub fn clients(&self) -> Result<Clients, NoClients> {
        match &self.scaler_client_ca_file {
            Some(file) => Ok(Clients::of_file(file.clone())),
            None if self.scaler_allow_any_client => Ok(Clients::anybody()),
            None => Err(NoClients),
        }
    }

    /// Age of connections.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_secs(self.scaler_max_connection_age.max(1))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        scaler: Args,
    }

    #[test]
    fn who_may_ask_has_to_be_said() {
        let parse = |flags: &[&str]| Flags::parse_from([&["serve", "--scaler-port=1"], flags].concat()).scaler;
        assert!(parse(&[]).clients().unwrap_err().to_string().contains("--scaler-client-ca-file"));
        assert!(parse(&["--scaler-allow-any-client"]).clients().is_ok());
        assert!(parse(&["--scaler-client-ca-file", "x"]).clients().is_ok());
    }
}
