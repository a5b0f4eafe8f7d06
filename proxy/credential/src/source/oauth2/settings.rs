//! `[credential.NAME] kind = "oauth2"`.

use std::sync::Arc;

use claviger_contract::Reach;
use claviger_policy::document::{Diagnostics, Table, nearest};

use super::client::Client;
use super::endpoint::{Endpoint, Endpoints};
use super::grant::{GRANTS, GrantKind};
use super::{OAuth2Source, client_auth};
use crate::TeamScope;
use crate::binding::BoundHost;
use crate::digest::Digester;
use crate::lease::ONLY_FIELD;
use crate::source::{SourceEnv, Taken};

/// Parameters that keys of their own set, or that would replace the client's proof or the grant's.
const OWN_PARAMETERS: &[&str] =
    &["grant_type", "scope", "audience", "client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// Takes `grant` with its keys, `token_url`, `client_id`, `auth` with its keys, `scope`, `audience`, `parameters`,
/// `allow_addresses` and `ca`.
pub(in crate::source) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    let kind = take_grant(table, out);
    let team = TeamScope::of(table.location(), &env.env.teams).ok()?;
    let reach = match team {
        Some(team) => team.reach(table, out),
        None => Reach::take(table, out),
    };
    let endpoint = take_endpoint(table, &reach, team, out);
    let optional = kind.is_some_and(|kind| kind.client_is_optional);
    let client_id = match optional && !table.has("client_id") {
        true => Some(String::new()),
        false => table.required_string("client_id", out).map(|id| id.value),
    };
    let parameters = take_parameters(table, out);
    let digester = Digester::new("source oauth2");
    let auth = client_auth::settings::take(table, optional, digester, endpoint.as_ref(), env, out);
    let grant = (kind?.take)(table, env, out);
    let (Some(endpoint), Some(id), Some((auth, digester)), Some(grant)) = (endpoint, client_id, auth, grant) else {
        return None;
    };
    let digest = digester
        .field("token_url", endpoint.url.as_str())
        .field("client_id", &id)
        .field("grant", kind?.name)
        .field("of the grant", grant.digest)
        .fields("parameter", parameters.iter().map(|(name, value)| format!("{name}\0{value}")))
        .fields("allow_addresses", &reach.allow_addresses)
        .field("ca", reach.ca_pem.as_deref().unwrap_or_default())
        .finish();
    let needs = auth.needs().max(grant.grant.needs());
    let client = Client {
        id,
        auth,
        endpoints: Endpoints { token: endpoint },
        parameters,
        reach,
        outbound: env.env.outbound.clone(),
        clock: env.env.clock.clone(),
    };
    let source = OAuth2Source { client: Arc::new(client), grant: grant.grant, needs };
    Some(Taken { source: Arc::new(source), digest, fields: vec![ONLY_FIELD.into()], bound: None, seed: None })
}

/// `client_credentials` unless the file says otherwise.
fn take_grant(table: &mut Table, out: &mut Diagnostics) -> Option<&'static GrantKind> {
    let key = table.key_of("grant");
    if !table.has("grant") {
        return GRANTS.first();
    }
    let grant = table.string("grant", out)?;
    let found = GRANTS.iter().find(|kind| kind.name == grant.value);
    if found.is_none() {
        let diagnostic = out.error(&grant.location, key, format!("`{}` is no grant", grant.value));
        match nearest(&grant.value, GRANTS.iter().map(|kind| kind.name)) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => {
                let all: Vec<_> = GRANTS.iter().map(|kind| format!("`{}`", kind.name)).collect();
                diagnostic.help(format!("write one of {}", all.join(", ")))
            }
        };
    }
    found
}

fn take_endpoint(
    table: &mut Table,
    reach: &Reach,
    team: Option<&TeamScope>,
    out: &mut Diagnostics,
) -> Option<Endpoint> {
    let key = table.key_of("token_url");
    let text = table.required_string("token_url", out)?;
    match Endpoint::parse(&text.value, "a token endpoint", reach) {
        Ok(endpoint) => {
            let host = BoundHost::of_target(&endpoint.target);
            let within = team.is_none_or(|team| team.check_endpoint(&host, &text.location, &key, out));
            within.then_some(endpoint)
        }
        Err(message) => {
            out.error(&text.location, key, message).help("write `https://HOST/PATH`");
            None
        }
    }
}

fn take_parameters(table: &mut Table, out: &mut Diagnostics) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let scopes = table.strings("scope", out).unwrap_or_default();
    for scope in &scopes {
        // RFC 6749 §3.3: a space separates scopes, so one written with a space is a list as well.
        if scope.value.is_empty() || !scope.value.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\')
        {
            out.error(&scope.location, table.key_of("scope"), "a scope has visible ASCII without `\"` and `\\`");
        }
    }
    if !scopes.is_empty() {
        let joined: Vec<String> = scopes.into_iter().map(|scope| scope.value).collect();
        parameters.push(("scope".to_owned(), joined.join(" ")));
    }
    if let Some(audience) = table.string("audience", out) {
        parameters.push(("audience".to_owned(), audience.value));
    }
    for (name, item) in table.table("parameters", out).map(Table::into_entries).unwrap_or_default() {
        if OWN_PARAMETERS.contains(&name.value.as_str()) {
            out.error(&name.location, item.key, "this parameter is not free: a key of the credential sets it");
            continue;
        }
        parameters.extend(item.into_string(out).map(|value| (name.value, value.value)));
    }
    parameters
}
