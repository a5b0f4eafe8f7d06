//! What all legs of a run share: certificates, the upstream, the folders.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger_tests::World;
use claviger_tests::peers::ca::IssuedFiles;
use claviger_tests::svid::{Svid, TrustDomain, tls_client};
use tempfile::TempDir;

use crate::door::GATEWAY;
use crate::legs::nginx;
use crate::origin;
use crate::server::Server;

/// Workers of each proxy.
pub(crate) const WORKERS: usize = 2;

/// How long certificates and tokens last: longer than any run.
const SECONDS: i64 = 80_000;

/// A run's surroundings.
pub(crate) struct Scene {
    /// Has the certificate authority, the secret, and the folder that Claviger runs in.
    pub(crate) world: World,
    /// Whose clients have certificates.
    pub(crate) domain: TrustDomain,
    /// What clients of mTLS show.
    pub(crate) svid: Svid,
    /// What proxies show to clients of TLS.
    pub(crate) server: IssuedFiles,
    /// An authority for peers that intercept, with its key.
    pub(crate) authority: (PathBuf, PathBuf),
    /// The upstream's port.
    pub(crate) upstream: u16,
    folder: TempDir,
    /// The upstream, and what stands behind it.
    _servers: [Server; 2],
}

impl Scene {
    /// Starts the upstream.
    pub(crate) fn new() -> Self {
        let (world, folder, domain) = (World::new(), TempDir::new().unwrap(), TrustDomain::new("acme.test"));
        let server = world.ca.issue(&[GATEWAY]);
        fs::write(folder.path().join("bundle.pem"), domain.bundle()).unwrap();
        let authority = authority(folder.path());
        let (origin, origin_port) = origin::launch().unwrap();
        let (upstream, port) = nginx::upstream(&world, origin_port).unwrap();
        let svid = domain.svid_for("/app", SECONDS);
        Self { svid, server, authority, upstream: port, folder, _servers: [upstream, origin], world, domain }
    }

    /// The roots of client certificates, a file.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.folder.path().join("bundle.pem")
    }

    /// What the upstream wants.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.world.canary)
    }

    /// A workload's token that outlives the run.
    pub(crate) fn token(&self, sub: &str) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        self.world.issuer.token_with(sub, serde_json::json!({"exp": now + SECONDS.unsigned_abs()}))
    }

    /// TLS of a client that shows its certificate.
    pub(crate) fn mutual(&self, alpn: &[&str]) -> Arc<rustls::ClientConfig> {
        Arc::new(tls_client(self.world.ca.pem(), Some(&self.svid), alpn))
    }

    /// TLS of a client that trusts the peers' authority.
    pub(crate) fn intercepted(&self) -> Arc<rustls::ClientConfig> {
        Arc::new(tls_client(&fs::read_to_string(&self.authority.0).unwrap(), None, &["http/1.1"]))
    }
}

/// An authority that may sign for any host, as PEM files.
fn authority(folder: &Path) -> (PathBuf, PathBuf) {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "interception");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let key = rcgen::KeyPair::generate().unwrap();
    let (file, key_file) = (folder.join("authority.pem"), folder.join("authority.key"));
    fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    (file, key_file)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
