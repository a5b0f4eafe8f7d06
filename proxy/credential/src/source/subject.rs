//! A token that stands for the workload: its own proof, or one that is minted for it. For sources that exchange it.

use std::time::Duration;

use claviger_contract::{Secret, SubjectTokens, TokenAsk};
use claviger_policy::document::{Diagnostics, Item, Table, Value};
use serde_json::Map;

use super::caller::Needs;
use super::{Ask, SourceEnv, claims};
use crate::digest::Digester;
use crate::error::SourceError;

/// How long a minted token lasts, if nothing is said.
const LIFETIME: Duration = Duration::from_secs(300);
/// What a token may last.
const LIFETIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(3_600);
/// Claims that whoever signs sets itself.
const OWN_CLAIMS: &[&str] = &["iss", "aud", "exp", "nbf", "iat", "jti"];

/// Whom a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// `issuer`: the authorization server, by the name that it has.
    Issuer,
    /// `token_url`: the endpoint that it is sent to.
    TokenUrl,
    Text(String),
}

/// Where a token is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) issuer: Option<&'a str>,
    pub(super) token_url: &'a str,
}

impl Audience {
    /// Takes `audience`. `None` is an error; where it is not written, the issuer's name, or the endpoint where there is none.
    pub(super) fn take(table: &mut Table, has_issuer: bool, out: &mut Diagnostics) -> Option<Vec<Self>> {
        let key = table.key_of("audience");
        let by_default = || vec![if has_issuer { Self::Issuer } else { Self::TokenUrl }];
        if !table.has("audience") {
            // It is known here all the same.
            table.take("audience");
            return Some(by_default());
        }
        let texts = table.strings("audience", out)?;
        let one = |text: claviger_policy::document::Located<String>| match text.value.as_str() {
            "issuer" if !has_issuer => {
                out.error(&text.location, key.clone(), "there is no `issuer` whose name it could be")
                    .help("name it by `issuer = \"https://…\"` of the credential, or write the audience itself");
                None
            }
            "issuer" => Some(Self::Issuer),
            "token_url" => Some(Self::TokenUrl),
            "" => {
                out.error(&text.location, key.clone(), "an audience is not empty")
                    .help("name who is to accept the token, as its verifier wants it");
                None
            }
            _ => Some(Self::Text(text.value)),
        };
        let parsed: Vec<_> = texts.into_iter().map(one).collect();
        let parsed: Vec<_> = parsed.into_iter().collect::<Option<_>>()?;
        Some(if parsed.is_empty() { by_default() } else { parsed })
    }

    pub(super) fn resolve(&self, place: Place<'_>) -> String {
        match self {
            Self::Issuer => place.issuer.unwrap_or(place.token_url).to_owned(),
            Self::TokenUrl => place.token_url.to_owned(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// What a minted or signed token says besides its own claims.
#[derive(Clone, Debug)]
pub(super) struct Says {
    pub(super) audience: Vec<Audience>,
    pub(super) lifetime: Duration,
    pub(super) claims: Map<String, serde_json::Value>,
}

/// Who makes the token that claims stand in.
#[derive(Clone, Copy)]
pub(super) enum Maker {
    /// The `[issuer]`, which fills them with what is attested of a caller.
    Issuer,
    /// The client, with a key of its own. The text says why `sub` is not among them.
    Client(&'static str),
}

impl Says {
    /// Takes `audience`, `lifetime` and `claims`.
    pub(super) fn take(
        table: &mut Table,
        has_issuer: bool,
        default: Duration,
        maker: Maker,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let audience = Audience::take(table, has_issuer, out);
        let key = table.key_of("lifetime");
        let lifetime = match table.duration("lifetime", out) {
            Some(written) if !LIFETIMES.contains(&written.value) => {
                out.error(&written.location, key, "a token that is shown once lasts from `10s` to `1h`")
                    .help(format!("write `lifetime = \"{}s\"`, or leave it out, which is the same", default.as_secs()));
                None
            }
            Some(written) => Some(written.value),
            None => Some(default),
        };
        let claims = take_claims(table, maker, out);
        Some(Self { audience: audience?, lifetime: lifetime?, claims: claims? })
    }

    pub(super) fn audiences(&self, place: Place<'_>) -> Vec<String> {
        self.audience.iter().map(|audience| audience.resolve(place)).collect()
    }

    pub(super) fn digest(&self, digester: Digester) -> Digester {
        let claims = serde_json::Value::Object(self.claims.clone());
        digester
            .fields("audience", self.audience.iter().map(|audience| format!("{audience:?}")))
            .field("lifetime", self.lifetime.as_millis().to_be_bytes())
            .field("claims", claims.to_string())
    }
}

/// Takes `claims`, a table of texts, integers, flags and lists of texts.
fn take_claims(table: &mut Table, maker: Maker, out: &mut Diagnostics) -> Option<Map<String, serde_json::Value>> {
    let written = table.has("claims");
    let Some(claims) = table.table("claims", out) else { return (!written).then(Map::new) };
    let mut all = Some(Map::new());
    for (name, item) in claims.into_entries() {
        if OWN_CLAIMS.contains(&name.value.as_str()) {
            out.error(&name.location, item.key, "this claim is set by whoever signs the token")
                .help("`aud` is `audience`, `exp` follows from `lifetime`");
            all = None;
            continue;
        }
        if let (Maker::Client(why), "sub") = (maker, name.value.as_str()) {
            out.error(&name.location, item.key, why).help("leave this claim out");
            all = None;
            continue;
        }
        let (place, key) = (item.location.clone(), item.key.clone());
        let value = json(item, out).filter(|value| match (maker, check_holes(value)) {
            (Maker::Issuer, Err(why)) => {
                out.error(&place, key, why).help("write an attribute in braces, as `{github.repository}`");
                false
            }
            _ => true,
        });
        match (value, &mut all) {
            (Some(value), Some(all)) => _ = all.insert(name.value, value),
            (_, all) => *all = None,
        }
    }
    all
}

fn check_holes(value: &serde_json::Value) -> Result<(), String> {
    match value {
        serde_json::Value::String(text) => claims::check(text),
        serde_json::Value::Array(items) => items.iter().try_for_each(check_holes),
        _ => Ok(()),
    }
}

fn json(item: Item, out: &mut Diagnostics) -> Option<serde_json::Value> {
    match item.value {
        Value::String(text) => Some(text.into()),
        Value::Integer(number) => Some(number.into()),
        Value::Boolean(flag) => Some(flag.into()),
        Value::Array(_) => {
            let texts = item.into_strings(out)?;
            Some(texts.into_iter().map(|text| text.value).collect::<Vec<_>>().into())
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => {
            out.error(&item.location, item.key, "a claim is a text, an integer, a flag or a list of texts")
                .help("write it as a text");
            None
        }
    }
}

/// Where the token comes from.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// `proof`: the token that the workload showed, as it is.
    Proof,
    /// `minted`: one that the `[issuer]` mints for its principal.
    Minted(Says),
}

#[derive(Clone, Copy)]
enum From {
    Proof,
    Minted,
}

impl Subject {
    /// Takes `from`, and for minted tokens `audience`, `lifetime` and `claims`.
    pub(super) fn take(
        table: &mut Table,
        has_issuer: bool,
        env: &SourceEnv<'_>,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        if table.location().team().is_some() {
            // Tokens that say who somebody is, for an audience of the team's choice: that is the platform's to decide.
            out.error(table.location(), table.key(), "a team's file may not use tokens of workloads")
                .help("the platform may define the credential, and lend it by `credentials` of the team");
            return None;
        }
        if !table.has("from") {
            table.missing("from", out).help("write `proof` (the workload's own token) or `minted` (one of `[issuer]`)");
        }
        let from = table.choice("from", &[("proof", From::Proof), ("minted", From::Minted)], out)?;
        match from.value {
            From::Proof => {
                for key in ["audience", "lifetime", "claims"] {
                    let place = table.place_of(key).cloned();
                    // Known here, also where it is not written.
                    table.take(key);
                    if let Some(place) = place {
                        out.error(&place, table.key_of(key), "the workload's own token says already what it says")
                            .help("leave it out, or write `from = \"minted\"`");
                    }
                }
                Some(Self::Proof)
            }
            From::Minted => {
                let key = table.key_of("from");
                let says = Says::take(table, has_issuer, LIFETIME, Maker::Issuer, out);
                if env.env.tokens.issuer().is_none() {
                    out.error(&from.location, key, "there is no `[issuer]` that would mint it")
                        .help("add `[issuer]`, or write `proof` to use the workload's own token");
                    return None;
                }
                says.map(Self::Minted)
            }
        }
    }

    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Proof => Needs::Proof,
            Self::Minted(_) => Needs::Principal,
        }
    }

    pub(super) fn digest(&self, digester: Digester) -> Digester {
        match self {
            Self::Proof => digester.field("from", "proof"),
            Self::Minted(says) => says.digest(digester.field("from", "minted")),
        }
    }

    /// The token, in compact form.
    pub(super) async fn token(
        &self,
        ask: Option<Ask<'_>>,
        tokens: &dyn SubjectTokens,
        place: Place<'_>,
    ) -> Result<Secret, SourceError> {
        // A mint without a caller is one of a shared value, which is never made of a caller's token.
        let caller = ask.ok_or(SourceError::NoToken)?.caller;
        match self {
            Self::Proof => {
                let token = caller.proof.token.as_ref().ok_or(SourceError::NoToken)?;
                #[allow(clippy::disallowed_methods, reason = "a copy for one call, wiped after it")]
                Ok(Secret::new(token.expose().to_vec()))
            }
            Self::Minted(says) => {
                let audience = says.audiences(place);
                let ask = TokenAsk {
                    principal: &caller.principal,
                    audience: &audience,
                    lifetime: says.lifetime,
                    claims: claims::fill(&says.claims, &caller.principal)?,
                };
                Ok(tokens.mint(ask).await?.token)
            }
        }
    }
}
