//! RFC 5280 path validation against the bundle of the leaf's own trust domain.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Duration;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};

use super::bundle::Bundle;
use super::certificate::{Leaf, Signer};
use crate::IdentityError;

/// The most certificates that a client may show, leaf included.
pub(crate) const CHAIN_MAX: usize = 8;
/// The most bytes that they may have together.
pub(crate) const CHAIN_BYTES_MAX: usize = 64 * 1024;

/// The signature algorithms of the one crypto provider.
pub(crate) static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> =
    LazyLock::new(|| rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms);

/// Refuses a chain by its size, before anything in it is read.
pub(crate) fn check_size(chain: &[CertificateDer<'_>]) -> Result<(), IdentityError> {
    let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
    if chain.len() > CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
        return Err(IdentityError::Malformed("the certificate chain is longer than 8 certificates or 64 KiB"));
    }
    Ok(())
}

/// Validates the path of a checked leaf. Yields when the first certificate of the path ends.
///
/// A list that is authoritative for a certificate must be fresh and must not name it; a certificate that no list
/// speaks of is taken as good, because not every authority of a bundle publishes lists.
pub(crate) fn validate(
    leaf: &Leaf,
    chain: &[CertificateDer<'_>],
    bundle: &Bundle,
    lists: &[&CertRevocationList<'_>],
    now: i64,
) -> Result<i64, IdentityError> {
    let (first, intermediates) = chain.split_first().ok_or(IdentityError::Malformed("no certificate"))?;
    let end_entity = EndEntityCert::try_from(first).map_err(|error| translate(&error))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
    let revocation = RevocationOptionsBuilder::new(lists).ok().map(|options| {
        options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build()
    });
    // The validator's own error does not say which of our demands was not met.
    let unmet = Cell::new(None);
    let ends = Cell::new(leaf.not_after);
    let check = |path: &VerifiedPath<'_>| match check_signers(leaf, path, bundle, now) {
        Ok(first_end) => {
            ends.set(first_end.min(leaf.not_after));
            Ok(())
        }
        Err(error) => {
            unmet.set(Some(error));
            Err(webpki::Error::UnknownIssuer)
        }
    };
    let usage = KeyUsage::client_auth();
    let validated = end_entity.verify_for_usage(
        ALGORITHMS.all,
        bundle.anchors(),
        intermediates,
        time,
        usage,
        revocation,
        Some(&check),
    );
    match validated {
        Ok(_) => Ok(ends.get()),
        Err(error) => Err(unmet.take().unwrap_or_else(|| translate(&error))),
    }
}

/// Every signer of the path is a SPIFFE signing certificate of the leaf's trust domain. Yields the earliest end.
fn check_signers(leaf: &Leaf, path: &VerifiedPath<'_>, bundle: &Bundle, now: i64) -> Result<i64, IdentityError> {
    // An anchor is name and key to the path validator; it lost its dates and its bound on the path's length.
    let root = bundle
        .signers(path.anchor())
        .find(|root| (root.not_before..=root.not_after).contains(&now))
        .ok_or(IdentityError::Untrusted("the root in the bundle has expired or is not valid yet"))?;
    let count = path.intermediate_certificates().count();
    if root.path_len_max.is_some_and(|longest| usize::try_from(longest).is_ok_and(|longest| count > longest)) {
        return Err(IdentityError::Untrusted("more intermediate certificates than the root allows"));
    }
    let mut ends = root.not_after;
    check_domain(leaf, root)?;
    for intermediate in path.intermediate_certificates() {
        let signer = Signer::check(&intermediate.der()).map_err(IdentityError::Untrusted)?;
        check_domain(leaf, &signer)?;
        ends = ends.min(signer.not_after);
    }
    Ok(ends)
}

fn check_domain(leaf: &Leaf, signer: &Signer) -> Result<(), IdentityError> {
    match &signer.trust_domain {
        Some(domain) if domain != leaf.id.trust_domain() => {
            Err(IdentityError::Untrusted("a signing certificate is another trust domain's"))
        }
        Some(_) | None => Ok(()),
    }
}

fn translate(error: &webpki::Error) -> IdentityError {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => IdentityError::Expired,
        Error::CertNotValidYet { .. } => IdentityError::NotYetValid,
        Error::CertRevoked => IdentityError::Revoked,
        Error::CrlExpired { .. } => IdentityError::Untrusted("the revocation list has expired"),
        Error::UnknownIssuer => IdentityError::Untrusted("no authority of the trust domain signed the certificate"),
        Error::BadDer | Error::BadDerTime => IdentityError::Malformed("the certificate cannot be read"),
        Error::NameConstraintViolation => IdentityError::Untrusted("a name constraint forbids the certificate"),
        Error::PathLenConstraintViolated => IdentityError::Untrusted("more intermediate certificates than one allows"),
        Error::EndEntityUsedAsCa => IdentityError::Untrusted("a leaf was used as a signing certificate"),
        _ => IdentityError::Untrusted("the certificate path is not valid"),
    }
}
