//! SVID validation within the TLS handshake.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use super::path::ALGORITHMS;
use crate::IdentityError;

/// Judges a client's certificates.
pub(crate) type Judge = dyn Fn(&[CertificateDer<'static>]) -> Result<(), IdentityError> + Send + Sync;

/// A client certificate verifier that asks the attestors. A client without a certificate passes: what else it shows
/// is judged later.
pub(crate) struct SvidVerifier {
    judge: Box<Judge>,
}

impl SvidVerifier {
    pub(crate) fn new(judge: Box<Judge>) -> Self {
        Self { judge }
    }
}

impl fmt::Debug for SvidVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SvidVerifier").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for SvidVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: bundles change while the server runs, and a client has one SVID anyway.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// The handshake's own idea of the time is not used: attestors have the clock of the process.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<CertificateDer<'static>> =
            std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        (self.judge)(&chain).map_err(into_tls)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &ALGORITHMS)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

/// The alert that fits; what has no alert of its own travels inside.
fn into_tls(error: IdentityError) -> Error {
    Error::InvalidCertificate(match error {
        IdentityError::Expired => CertificateError::Expired,
        IdentityError::NotYetValid => CertificateError::NotValidYet,
        IdentityError::Revoked => CertificateError::Revoked,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}

impl IdentityError {
    /// The attestor's refusal in a failed handshake, if that is why it failed.
    pub fn of_handshake(error: &Error) -> Option<Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Expired) => Some(Self::Expired),
            Error::InvalidCertificate(CertificateError::NotValidYet) => Some(Self::NotYetValid),
            Error::InvalidCertificate(CertificateError::Revoked) => Some(Self::Revoked),
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref::<Self>().cloned()
            }
            _ => None,
        }
    }
}
