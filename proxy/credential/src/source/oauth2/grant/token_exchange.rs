//! `grant = "token_exchange"` (RFC 8693): a token of the workload's for one that the destination takes.

use async_trait::async_trait;
use claviger_policy::document::{Diagnostics, Table};

use super::{Grant, GrantEnv, TakenGrant};
use crate::digest::Digester;
use crate::error::SourceError;
use crate::source::Mint;
use crate::source::caller::Needs;
use crate::source::oauth2::answer::{TOKEN_TYPE_ACCESS, TOKEN_TYPE_JWT, Token};
use crate::source::oauth2::client::Client;
use crate::source::oauth2::form::Value;
use crate::source::subject::Subject;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The short names of RFC 8693 §3; other types are written as their URI.
const TYPES: &[(&str, &str)] = &[
    ("access_token", TOKEN_TYPE_ACCESS),
    ("id_token", "urn:ietf:params:oauth:token-type:id_token"),
    ("jwt", TOKEN_TYPE_JWT),
];

/// A token that is sent, with its type.
#[derive(Debug)]
struct Sent {
    subject: Subject,
    token_type: String,
}

#[derive(Debug)]
struct TokenExchange {
    subject: Sent,
    actor: Option<Sent>,
    requested: Option<String>,
}

/// Takes `subject_token`, `actor_token` and `requested_token_type`.
pub(super) fn take(table: &mut Table, env: &GrantEnv<'_>, out: &mut Diagnostics) -> Option<TakenGrant> {
    if !table.has("subject_token") {
        let help = "write `subject_token = { from = \"proof\" }`, or `{ from = \"minted\" }`";
        table.missing("subject_token", out).help(help);
    }
    let subject = Sent::take("subject_token", table, env, out);
    let has_actor = table.has("actor_token");
    let actor = Sent::take("actor_token", table, env, out);
    let is_written = table.has("requested_token_type");
    let requested = take_type("requested_token_type", table, out);
    if (has_actor && actor.is_none()) || (is_written && requested.is_none()) {
        return None;
    }
    let subject = subject?;
    let digester = subject.digest(Digester::new("grant token_exchange"));
    let digester = match &actor {
        Some(actor) => actor.digest(digester.field("actor", "")),
        None => digester,
    };
    let digest = digester.fields("requested", &requested).finish();
    Some(TakenGrant { grant: Box::new(TokenExchange { subject, actor, requested }), digest })
}

impl Sent {
    fn take(name: &'static str, table: &mut Table, env: &GrantEnv<'_>, out: &mut Diagnostics) -> Option<Self> {
        let mut table = table.table(name, out)?;
        let subject = Subject::take(&mut table, env.has_issuer, env.source, out);
        let is_written = table.has("type");
        let token_type = take_type("type", &mut table, out);
        table.finish(out);
        match (token_type, is_written) {
            (None, true) => None,
            (token_type, _) => {
                Some(Self { subject: subject?, token_type: token_type.unwrap_or_else(|| TOKEN_TYPE_JWT.to_owned()) })
            }
        }
    }

    fn digest(&self, digester: Digester) -> Digester {
        self.subject.digest(digester.field("type", &self.token_type))
    }
}

fn take_type(name: &'static str, table: &mut Table, out: &mut Diagnostics) -> Option<String> {
    let key = table.key_of(name);
    let text = table.string(name, out)?;
    if let Some((_, uri)) = TYPES.iter().find(|(short, _)| *short == text.value) {
        return Some((*uri).to_owned());
    }
    if url::Url::parse(&text.value).is_err() {
        let all: Vec<_> = TYPES.iter().map(|(short, _)| format!("`{short}`")).collect();
        out.error(&text.location, key, format!("`{}` is no type of token", text.value))
            .help(format!("write {}, or the URI of a type (RFC 8693 §3)", all.join(", ")));
        return None;
    }
    Some(text.value)
}

#[async_trait]
impl Grant for TokenExchange {
    fn needs(&self) -> Needs {
        let actor = self.actor.as_ref().map(|actor| actor.subject.needs()).unwrap_or_default();
        self.subject.subject.needs().max(actor)
    }

    async fn obtain(&self, client: &Client, mint: Mint<'_>) -> Result<Token, SourceError> {
        let endpoint = client.token_endpoint().await?;
        let place = client.place(&endpoint);
        let subject = self.subject.subject.token(mint.ask, &*client.tokens, place).await?;
        let actor = match &self.actor {
            Some(actor) => Some((actor.subject.token(mint.ask, &*client.tokens, place).await?, &actor.token_type)),
            None => None,
        };
        let mut fields = vec![
            ("grant_type", Value::Text(GRANT_TYPE)),
            ("subject_token", Value::Secret(&subject)),
            ("subject_token_type", Value::Text(&self.subject.token_type)),
        ];
        if let Some((token, token_type)) = &actor {
            fields.extend([("actor_token", Value::Secret(token)), ("actor_token_type", Value::Text(token_type))]);
        }
        fields.extend(self.requested.iter().map(|requested| ("requested_token_type", Value::Text(requested))));
        client.exchange(&fields, self.requested.as_deref(), mint.ask).await
    }
}
