//! How a credential's value is had. A new source is one file here and one line in [`KINDS`].

mod caller;
mod claims;
pub(crate) mod client_certificate;
#[cfg(test)]
mod endpoint;
mod federation;
mod github_app;
mod jwt;
mod oauth2;
mod private_key;
mod static_value;
mod subject;
mod vault;
mod x509;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{Attested, Secret, Secretless};
use claviger_policy::document::{Diagnostics, Located, Table};

use crate::CredentialEnv;
use crate::binding::BoundHost;
use crate::cache::Key;
use crate::digest::Digest;
use crate::error::SourceError;
use crate::lease::{Lease, ONLY_FIELD};
use crate::reference::SecretReference;
use crate::store::Stores;

pub use oauth2::login::{Asked, DeviceCode, Granted, Login, LoginError, Polled};
pub use oauth2::renewal::{InProcess, Outcome, Renewal, Renewer};
pub(crate) use static_value::{take_shorthand, warn};

/// What a source yields.
#[derive(Debug)]
pub(crate) struct Minted {
    /// By name; a single value is called [`ONLY_FIELD`](crate::lease::ONLY_FIELD).
    pub(crate) fields: Vec<(Arc<str>, Secret)>,
    /// Milliseconds since the Unix epoch; `None` if the value has no end of its own.
    pub(crate) expires_at_ms: Option<i64>,
    /// Where the value may go, if what it was read from says so.
    pub(crate) hosts: Option<Vec<BoundHost>>,
    /// The store's version; without one, the cache makes a random one.
    pub(crate) version: Option<Arc<str>>,
    /// What it replaces, while a rotation is open.
    pub(crate) previous: Option<Replaced>,
    /// What its issuer knows it by, if it can be prolonged or ended there.
    pub(crate) issued: Option<Arc<dyn Issued>>,
}

impl Minted {
    /// A single value, without an end, for the hosts of its configuration.
    pub(crate) fn of(value: Secret) -> Self {
        let fields = vec![(ONLY_FIELD.into(), value)];
        Self { fields, expires_at_ms: None, hosts: None, version: None, previous: None, issued: None }
    }
}

/// A value as its issuer knows it.
#[async_trait]
pub(crate) trait Issued: Send + Sync + fmt::Debug {
    /// Prolongs the value: its new end, in milliseconds since the Unix epoch. `None`: it cannot be prolonged (any more),
    /// so that another is minted.
    async fn renew(&self) -> Result<Option<i64>, SourceError> {
        Ok(None)
    }

    /// Ends the value at its issuer.
    async fn revoke(&self) -> Result<(), SourceError>;
}

/// For whom and for what a value is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) caller: &'a Attested,
}

/// What a mint may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mint<'a> {
    /// Given only for keys that are not shared, so that a shared value cannot depend on who asked first.
    pub(crate) ask: Option<Ask<'a>>,
    /// What upstream refused shortly before, also under an earlier configuration: the same value is of no use.
    pub(crate) refused: Option<&'a Lease>,
}

/// The values that are being replaced, with the same fields.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub(crate) fields: Vec<(Arc<str>, Secret)>,
    pub(crate) version: Option<Arc<str>>,
    /// When the rotation began, in seconds since the Unix epoch.
    pub(crate) since: i64,
    /// Whether upstream was seen to take the values that replace them.
    pub(crate) proven: bool,
}

/// Makes or reads the value of one credential.
#[async_trait]
pub(crate) trait Source: Send + Sync + fmt::Debug {
    /// Under which key a value that was minted for this caller is kept: shared, or the digest of every
    /// input that the mint takes from the caller.
    fn key(&self, ask: Ask<'_>) -> Key {
        let _ = ask;
        Key::Shared
    }

    /// Makes a value.
    async fn mint(&self, mint: Mint<'_>) -> Result<Minted, SourceError>;

    /// Whether a 401 is worth another mint.
    fn is_renewable(&self) -> bool;

    /// The secrets that it reads.
    fn secrets(&self) -> Vec<&SecretReference>;

    /// Whether a long-lived secret is behind its values. A source that keeps one which is no reference says so itself.
    fn secretless(&self) -> Secretless {
        if self.secrets().is_empty() { Secretless::EndToEnd } else { Secretless::ProxyHeld }
    }

    /// Headers that requests with its values have besides, each a list of which one member is given.
    fn headers(&self) -> Vec<(http::HeaderName, http::HeaderValue)> {
        Vec::new()
    }

    /// Whether a value may be had while another is still good.
    fn refreshes_ahead(&self) -> bool {
        true
    }

    /// The same source for no more than a rule's `narrow` says. It takes its keys from the table; what it leaves is an
    /// unknown key. `None`: it cannot; why is in `out`.
    fn narrowed(&self, table: &mut Table, out: &mut Diagnostics) -> Option<Arc<dyn Source>> {
        out.error(table.location(), table.key(), "a credential of this kind cannot be narrowed")
            .help("leave it out, or narrow what the credential itself may; kind `github-app` can be narrowed");
        None
    }

    /// How somebody logs in for it, if that is how it is had.
    fn login(&self) -> Option<Login> {
        None
    }

    /// Changes when a new value can be read; asked every second, so it is cheap.
    fn revision(&self) -> u64 {
        0
    }
}

/// What sources need while their settings are taken.
pub(crate) struct SourceEnv<'a> {
    pub(crate) stores: &'a Stores,
    pub(crate) env: &'a CredentialEnv,
}

/// A source, made from its settings.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) source: Arc<dyn Source>,
    /// Over everything that the settings say.
    pub(crate) digest: Digest,
    /// The names of the fields that it will yield.
    pub(crate) fields: Vec<Arc<str>>,
    /// Where the values that it read may go, and the reference that says so.
    pub(crate) bound: Option<(Vec<BoundHost>, Located<String>)>,
    /// The value, where it could be read at load, and the source's revision before that.
    pub(crate) seed: Option<(Minted, u64)>,
}

pub(crate) type Take = fn(&mut Table, &SourceEnv<'_>, &mut Diagnostics) -> Option<Taken>;

/// Every kind of source.
pub(crate) const KINDS: &[(&str, Take)] = &[
    ("static", static_value::take),
    ("oauth2", oauth2::settings::take),
    ("federation", federation::settings::take),
    ("vault", vault::settings::take),
    ("x509", x509::take),
    ("jwt", jwt::take),
    ("github-app", github_app::settings::take),
];

/// The name of a kind, and how its table is taken.
pub(crate) fn find_kind(name: &str) -> Option<(&'static str, Take)> {
    let found = KINDS.iter().find(|(known, _)| *known == name).copied();
    // The worked example of CONTRIBUTING.md is no kind of the product.
    #[cfg(test)]
    let found = found.or((name == "endpoint").then_some(("endpoint", endpoint::take as Take)));
    found
}

#[cfg(test)]
mod tests {
    /// What CONTRIBUTING.md says of a new source compiles, and its test passes.
    #[test]
    fn the_worked_example_is_this_file() {
        let page = include_str!("../../../CONTRIBUTING.md");
        let chapter = page.split("### … a credential source").nth(1).unwrap().split("\n### ").next().unwrap();
        let blocks = chapter.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        assert_eq!(blocks.collect::<Vec<_>>().join("\n"), include_str!("source/endpoint.rs"));
    }
}
