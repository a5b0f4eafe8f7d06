//! `[credential.NAME] kind = "oauth2"`.

use std::sync::Arc;

use claviger_contract::Reach;
use claviger_policy::document::{Diagnostics, Located, Table, nearest};

use super::client::Client;
use super::discovery::Discovery;
use super::endpoint::{Endpoint, Endpoints, Which};
use super::grant::{GRANTS, GrantEnv, GrantKind};
use super::{OAuth2Source, client_auth};
use crate::TeamScope;
use crate::binding::{BoundHost, list};
use crate::digest::Digester;
use crate::lease::ONLY_FIELD;
use crate::source::static_value::{unreadable, warn};
use crate::source::{SourceEnv, Taken};
use crate::store::SecretHandle;

/// Parameters that keys of their own set, or that would replace the client's proof or the grant's.
const OWN_PARAMETERS: &[&str] = &[
    "grant_type",
    "scope",
    "audience",
    "resource",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "refresh_token",
    "token",
    "code",
    "device_code",
];

/// Keys of single grants.
const GRANT_KEYS: &[&str] = &["refresh_token", "assertion", "subject_token", "actor_token", "requested_token_type"];

/// Takes `grant` with its keys, `issuer`, `token_url`, `revocation_url`, `endpoint_hosts`, `client_id`, `auth` with its
/// keys, `scope`, `audience`, `resource`, `parameters`, `allow_addresses` and `ca`.
pub(in crate::source) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    let kind = take_grant(table, out);
    let team = TeamScope::of(table.location(), &env.env.teams).ok()?;
    let reach = match team {
        Some(team) => team.reach(table, out),
        None => Reach::take(table, out),
    };
    let logs_in = kind.is_some_and(|kind| kind.logs_in);
    let endpoints = take_endpoints(table, &reach, logs_in, team, out);
    let optional = kind.is_none_or(|kind| kind.client_is_optional);
    let client_id = match optional && !table.has("client_id") && !needs_client(table) {
        true => {
            table.take("client_id");
            Some(String::new())
        }
        false => table.required_string("client_id", out).map(|id| id.value),
    };
    let parameters = take_parameters(table, out);
    let hosts = endpoints.as_ref().map(Endpoints::hosts);
    let check = |handle: &SecretHandle, text: &Located<String>, key: &str, out: &mut Diagnostics| {
        check_secret(handle, text, key, hosts.as_ref()?, env, out)
    };
    let grant_env = GrantEnv {
        source: env,
        has_issuer: endpoints.as_ref().is_none_or(|endpoints| endpoints.issuer.is_some()),
        has_client: client_id.as_ref().is_none_or(|id| !id.is_empty()),
        check: &check,
    };
    let digester = Digester::new("source oauth2");
    let auth = client_auth::settings::take(table, optional, digester, &grant_env, out);
    let grant = match kind {
        Some(kind) => (kind.take)(table, &grant_env, out),
        None => {
            // Which of them it has is not known: they are no mistakes of their own.
            GRANT_KEYS.iter().for_each(|key| _ = table.take(key));
            None
        }
    };
    let (Some(kind), Some(endpoints), Some(id), Some((auth, digester)), Some(grant)) =
        (kind, endpoints, client_id, auth, grant)
    else {
        return None;
    };
    let digest = endpoints
        .digest(digester)
        .field("client_id", &id)
        .field("grant", kind.name)
        .field("of the grant", grant.digest)
        .fields("parameter", parameters.iter().map(|(name, value)| format!("{name}\0{value}")))
        .fields("allow_addresses", &reach.allow_addresses)
        .field("ca", reach.ca_pem.as_deref().unwrap_or_default())
        .finish();
    let needs = auth.needs().max(grant.grant.needs());
    let client = Client {
        id,
        auth,
        endpoints,
        parameters,
        reach,
        outbound: env.env.outbound.clone(),
        clock: env.env.clock.clone(),
        tokens: env.env.tokens.clone(),
    };
    let source = OAuth2Source { client: Arc::new(client), grant: grant.grant, needs };
    Some(Taken { source: Arc::new(source), digest, fields: vec![ONLY_FIELD.into()], bound: None, seed: None })
}

/// Whether a client proves itself, which a grant that can do without then has to name.
fn needs_client(table: &Table) -> bool {
    ["auth", "client_secret", "client_assertion", "client_certificate"].iter().any(|key| table.has(key))
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

/// Takes `issuer`, `token_url`, `revocation_url` and `endpoint_hosts`; and where somebody logs in, `authorization_url` and
/// `device_url`.
fn take_endpoints(
    table: &mut Table,
    reach: &Reach,
    logs_in: bool,
    team: Option<&TeamScope>,
    out: &mut Diagnostics,
) -> Option<Endpoints> {
    if !table.has("token_url") && !table.has("issuer") {
        let help =
            "write the endpoint, or `issuer = \"https://…\"` of a server that says itself where it is (RFC 8414)";
        table.missing("token_url", out).help(help);
    }
    let is_discovered = !table.has("token_url") && table.has("issuer");
    let also = take_endpoint_hosts(table, is_discovered, team, out);
    let mut configured = Vec::new();
    let mut complete = also.is_some();
    let of_logins = [
        (Which::Authorization, "authorization_url", "an authorization endpoint"),
        (Which::DeviceAuthorization, "device_url", "a device authorization endpoint"),
    ];
    let all = [
        (Which::Token, "token_url", "a token endpoint"),
        (Which::Revocation, "revocation_url", "a revocation endpoint"),
    ];
    for (which, name, what) in all.into_iter().chain(of_logins.into_iter().filter(|_| logs_in)) {
        let is_written = table.has(name);
        let endpoint = take_endpoint(name, what, table, reach, team, out);
        complete &= endpoint.is_some() || !is_written;
        configured.extend(endpoint.map(|endpoint| (which, endpoint)));
    }
    let key = table.key_of("issuer");
    let issuer = table.string("issuer", out);
    let mut discovery = None;
    if let Some(issuer) = &issuer {
        match Discovery::new(&issuer.value, also.clone().unwrap_or_default(), reach) {
            Ok(made) => {
                let mut hosts = made.hosts().iter();
                // `endpoint_hosts` were checked where they stand.
                let own = hosts.next().filter(|_| is_discovered);
                complete &=
                    own.zip(team).is_none_or(|(own, team)| team.check_endpoint(own, &issuer.location, &key, out));
                discovery = is_discovered.then_some(made);
            }
            Err(message) => {
                out.error(&issuer.location, key, message).help("write `https://HOST`, as the server writes it itself");
                complete = false;
            }
        }
    }
    let has_token = discovery.is_some() || configured.iter().any(|(which, _)| *which == Which::Token);
    let issuer = issuer.map(|issuer| issuer.value);
    (complete && has_token).then_some(Endpoints { issuer, configured, discovery })
}

/// Hosts that discovered endpoints may be on, besides the issuer's own.
fn take_endpoint_hosts(
    table: &mut Table,
    is_discovered: bool,
    team: Option<&TeamScope>,
    out: &mut Diagnostics,
) -> Option<Vec<BoundHost>> {
    let key = table.key_of("endpoint_hosts");
    let is_written = table.has("endpoint_hosts");
    let Some(texts) = table.strings("endpoint_hosts", out) else { return (!is_written).then(Vec::new) };
    if let Some(first) = texts.first().filter(|_| !is_discovered) {
        out.error(&first.location, key, "no endpoint is discovered: the configuration names them itself")
            .help("leave it out, or write `issuer` instead of `token_url`");
        return None;
    }
    let one = |text: &Located<String>| match BoundHost::parse(&text.value) {
        Ok(host) => team.is_none_or(|team| team.check_endpoint(&host, &text.location, &key, out)).then_some(host),
        Err(error) => {
            out.error(&text.location, key.clone(), error.to_string());
            None
        }
    };
    let parsed: Vec<_> = texts.iter().map(one).collect();
    parsed.into_iter().collect()
}

fn take_endpoint(
    name: &'static str,
    what: &str,
    table: &mut Table,
    reach: &Reach,
    team: Option<&TeamScope>,
    out: &mut Diagnostics,
) -> Option<Endpoint> {
    let key = table.key_of(name);
    let text = table.string(name, out)?;
    match Endpoint::parse(&text.value, what, reach) {
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

/// At load: the secret is there, and may go to the server. Whether it may go to the very endpoint is asked before each call.
pub(in crate::source) fn check_secret(
    handle: &SecretHandle,
    text: &Located<String>,
    key: &str,
    hosts: &[BoundHost],
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Option<()> {
    let Some(read) = handle.read_now() else { return Some(()) };
    let bind = hosts.first().map(|host| format!("--host {host}")).unwrap_or_default();
    match read {
        Ok(stored) => {
            warn(&stored, text, key, out);
            let bound = stored.hosts.as_deref().unwrap_or(hosts);
            if hosts.iter().any(|host| bound.iter().any(|bound| bound.covers(host) || host.covers(bound))) {
                return Some(());
            }
            let bound = if bound.is_empty() { "no host".to_owned() } else { list(bound) };
            let (reference, name) = (&handle.reference, handle.reference.name());
            out.error(&text.location, key, format!("`{reference}` may go to {bound} only, not to {}", list(hosts)))
                .help(format!(
                    "bind it there: `claviger secret set {name} {bind}`, or `bindings` of a store that has them"
                ));
            None
        }
        Err(error) => unreadable(&error, handle, text, key, &bind, env, out).then_some(()),
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
    for audience in table.strings("audience", out).unwrap_or_default() {
        parameters.push(("audience".to_owned(), audience.value));
    }
    for resource in table.strings("resource", out).unwrap_or_default() {
        if url::Url::parse(&resource.value).is_ok_and(|url| url.fragment().is_none()) {
            parameters.push(("resource".to_owned(), resource.value));
            continue;
        }
        let message = format!("`{}` is no absolute URI without a fragment (RFC 8707 §2)", resource.value);
        out.error(&resource.location, table.key_of("resource"), message)
            .help("write `https://…`; `audience` takes any name");
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
