//! `[credential.NAME] kind = "github-app"`.

use std::sync::{Arc, Mutex};

use claviger_contract::Reach;
use claviger_policy::document::{Diagnostics, Located, Table, Value};

use super::scope::Scope;
use super::{App, GithubApp, Installation};
use crate::TeamScope;
use crate::binding::BoundHost;
use crate::digest::Digester;
use crate::lease::ONLY_FIELD;
use crate::source::oauth2::endpoint::Endpoint;
use crate::source::oauth2::settings::check_secret;
use crate::source::{SourceEnv, Taken};

/// GitHub itself.
const API: &str = "https://api.github.com";
/// Where its tokens go, if nothing is said: the API, uploads, raw files, and git over https.
const HOSTS: [&str; 4] = ["api.github.com", "uploads.github.com", "raw.githubusercontent.com", "github.com"];

/// Takes `client_id` or `app_id`, `private_key`, `installation`, `api_url`, `repositories`, `repository_ids`, `permissions`,
/// `allow_addresses` and `ca`.
pub(in crate::source) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    let team = TeamScope::of(table.location(), &env.env.teams).ok()?;
    let reach = match team {
        Some(team) => team.reach(table, out),
        None => Reach::take(table, out),
    };
    let issuer = take_issuer(table, out);
    let key = take_key(table, env, out);
    let installation = take_installation(table, out);
    let written = table.string("api_url", out);
    let api = take_api(written.as_ref(), table, &reach, team, out);
    let scope = Scope::take(table, out);
    let (issuer, (key, text), installation, api, scope) = (issuer?, key?, installation?, api?, scope?);
    let host = BoundHost::of_target(&api.target);
    check_secret(&key, &text, &table.key_of("private_key"), std::slice::from_ref(&host), env, out)?;
    let digest = Digester::new("source github-app")
        .field("issuer", &issuer)
        .field("private_key", env.stores.digest_of(&key))
        .field("installation", format!("{installation:?}"))
        .field("api", api.url.as_str())
        .field("scope", scope.text())
        .fields("allow_addresses", &reach.allow_addresses)
        .field("ca", reach.ca_pem.as_deref().unwrap_or_default())
        .finish();
    // A GitHub of one's own may answer under several names, which the operator has to say.
    let hosts = || HOSTS.iter().filter_map(|host| BoundHost::parse(host).ok()).collect();
    let place = Located { value: "a token of GitHub".to_owned(), location: table.location().clone() };
    let bound = written.is_none().then(|| (hosts(), place));
    let (outbound, clock) = (env.env.outbound.clone(), env.env.clock.clone());
    let app = App { issuer, key, installation, api, reach, outbound, clock, found: Mutex::new(None) };
    let source = Arc::new(GithubApp { app: Arc::new(app), scope });
    Some(Taken { source, digest, fields: vec![ONLY_FIELD.into()], bound, seed: None })
}

/// `iss` of the App's JWT: GitHub takes either.
fn take_issuer(table: &mut Table, out: &mut Diagnostics) -> Option<String> {
    let is_written = table.has("client_id") || table.has("app_id");
    let client_id = table.string("client_id", out);
    let app_id = table.integer("app_id", 1..=i64::MAX, out);
    match (client_id, app_id) {
        (Some(client_id), None) => Some(client_id.value),
        (None, Some(app_id)) => Some(app_id.value.to_string()),
        (Some(_), Some(app_id)) => {
            out.error(&app_id.location, table.key_of("app_id"), "`client_id` and `app_id` name the same App twice")
                .help("write one of them");
            None
        }
        // What is written and is neither is said already.
        (None, None) if is_written => None,
        (None, None) => {
            table
                .missing("client_id", out)
                .help("it stands on the App's page, as `Iv23li…`; `app_id = 123456` is as good");
            None
        }
    }
}

fn take_key(
    table: &mut Table,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Option<(crate::store::SecretHandle, Located<String>)> {
    let text = table.required_string("private_key", out)?;
    let handle = env.stores.find(&text, &table.key_of("private_key"), out)?;
    Some((handle, text))
}

fn take_installation(table: &mut Table, out: &mut Diagnostics) -> Option<Installation> {
    if !table.has("installation") {
        table
            .missing("installation", out)
            .help("write its number, its owner as `acme`, or one of its repositories as `acme/docs`");
    }
    let item = table.take("installation")?;
    let is_name = |name: &str| {
        (1..=100).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    let installation = match &item.value {
        Value::Integer(id) => u64::try_from(*id).ok().filter(|id| *id > 0).map(Installation::Id),
        Value::String(text) => match text.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => {
                Some(Installation::With(owner.to_owned(), name.to_owned()))
            }
            None if is_name(text) => Some(Installation::Of(text.clone())),
            Some(_) | None => None,
        },
        _ => None,
    };
    if installation.is_none() {
        out.error(&item.location, item.key, "this names no installation")
            .help("write its number, its owner as `\"acme\"`, or one of its repositories as `\"acme/docs\"`");
    }
    installation
}

fn take_api(
    written: Option<&Located<String>>,
    table: &Table,
    reach: &Reach,
    team: Option<&TeamScope>,
    out: &mut Diagnostics,
) -> Option<Endpoint> {
    let key = table.key_of("api_url");
    let (text, place) = match written {
        Some(written) => (written.value.as_str(), &written.location),
        None => (API, table.location()),
    };
    let parsed = Endpoint::parse(text, "the API", reach).and_then(|endpoint| match endpoint.url.query() {
        None => Ok(endpoint),
        Some(_) => Err("the API's URL has no query".to_owned()),
    });
    match parsed {
        Ok(endpoint) => {
            let host = BoundHost::of_target(&endpoint.target);
            team.is_none_or(|team| team.check_endpoint(&host, place, &key, out)).then_some(endpoint)
        }
        Err(message) => {
            out.error(place, key, message).help("of GitHub Enterprise Server it is `https://HOST/api/v3`");
            None
        }
    }
}
