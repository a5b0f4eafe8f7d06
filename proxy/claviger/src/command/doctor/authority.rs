//! The certificate authority: there, whole, young enough, and such that its leaves verify.

use std::sync::Arc;

use claviger_policy::{Host, HostPattern};
use claviger_wire::{InterceptionAuthority, InterceptionRoot};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::check::{Check, Id};
use super::scene::Scene;
use crate::interception;

/// How long before its end a root is to be replaced: its clients have to be told of the new one first.
const SOON_DAYS: i64 = 60;

/// A host that exists nowhere (RFC 2606), for a leaf that nobody can use.
pub(crate) const PROBE_HOST: &str = "doctor.invalid";

/// All of this category.
pub(crate) fn checks(scene: &Scene<'_>) -> Vec<Check> {
    if scene.blind {
        return Vec::new();
    }
    let file = scene.authority_file();
    let path = file.display();
    let pem = match std::fs::read_to_string(&file) {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return vec![absent(scene)],
        Err(error) => {
            let next = "run this as the user of the proxy";
            return vec![Check::error(Id::CaPresent, format!("`{path}` cannot be read"), error.to_string(), next)];
        }
    };
    let Some(der) = CertificateDer::pem_slice_iter(pem.as_bytes()).next().and_then(Result::ok) else {
        let next = "put it back from where you keep it, or remove it and its key and have clients trust a new one";
        return vec![Check::error(Id::CaPresent, format!("`{path}` is no certificate"), "no PEM block is in it", next)];
    };
    let mut all = vec![Check::ok(Id::CaPresent, format!("`{path}` is what clients of forward listeners trust"))];
    all.push(expires(&der, scene.now()));
    let expired = all.iter().any(|check| check.status == super::check::Status::Error);
    match interception::load(&scene.state_dir) {
        Ok(Some(root)) => {
            all.push(Check::ok(Id::CaFits, "its key is sealed, and is the certificate's"));
            if !expired {
                all.push(chain(&root, scene));
            }
        }
        Ok(None) => {
            let cause = "a restored or copied folder may lack it; the proxy would make a new root, which nobody trusts";
            let next = "restore `sealed/` and `keys/` of the state folder together with `ca.pem`";
            all.push(Check::error(Id::CaFits, "its key is not in the sealed store", cause, next));
        }
        Err(why) => {
            let next = "restore the pair, or remove both and have clients trust a new one (`claviger trust install`)";
            all.push(Check::error(Id::CaFits, "certificate and key cannot be used together", why, next));
        }
    }
    all
}

fn absent(scene: &Scene<'_>) -> Check {
    if scene.forwards() {
        let cause = "the proxy makes it at its first start";
        return Check::warning(
            Id::CaPresent,
            "there is no certificate authority yet",
            cause,
            "`claviger ca` makes it now",
        );
    }
    Check::ok(Id::CaPresent, "there is no certificate authority, and no forward listener needs one")
}

fn expires(der: &CertificateDer<'_>, now: i64) -> Check {
    let Some(validity) = validity_of(der) else {
        let next = "restore it from where you keep it";
        return Check::error(Id::CaExpires, "the certificate cannot be read", "it is not X.509", next);
    };
    let day =
        |at: i64| jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.strftime("%F").to_string());
    let next = "make a new one and have clients trust it: move `ca.pem` and `sealed/.interception-root.age` away, \
                then `claviger ca` and `claviger trust install`";
    let left = (validity.end - now).div_euclid(86_400);
    if now >= validity.end {
        let what = format!("the certificate has expired on {}", day(validity.end));
        return Check::error(Id::CaExpires, what, "no client accepts what it has signed", next);
    }
    if now < validity.start {
        let what = format!("the certificate is not valid before {}", day(validity.start));
        let next = "put this machine's clock right, or restore the certificate that belongs here";
        return Check::error(Id::CaExpires, what, "by this machine's clock that is still to come", next);
    }
    if left < SOON_DAYS {
        let what = format!("the certificate expires in {left} days, on {}", day(validity.end));
        return Check::warning(Id::CaExpires, what, "clients have to trust the next one before", next);
    }
    Check::ok(Id::CaExpires, format!("it is valid until {} ({left} days)", day(validity.end)))
}

/// In seconds since the Unix epoch.
fn validity_of(der: &CertificateDer<'_>) -> Option<std::ops::Range<i64>> {
    let (_, x509) = X509Certificate::from_der(der).ok()?;
    Some(x509.validity().not_before.timestamp()..x509.validity().not_after.timestamp())
}

/// A whole handshake in memory: what a client that trusts the root makes of a leaf.
fn chain(root: &InterceptionRoot, scene: &Scene<'_>) -> Check {
    match handshake(root, scene) {
        Ok(()) => Check::ok(Id::CaChain, "what it signs verifies, by a handshake in memory"),
        Err(why) => {
            let next = "restore the certificate and its key as they were";
            Check::error(Id::CaChain, "what it signs does not verify", why, next)
        }
    }
}

fn handshake(root: &InterceptionRoot, scene: &Scene<'_>) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots.add(root.certificate().clone()).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(PROBE_HOST).map_err(|error| error.to_string())?;
    let mut client = ClientConnection::new(Arc::new(client), name).map_err(|error| error.to_string())?;
    let mut server = ServerConnection::new(leaf(root, PROBE_HOST, scene)?).map_err(|error| error.to_string())?;
    // A handshake is over in three flights; what is not over then never will be.
    for _ in 0..8 {
        let mut flight = Vec::new();
        client.write_tls(&mut flight).map_err(|error| error.to_string())?;
        server.read_tls(&mut flight.as_slice()).map_err(|error| error.to_string())?;
        server.process_new_packets().map_err(|error| error.to_string())?;
        let mut flight = Vec::new();
        server.write_tls(&mut flight).map_err(|error| error.to_string())?;
        client.read_tls(&mut flight.as_slice()).map_err(|error| error.to_string())?;
        client.process_new_packets().map_err(|error| error.to_string())?;
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    Err("the handshake does not end".to_owned())
}

/// What a listener would show for this host, which is one of [`PROBE_HOST`].
pub(crate) fn leaf(root: &InterceptionRoot, host: &str, scene: &Scene<'_>) -> Result<Arc<ServerConfig>, String> {
    let pattern = |text: &str| HostPattern::parse(text, 443).map_err(|error| error.to_string());
    let hosts = [pattern(PROBE_HOST)?, pattern(&format!("*.{PROBE_HOST}"))?];
    let authority = InterceptionAuthority::new(root, &hosts, 1, scene.clock.clone());
    let host = Host::parse(host).map_err(|error| error.to_string())?;
    authority.and_then(|authority| authority.leaf(&host)).map_err(|error| error.to_string())
}
