//! Keys and certificates of one cluster: made anew for each run, in its temporary folder.
//!
//! Two authorities, as in a real cluster: the *cluster* CA signs servers and clients, the *front-proxy* CA signs
//! only the certificate with which kube-apiserver proves that its `X-Remote-*` headers are its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// Everything that the components of one cluster need, also as files in one folder.
#[derive(Debug)]
pub struct Pki {
    folder: PathBuf,
    /// Signs servers and clients.
    pub cluster: Authority,
    /// Signs the aggregator's client certificate.
    pub front_proxy: Authority,
}

impl Authority {
    /// A new self-signed authority.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = named(name, None, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Its certificate as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A client certificate: common name and organisation are user and group to Kubernetes.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Pair> {
        self.sign(named(user, group, Vec::new())?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A serving certificate for DNS names and IP addresses.
    pub fn server(&self, name: &str, alternatives: &[&str]) -> Result<Pair> {
        let alternatives = alternatives.iter().map(ToString::to_string).collect();
        self.sign(named(name, None, alternatives)?, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for both sides of a connection.
    pub fn both(&self, name: &str, alternatives: &[&str]) -> Result<Pair> {
        let alternatives = alternatives.iter().map(ToString::to_string).collect();
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign_for(named(name, None, alternatives)?, usages)
    }

    fn sign(&self, params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<Pair> {
        self.sign_for(params, vec![usage])
    }

    fn sign_for(&self, mut params: CertificateParams, usages: Vec<ExtendedKeyUsagePurpose>) -> Result<Pair> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

impl Pki {
    /// Makes the authorities, the service-account key and the certificates of the components in `folder`.
    pub fn create(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let pki = Self {
            cluster: Authority::new("plimsoll-e2e-ca")?,
            front_proxy: Authority::new("plimsoll-e2e-front-proxy-ca")?,
            folder,
        };
        pki.write_authorities()?;
        pki.write_components()?;
        Ok(pki)
    }

    fn write_authorities(&self) -> Result<()> {
        write(&self.file("ca.crt"), self.cluster.certificate())?;
        write(&self.file("front-proxy-ca.crt"), self.front_proxy.certificate())?;
        let service_account = KeyPair::generate()?;
        write(&self.file("sa.key"), &service_account.serialize_pem())?;
        write(&self.file("sa.pub"), &service_account.public_key_pem())
    }

    fn write_components(&self) -> Result<()> {
        let api_names = ["localhost", "127.0.0.1", "kubernetes.default.svc"];
        self.write_pair("apiserver", &self.cluster.server("kube-apiserver", &api_names)?)?;
        self.write_pair("front-proxy", &self.front_proxy.client("front-proxy-client", None)?)?;
        self.write_pair("admin", &self.cluster.client("e2e-admin", Some("system:masters"))?)?;
        self.write_pair("kwok", &self.cluster.client("kwok", Some("system:masters"))?)?;
        for component in ["system:kube-controller-manager", "system:kube-scheduler"] {
            let name = component.trim_start_matches("system:");
            self.write_pair(name, &self.cluster.client(component, None)?)?;
        }
        Ok(())
    }

    /// Writes `<name>.crt` and `<name>.key`.
    pub fn write_pair(&self, name: &str, pair: &Pair) -> Result<()> {
        write(&self.file(&format!("{name}.crt")), &pair.certificate)?;
        write(&self.file(&format!("{name}.key")), &pair.key)
    }

    /// The path of a file of this cluster's PKI.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn named(name: &str, organisation: Option<&str>, alternatives: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(alternatives)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organisation) = organisation {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    Ok(params)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
