//! The ways to log in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use claviger_contract::{Reach, Secret, TokenAsk};
use claviger_policy::{Principal, Target};
use tokio::sync::Mutex;

use super::answer::{self, Auth, NotText};
use super::session::{Session, auth_of};
use super::{Call, Vault, copy};
use crate::binding::{BoundHost, list};
use crate::digest::{Digest, Digester};
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::source::client_certificate::CertificateSource;
use crate::store::field::SecretText;
use crate::store::{SecretHandle, Stored, read_file};

/// How long a token lasts that is minted for a login and used at once.
const LOGIN_TOKEN: Duration = Duration::from_secs(120);

/// What is shown, and where. Paths are those below `/v1/`.
#[derive(Debug)]
pub(super) enum Login {
    /// `auth/jwt/login`, and `auth/kubernetes/login`, which wants the same.
    Jwt { path: String, role: String, token: JwtFrom },
    /// `auth/approle/login`.
    AppRole { path: String, role_id: Text, secret_id: Option<SecretId> },
    /// `auth/cert/login`: the proof is the certificate of the connection.
    Cert { path: String, name: Option<String>, pair: CertificateSource },
    /// No login: a token that somebody else had.
    Token(SecretHandle),
}

/// Where a JWT comes from.
#[derive(Debug)]
pub(super) enum JwtFrom {
    /// Minted by Claviger's own issuer, for itself or for the caller.
    Issuer {
        own: Principal,
        audience: Vec<String>,
    },
    Secret(SecretHandle),
    /// Read at each login: who projects it renews it.
    File(PathBuf),
}

/// Written as it is, or where it stands.
#[derive(Debug)]
pub(super) enum Text {
    Plain(String),
    Secret(SecretHandle),
}

/// The secret id of an AppRole.
#[derive(Debug)]
pub(super) struct SecretId {
    pub(super) handle: SecretHandle,
    /// It is a token that yields the secret id, once. Kept under the digest of that token.
    pub(super) wrapped: Option<Mutex<Option<(Digest, Secret)>>>,
}

#[derive(serde::Deserialize)]
struct Unwrapped {
    secret_id: SecretText,
}

/// What a server says of a token.
#[derive(serde::Deserialize)]
struct Known {
    /// Seconds; zero if it has no end.
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

impl Login {
    /// The references that it reads.
    pub(super) fn secrets(&self) -> Vec<&SecretReference> {
        let handle = match self {
            Self::Jwt { token: JwtFrom::Secret(handle), .. } | Self::Token(handle) => Some(handle),
            Self::AppRole { role_id, secret_id, .. } => {
                let role_id = match role_id {
                    Text::Secret(handle) => Some(handle),
                    Text::Plain(_) => None,
                };
                let secret_id = secret_id.as_ref().map(|secret| &secret.handle);
                return role_id.into_iter().chain(secret_id).map(|handle| &handle.reference).collect();
            }
            Self::Cert { pair, .. } => return pair.secrets().into(),
            Self::Jwt { token: JwtFrom::Issuer { .. } | JwtFrom::File(_), .. } => None,
        };
        handle.into_iter().map(|handle| &handle.reference).collect()
    }
}

impl Vault {
    /// Whether a login can be made in the name of a caller: by a token that is minted for it.
    pub(crate) fn knows_callers(&self) -> bool {
        matches!(self.login, Login::Jwt { token: JwtFrom::Issuer { .. }, .. })
    }

    /// Whether what it logs in with is a secret that is stored: not a token that is minted, or that a platform projects.
    pub(crate) fn holds_secret(&self) -> bool {
        !matches!(self.login, Login::Jwt { token: JwtFrom::Issuer { .. } | JwtFrom::File(_), .. })
    }

    /// The references that its login reads.
    pub(crate) fn secrets(&self) -> Vec<&SecretReference> {
        self.login.secrets()
    }

    /// Logs in: as Claviger, or in the name of somebody.
    pub(super) async fn log_in(&self, whom: Option<&Principal>) -> Result<Session, SourceError> {
        let asked_at_ms = self.now_ms();
        let with = |auth: &Auth, reach: Reach| Session::new(auth, reach, asked_at_ms);
        let (path, body, reach) = match &self.login {
            Login::Jwt { path, role, token } => {
                let jwt = self.jwt(token, whom).await?;
                #[allow(clippy::disallowed_methods, reason = "the token is shown to the server that it is for")]
                let members: [(&str, &[u8]); 2] = [("role", role.as_bytes()), ("jwt", jwt.expose())];
                (path, json(path, &members, self)?, self.reach.clone())
            }
            Login::AppRole { path, role_id, secret_id } => {
                let role_id = match role_id {
                    Text::Plain(text) => Secret::from(text.clone()),
                    Text::Secret(handle) => self.stored(handle).await?,
                };
                let secret_id = match secret_id {
                    Some(secret) => Some(self.secret_id(secret).await?),
                    None => None,
                };
                #[allow(clippy::disallowed_methods, reason = "ids are shown to the server that made them")]
                let members: Vec<(&str, &[u8])> = [("role_id", role_id.expose())]
                    .into_iter()
                    .chain(secret_id.iter().map(|secret| ("secret_id", secret.expose())))
                    .collect();
                (path, json(path, &members, self)?, self.reach.clone())
            }
            Login::Cert { path, name, pair } => {
                let members: Vec<(&str, &[u8])> = name.iter().map(|name| ("name", name.as_bytes())).collect();
                let shown = Some(pair.read(&self.target, check_binding).await?);
                (path, json(path, &members, self)?, Reach { client_certificate: shown, ..self.reach.clone() })
            }
            Login::Token(handle) => {
                let token = self.stored(handle).await?;
                return self.look_up(token).await.map(|auth| with(&auth, self.reach.clone()));
            }
        };
        let response = self.send_over(&reach, None, &Call::post(path, body)).await?;
        let auth = auth_of(&self.endpoint(path), &response)?;
        Ok(with(&auth, reach))
    }

    async fn jwt(&self, from: &JwtFrom, whom: Option<&Principal>) -> Result<Secret, SourceError> {
        match from {
            JwtFrom::Issuer { own, audience } => {
                let ask = TokenAsk {
                    principal: whom.unwrap_or(own),
                    audience,
                    lifetime: LOGIN_TOKEN,
                    claims: serde_json::Map::new(),
                };
                let tokens = self.around.load().tokens.clone();
                Ok(tokens.mint(ask).await?.token)
            }
            JwtFrom::Secret(handle) => self.stored(handle).await,
            JwtFrom::File(path) => read(path),
        }
    }

    /// A secret of the login, if it may go to the server.
    async fn stored(&self, handle: &SecretHandle) -> Result<Secret, SourceError> {
        let stored = handle.read().await?;
        check_binding(handle, &stored, &self.target)?;
        Ok(stored.value)
    }

    async fn secret_id(&self, secret: &SecretId) -> Result<Secret, SourceError> {
        let value = self.stored(&secret.handle).await?;
        let Some(kept) = &secret.wrapped else { return Ok(value) };
        #[allow(clippy::disallowed_methods, reason = "a digest tells whether it is the token that was unwrapped")]
        let digest = Digester::new("wrapping token").field("token", value.expose()).finish();
        let mut kept = kept.lock().await;
        if let Some((of, secret_id)) = &*kept
            && *of == digest
        {
            return Ok(copy(secret_id));
        }
        let path = "sys/wrapping/unwrap";
        let call = Call { method: http::Method::POST, path, query: &[], body: None };
        let response = self.send_over(&self.reach, Some(&value), &call).await?;
        let endpoint = self.endpoint(path);
        let envelope = answer::read(&endpoint, &response)?;
        let unwrapped = envelope.data.and_then(|data| serde_json::from_str::<Unwrapped>(data.get()).ok());
        let why = "there is no secret id in it";
        let unwrapped = unwrapped.ok_or(SourceError::Answer { endpoint, why })?;
        let secret_id = Secret::new(unwrapped.secret_id.0.as_bytes().to_vec());
        *kept = Some((digest, copy(&secret_id)));
        Ok(secret_id)
    }

    /// A token that was given: what the server knows of it.
    async fn look_up(&self, token: Secret) -> Result<Auth, SourceError> {
        let path = "auth/token/lookup-self";
        let response = self.send_over(&self.reach, Some(&token), &Call::get(path)).await?;
        let endpoint = self.endpoint(path);
        let envelope = answer::read(&endpoint, &response)?;
        let known = envelope.data.and_then(|data| serde_json::from_str::<Known>(data.get()).ok());
        let known = known.ok_or(SourceError::Answer { endpoint, why: "it does not say how long the token lasts" })?;
        #[allow(clippy::disallowed_methods, reason = "the token is kept as those that a login yields")]
        let text = String::from_utf8_lossy(token.expose()).into_owned();
        let client_token = SecretText(zeroize::Zeroizing::new(text));
        Ok(Auth { client_token, lease_duration: known.ttl, renewable: known.renewable })
    }
}

fn json(path: &str, members: &[(&str, &[u8])], vault: &Vault) -> Result<Secret, SourceError> {
    let not_text =
        |NotText| SourceError::Answer { endpoint: vault.endpoint(path), why: "what is to be shown there is not text" };
    answer::body(members).map_err(not_text)
}

fn read(path: &Path) -> Result<Secret, SourceError> {
    read_file(path).map_err(|cause| SourceError::Store { reference: path.display().to_string(), cause })
}

/// A secret of the login goes to the server only, and only if it is bound there.
pub(super) fn check_binding(handle: &SecretHandle, stored: &Stored, server: &Target) -> Result<(), SourceError> {
    match &stored.hosts {
        Some(hosts) if !hosts.iter().any(|host| host.matches(server)) => Err(SourceError::Binding {
            reference: handle.reference.to_string(),
            hosts: if hosts.is_empty() { "no host".to_owned() } else { list(hosts) },
            destination: BoundHost::of_target(server).to_string(),
        }),
        // A value without hosts of its own: the configuration that names the server binds it.
        Some(_) | None => Ok(()),
    }
}
