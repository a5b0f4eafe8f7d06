//! One host's certificate, and the server side of TLS with it.

use std::sync::Arc;

use claviger_policy::Host;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::cache::Leaf;
use super::{AuthorityError, BACKDATED_SECONDS, Intermediate, LeafKey, params};
use crate::trust;

const LEAF_SECONDS: i64 = 24 * 60 * 60;

/// Signs a leaf for `host`; the intermediate must permit it.
pub(super) fn sign(intermediate: &Intermediate, key: &LeafKey, host: &Host, now: i64) -> Result<Leaf, AuthorityError> {
    let params = params_for(intermediate, host, now)?;
    let certificate = params.signed_by(&key.public, &intermediate.issuer)?;
    let chain = vec![certificate.der().clone(), intermediate.certificate.clone()];
    let certified = Arc::new(CertifiedKey::new(chain, Arc::clone(&key.signer)));
    let config = Arc::new(server_config(OnlyHost { host: host.clone(), certified })?);
    let (not_before, not_after) = (params.not_before.unix_timestamp(), params.not_after.unix_timestamp());
    Ok(Leaf { config, not_before, renew_at: now + (not_after - now) * 3 / 4 })
}

pub(super) fn params_for(
    intermediate: &Intermediate,
    host: &Host,
    now: i64,
) -> Result<CertificateParams, AuthorityError> {
    let not_before = (now - BACKDATED_SECONDS).max(intermediate.not_before);
    // The day counts from the first second that the certificate shows.
    let not_after = (not_before + LEAF_SECONDS).min(intermediate.not_after);
    let mut params = params(not_before, not_after)?;
    // Not the host: a common name ends at 64 characters, and no client may go by it.
    params.distinguished_name.push(DnType::OrganizationName, "Claviger interception");
    params.subject_alt_names = vec![match host.is_ip() {
        Some(ip) => SanType::IpAddress(ip),
        None => SanType::DnsName(host.as_str().try_into()?),
    }];
    // Not `NoCa`, which would leave out the subject key identifier.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn server_config(resolver: OnlyHost) -> Result<ServerConfig, rustls::Error> {
    let mut config =
        trust::server_config(|builder| Ok(builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver))))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // To make and send a ticket costs what the signature costs that it would save, and it costs each connection. Nor is
    // any session stored, so clients cannot grow anything, and none outlives its leaf.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Serves the host that CONNECT named, and no other.
#[derive(Debug)]
struct OnlyHost {
    host: Host,
    certified: Arc<CertifiedKey>,
}

impl ResolvesServerCert for OnlyHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = match (hello.server_name(), self.host.is_ip()) {
            (Some(name), None) => name.eq_ignore_ascii_case(self.host.as_str()),
            // An address never stands in SNI (RFC 6066 §3).
            (None, Some(_)) => true,
            (Some(_), Some(_)) | (None, None) => false,
        };
        fits.then(|| Arc::clone(&self.certified))
    }
}
