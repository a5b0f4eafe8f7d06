//! Assertions: JWTs that prove who asks (RFC 7523). As a client (§2.2), or as a grant (§2.1).

use std::time::Duration;

use claviger_contract::Secret;
use claviger_policy::document::{Diagnostics, Located, Table};
use serde_json::Value;

use super::client::Client;
use super::client_auth::read_for;
use super::endpoint::Endpoint;
use crate::digest::{Digester, random_hex};
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::source::caller::Needs;
use crate::source::private_key::{Algorithm, PrivateKey};
use crate::source::subject::{Maker, Says, Subject};
use crate::source::{Ask, SourceEnv};
use crate::store::SecretHandle;

/// How long a signed assertion lasts, if nothing is said: it is used at once.
const LIFETIME: Duration = Duration::from_secs(60);

/// Where the JWT comes from.
#[derive(Clone, Debug)]
pub(super) enum Assertion {
    /// Signed with a key of the client's own.
    Signed(Box<Signed>),
    /// The workload's own token, or one that is minted for its principal.
    Of(Subject),
}

#[derive(Clone, Debug)]
pub(super) struct Signed {
    key: SecretHandle,
    algorithm: Algorithm,
    kid: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    says: Says,
}

/// Checks a secret against the endpoints that it may be used at.
pub(super) type CheckSecret<'a> = &'a dyn Fn(&SecretHandle, &Located<String>, &str, &mut Diagnostics) -> Option<()>;

impl Assertion {
    /// Takes the keys of an assertion's own table: `key` with `alg`, `kid`, `audience`, `lifetime` and `claims`, or `from`.
    /// A grant's also has `issuer` and `subject`; a client's are the client (RFC 7523 §3).
    pub(super) fn take(
        mut table: Table,
        is_grant: bool,
        has_issuer: bool,
        check: CheckSecret<'_>,
        env: &SourceEnv<'_>,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let both = table.place_of("from").filter(|_| table.has("key")).cloned();
        if let Some(place) = both {
            out.error(&place, table.key_of("from"), "what a key signs is no token of the workload's")
                .help("leave out `key`, or this");
        }
        let taken = if table.has("key") {
            // Known here all the same.
            table.take("from");
            Signed::take(&mut table, is_grant, has_issuer, check, env, out).map(|signed| Self::Signed(Box::new(signed)))
        } else if table.has("from") {
            Subject::take(&mut table, has_issuer, env, out).map(Self::Of)
        } else {
            table.missing("key", out).help(
                "write `key = \"secret://…\"` to sign with a key, or `from = \"minted\"` or `from = \"proof\"` for a token \
                 of the workload's",
            );
            None
        };
        table.finish(out);
        taken
    }

    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Signed(_) => Needs::Nothing,
            Self::Of(subject) => subject.needs(),
        }
    }

    pub(super) fn secrets(&self) -> Option<&SecretReference> {
        match self {
            Self::Signed(signed) => Some(&signed.key.reference),
            Self::Of(_) => None,
        }
    }

    pub(super) fn digest(&self, env: &SourceEnv<'_>, digester: Digester) -> Digester {
        match self {
            Self::Signed(signed) => {
                let digester = digester
                    .field("key", env.stores.digest_of(&signed.key))
                    .field("alg", signed.algorithm.name())
                    .fields("kid", &signed.kid)
                    .fields("iss", &signed.issuer)
                    .fields("sub", &signed.subject);
                signed.says.digest(digester)
            }
            Self::Of(subject) => subject.digest(digester),
        }
    }

    /// The JWT, for one call to this endpoint.
    pub(super) async fn jwt(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        ask: Option<Ask<'_>>,
    ) -> Result<Secret, SourceError> {
        match self {
            Self::Signed(signed) => signed.jwt(client, endpoint).await,
            Self::Of(subject) => subject.token(ask, &*client.tokens, client.place(endpoint)).await,
        }
    }
}

impl Signed {
    fn take(
        table: &mut Table,
        is_grant: bool,
        has_issuer: bool,
        check: CheckSecret<'_>,
        env: &SourceEnv<'_>,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let written = table.required_string("key", out);
        let name = table.key_of("key");
        if !table.has("alg") {
            table.missing("alg", out).help("write the one that the key is registered with, as `alg = \"ES256\"`");
        }
        let algorithm = table.choice("alg", Algorithm::ALL, out).map(|algorithm| algorithm.value);
        let kid = table.string("kid", out).map(|kid| kid.value);
        let (issuer, subject) = match is_grant {
            true => (table.string("issuer", out), table.string("subject", out)),
            false => {
                refuse_names(table, out);
                (None, None)
            }
        };
        let no_sub = match is_grant {
            true => "the subject has a key of its own: write `subject`",
            false => "a client speaks for itself (RFC 7523 §3): `sub` is `client_id`",
        };
        let says = Says::take(table, has_issuer, LIFETIME, Maker::Client(no_sub), out);
        let written = written?;
        let key = env.stores.find(&written, &name, out)?;
        check(&key, &written, &name, out)?;
        let (algorithm, says) = (algorithm?, says?);
        // What can't be read now is told by `check`.
        if let Some(Ok(stored)) = key.read_now()
            && let Err(why) = PrivateKey::parse(&stored.value).and_then(|key| key.check(algorithm))
        {
            out.error(&written.location, name, format!("`{}` cannot be used: {why}", written.value))
                .help("it is a private key in PEM: PKCS #8, or as OpenSSL writes it (`BEGIN EC PRIVATE KEY`, `BEGIN RSA PRIVATE KEY`)");
            return None;
        }
        let text = |located: Located<String>| located.value;
        Some(Self { key, algorithm, kid, issuer: issuer.map(text), subject: subject.map(text), says })
    }

    async fn jwt(&self, client: &Client, endpoint: &Endpoint) -> Result<Secret, SourceError> {
        let stored = read_for(&self.key, &endpoint.target).await?;
        let unusable = |why| SourceError::Unusable { reference: self.key.reference.to_string(), why };
        let key = PrivateKey::parse(&stored.value).map_err(unusable)?;
        let now = client.clock.now_ms().div_euclid(1_000);
        let lifetime = i64::try_from(self.says.lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut claims = self.says.claims.clone();
        let audience = match self.says.audiences(client.place(endpoint)) {
            // Many servers read nothing but a text.
            mut one if one.len() == 1 => one.pop().map_or(Value::Null, Value::String),
            several => several.into(),
        };
        let issuer = self.issuer.as_ref().unwrap_or(&client.id);
        let own = [
            ("iss", Value::from(issuer.as_str())),
            ("sub", self.subject.as_ref().unwrap_or(issuer).as_str().into()),
            ("aud", audience),
            ("iat", now.into()),
            ("exp", now.saturating_add(lifetime).into()),
            // 128 bits: a server refuses one that it has seen (RFC 7523 §3).
            ("jti", format!("{}{}", random_hex(), random_hex()).into()),
        ];
        claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
        key.jwt(self.algorithm, self.kid.as_deref(), &claims).map_err(unusable)
    }
}

/// `issuer` and `subject` of an assertion that a client proves itself with.
fn refuse_names(table: &mut Table, out: &mut Diagnostics) {
    for key in ["issuer", "subject"] {
        let Some(place) = table.place_of(key).cloned() else { continue };
        table.take(key);
        out.error(&place, table.key_of(key), "a client speaks for itself (RFC 7523 §3): this is its `client_id`")
            .help("leave it out");
    }
}
