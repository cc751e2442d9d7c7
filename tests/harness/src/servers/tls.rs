//! A TLS proxy in front of a plain server, with its own certificate authority.
//!
//! Not every Redis or Valkey build supports TLS. With a proxy, one server is also reachable both with TLS and without.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The certificate that the proxy presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Valid for `localhost` and `127.0.0.1`.
    Right,
    /// For another host name.
    OtherName,
    /// No longer valid.
    Expired,
}

/// A certificate for `localhost` and `127.0.0.1`, its key, and the authority that signed it, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate of the authority.
    pub authority: String,
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Identity {
    /// A new one, of a new authority.
    pub fn new() -> Self {
        let authority = authority();
        let (leaf, key) = signed(&authority, Certificate::Right);
        Self { authority: authority.as_ref().pem(), certificate: leaf.pem(), key: key.serialize_pem() }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

/// A proxy that terminates TLS and forwards the plain bytes. Stops on drop.
#[derive(Debug)]
pub struct TlsProxy {
    port: u16,
    ca_pem: String,
    ca: RootCertStore,
    dir: TempDir,
    task: JoinHandle<()>,
}

impl TlsProxy {
    /// Starts in front of `target`, with a valid certificate.
    pub async fn start(target: SocketAddr) -> Self {
        Self::start_with(target, Certificate::Right).await
    }

    /// Starts in front of `target`, with the given certificate.
    pub async fn start_with(target: SocketAddr, certificate: Certificate) -> Self {
        let ca = authority();
        let mut roots = RootCertStore::empty();
        roots.add(ca.as_ref().der().clone()).expect("a valid authority");
        let ca_pem = ca.as_ref().pem();
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("ca.pem"), &ca_pem).expect("a file for the authority");

        let acceptor = TlsAcceptor::from(Arc::new(server_config(&ca, certificate)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let port = listener.local_addr().expect("a bound address").port();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    let (Ok(mut client), Ok(mut server)) =
                        (acceptor.accept(client).await, TcpStream::connect(target).await)
                    else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, ca_pem, ca: roots, dir, task }
    }

    /// `rediss://localhost:port`
    pub fn url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The path of a file with the same. It exists as long as the proxy.
    pub fn ca_path(&self) -> PathBuf {
        Path::join(self.dir.path(), "ca.pem")
    }

    /// A client configuration that trusts only this authority.
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(self.ca.clone())
            .with_no_client_auth()
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

fn signed(ca: &CertifiedIssuer<'static, KeyPair>, certificate: Certificate) -> (rcgen::Certificate, KeyPair) {
    let names = match certificate {
        Certificate::Right | Certificate::Expired => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        Certificate::OtherName => vec!["elsewhere.example".to_owned()],
    };
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(names).expect("valid names");
    if certificate == Certificate::Expired {
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    (params.signed_by(&key, ca).expect("a certificate"), key)
}

fn server_config(ca: &CertifiedIssuer<'static, KeyPair>, certificate: Certificate) -> ServerConfig {
    let (leaf, key) = signed(ca, certificate);
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("a usable certificate")
}
