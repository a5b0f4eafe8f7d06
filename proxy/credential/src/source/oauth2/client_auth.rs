//! How a client proves itself to its endpoints: `auth`, with the names of RFC 8414 (`token_endpoint_auth_method`).

pub(super) mod settings;

use std::fmt;

use claviger_contract::{Reach, Secret};
use claviger_policy::Target;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::super::caller::Needs;
use super::endpoint::Endpoint;
use super::form::basic;
use crate::binding::{BoundHost, list};
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::source::Ask;
use crate::store::{SecretHandle, Stored};

/// The proof of a client.
pub(super) enum ClientAuth {
    /// `none`: a public client, or one that shows all that is asked for in its grant.
    None,
    /// `client_secret_basic` (RFC 6749 §2.3.1): HTTP Basic, of the form-encoded id and secret.
    Basic(SecretHandle),
    /// `client_secret_post` (the same): `client_id` and `client_secret` in the body.
    Post(SecretHandle),
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
        }
    }

    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::None | Self::Basic(_) | Self::Post(_) => Needs::Nothing,
        }
    }

    pub(super) fn secrets(&self) -> Vec<&SecretReference> {
        match self {
            Self::None => Vec::new(),
            Self::Basic(handle) | Self::Post(handle) => vec![&handle.reference],
        }
    }

    /// Makes the proof for one call to this endpoint.
    pub(super) async fn show(&self, id: &str, endpoint: &Endpoint, _: Option<Ask<'_>>) -> Result<Shown, SourceError> {
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
        }
    }
}

/// A secret of the source's own, if it may go to this endpoint.
pub(super) async fn read_for(handle: &SecretHandle, endpoint: &Target) -> Result<Stored, SourceError> {
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
