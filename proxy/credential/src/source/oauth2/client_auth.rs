//! How a client proves itself to its endpoints: `auth`, with the names of RFC 8414 (`token_endpoint_auth_method`).

pub(super) mod settings;

use std::fmt;

use claviger_contract::{Reach, Secret};
use claviger_policy::Target;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::super::caller::Needs;
use super::super::client_certificate::CertificateSource;
use super::assertion::Assertion;
use super::client::Client;
use super::endpoint::Endpoint;
use super::form::basic;
use crate::binding::{BoundHost, list};
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::source::Ask;
use crate::store::{SecretHandle, Stored};

/// RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The proof of a client.
pub(super) enum ClientAuth {
    /// `none`: a public client, or one that shows all that is asked for in its grant.
    None,
    /// `client_secret_basic` (RFC 6749 §2.3.1): HTTP Basic, of the form-encoded id and secret.
    Basic(SecretHandle),
    /// `client_secret_post` (the same): `client_id` and `client_secret` in the body.
    Post(SecretHandle),
    /// `private_key_jwt` (RFC 7523 §2.2): a JWT that is signed with the client's key, or that stands for the workload.
    Assertion(Assertion),
    /// `tls_client_auth` and `self_signed_tls_client_auth` (RFC 8705 §2): a certificate, whose issuer the server knows, or
    /// which it knows itself. What the client does is the same.
    Certificate { of: CertificateSource, self_signed: bool },
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What goes into one call.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) header: Option<(HeaderName, HeaderValue)>,
    /// Whether `client_id` stands in the body.
    pub(super) with_id: bool,
    pub(super) fields: Vec<(&'static str, Secret)>,
    /// How the call travels, if otherwise than configured.
    pub(super) reach: Option<Reach>,
}

impl ClientAuth {
    /// The name that RFC 7591 §2 registers.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic(_) => "client_secret_basic",
            Self::Post(_) => "client_secret_post",
            Self::Assertion(_) => "private_key_jwt",
            Self::Certificate { self_signed: false, .. } => "tls_client_auth",
            Self::Certificate { self_signed: true, .. } => "self_signed_tls_client_auth",
        }
    }

    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Assertion(assertion) => assertion.needs(),
            Self::None | Self::Basic(_) | Self::Post(_) | Self::Certificate { .. } => Needs::Nothing,
        }
    }

    /// Whether it is shown in TLS, at the endpoint that asks for it.
    pub(super) fn is_by_certificate(&self) -> bool {
        matches!(self, Self::Certificate { .. })
    }

    pub(super) fn secrets(&self) -> Vec<&SecretReference> {
        match self {
            Self::None => Vec::new(),
            Self::Basic(handle) | Self::Post(handle) => vec![&handle.reference],
            Self::Assertion(assertion) => assertion.secrets().into_iter().collect(),
            Self::Certificate { of, .. } => of.secrets().into(),
        }
    }

    /// Makes the proof for one call to this endpoint.
    pub(super) async fn show(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        ask: Option<Ask<'_>>,
    ) -> Result<Shown, SourceError> {
        let id = client.id.as_str();
        match self {
            Self::None => Ok(Shown { with_id: !id.is_empty(), ..Shown::default() }),
            Self::Basic(handle) => {
                let stored = read_for(handle, &endpoint.target).await?;
                Ok(Shown { header: Some((AUTHORIZATION, basic(id, &stored.value))), ..Shown::default() })
            }
            Self::Post(handle) => {
                let stored = read_for(handle, &endpoint.target).await?;
                Ok(Shown { with_id: true, fields: vec![("client_secret", stored.value)], ..Shown::default() })
            }
            Self::Assertion(assertion) => {
                let jwt = assertion.jwt(client, endpoint, ask).await?;
                let fields =
                    vec![("client_assertion_type", Secret::from(ASSERTION_TYPE.to_owned())), ("client_assertion", jwt)];
                Ok(Shown { with_id: true, fields, ..Shown::default() })
            }
            Self::Certificate { of, .. } => {
                let certificate = of.read(&endpoint.target, check_binding).await?;
                let reach = Reach { client_certificate: Some(certificate), ..client.reach.clone() };
                Ok(Shown { with_id: true, reach: Some(reach), ..Shown::default() })
            }
        }
    }
}

/// A secret of the source's own, if it may go to this endpoint.
pub(in crate::source) async fn read_for(handle: &SecretHandle, endpoint: &Target) -> Result<Stored, SourceError> {
    let stored = handle.read().await?;
    check_binding(handle, &stored, endpoint)?;
    Ok(stored)
}

/// A source's own secret goes to its endpoint only, and only if it is bound there.
pub(super) fn check_binding(handle: &SecretHandle, stored: &Stored, endpoint: &Target) -> Result<(), SourceError> {
    match &stored.hosts {
        Some(hosts) if !hosts.iter().any(|host| host.matches(endpoint)) => Err(SourceError::Binding {
            reference: handle.reference.to_string(),
            hosts: if hosts.is_empty() { "no host".to_owned() } else { list(hosts) },
            destination: BoundHost::of_target(endpoint).to_string(),
        }),
        // A value without hosts of its own: the configuration that names the endpoint binds it.
        Some(_) | None => Ok(()),
    }
}
