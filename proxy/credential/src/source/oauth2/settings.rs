//! `[credential.NAME] kind = "oauth2"`.

use std::sync::Arc;

use claviger_contract::Reach;
use claviger_policy::document::{Diagnostics, Located, Table};
use claviger_policy::{Authority, PathMode, Scheme, Target};

use super::super::static_value::{unreadable, warn};
use super::{ClientAuth, OAuth2Source, check_binding};
use crate::TeamScope;
use crate::binding::BoundHost;
use crate::digest::Digester;
use crate::lease::ONLY_FIELD;
use crate::source::{SourceEnv, Taken};
use crate::store::SecretHandle;

/// Parameters that keys of their own set, or that would replace the client's proof.
const OWN_PARAMETERS: &[&str] =
    &["grant_type", "scope", "audience", "client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// Takes `grant`, `token_url`, `client_id`, `client_secret`, `auth`, `scope`, `audience`, `parameters`,
/// `allow_addresses` and `ca`.
pub(in crate::source) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    take_grant(table, out);
    let team = TeamScope::of(table.location(), &env.env.teams).ok()?;
    let reach = match team {
        Some(team) => team.reach(table, out),
        None => Reach::take(table, out),
    };
    let endpoint = take_endpoint(table, &reach, team, out);
    let client_id = table.required_string("client_id", out);
    let secret = table.required_string("client_secret", out);
    let auth = table.choice("auth", &[("basic", ClientAuth::Basic), ("post", ClientAuth::Post)], out);
    let auth = auth.map_or(ClientAuth::Basic, |auth| auth.value);
    let parameters = take_parameters(table, out);
    let secret_key = table.key_of("client_secret");
    let handle = secret.as_ref().and_then(|text| env.stores.find(text, &secret_key, out));
    let (Some((token_url, endpoint)), Some(client_id), Some(handle), Some(text)) =
        (endpoint, client_id, handle, secret)
    else {
        return None;
    };
    check_secret(&handle, &text, &secret_key, &endpoint, env, out)?;
    let digest = Digester::new("source oauth2")
        .field("token_url", token_url.as_str())
        .field("client_id", &client_id.value)
        .field("client_secret", env.stores.digest_of(&handle))
        .field("auth", if auth == ClientAuth::Basic { "basic" } else { "post" })
        .fields("parameter", parameters.iter().map(|(name, value)| format!("{name}\0{value}")))
        .fields("allow_addresses", &reach.allow_addresses)
        .field("ca", reach.ca_pem.as_deref().unwrap_or_default())
        .finish();
    let source = OAuth2Source {
        token_url,
        endpoint,
        client_id: client_id.value,
        client_secret: handle,
        auth,
        parameters,
        reach,
        outbound: env.env.outbound.clone(),
        clock: env.env.clock.clone(),
    };
    Some(Taken { source: Arc::new(source), digest, fields: vec![ONLY_FIELD.into()], bound: None, seed: None })
}

fn take_grant(table: &mut Table, out: &mut Diagnostics) {
    let key = table.key_of("grant");
    let Some(grant) = table.string("grant", out) else { return };
    if grant.value != "client_credentials" {
        out.error(&grant.location, key, format!("the grant `{}` is not supported yet", grant.value))
            .help("write `client_credentials`, or leave the key out");
    }
}

/// The URL, and the same as a target: what is checked is what is called.
fn take_endpoint(
    table: &mut Table,
    reach: &Reach,
    team: Option<&TeamScope>,
    out: &mut Diagnostics,
) -> Option<(url::Url, Target)> {
    let key = table.key_of("token_url");
    let text = table.required_string("token_url", out)?;
    match parse_endpoint(&text.value, reach) {
        Ok((url, endpoint)) => {
            let host = BoundHost::of_target(&endpoint);
            let within = team.is_none_or(|team| team.check_endpoint(&host, &text.location, &key, out));
            within.then_some((url, endpoint))
        }
        Err(message) => {
            out.error(&text.location, key, message).help("write `https://HOST/PATH`");
            None
        }
    }
}

fn parse_endpoint(text: &str, reach: &Reach) -> Result<(url::Url, Target), String> {
    let url = url::Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a token endpoint must not hold a user or a password".to_owned());
    }
    if url.fragment().is_some() {
        return Err("a token endpoint has no fragment (RFC 6749 §3.2)".to_owned());
    }
    let host = url.host_str().ok_or("the URL has no host")?;
    let scheme = match url.scheme() {
        "https" => Scheme::Https,
        "http" if is_listed_loopback(&url, reach) => Scheme::Http,
        _ => return Err("a token endpoint is called over https:// only".to_owned()),
    };
    let authority = Authority::parse(host, scheme.default_port())
        .map(|authority| Authority { port: url.port().unwrap_or(scheme.default_port()), ..authority })
        .map_err(|error| format!("the host cannot be used: {error}"))?;
    // Only host, port and scheme are checked against bindings; the path is the endpoint's own matter.
    let target = Target::parse(scheme, authority, "/", PathMode::Strict).map_err(|error| error.to_string())?;
    Ok((url, target))
}

/// `http://` is for a server on this very machine that `allow_addresses` lists, as the outbound guard has it.
fn is_listed_loopback(url: &url::Url, reach: &Reach) -> bool {
    let address: std::net::IpAddr = match url.host() {
        Some(url::Host::Ipv4(address)) => address.into(),
        Some(url::Host::Ipv6(address)) => address.into(),
        Some(url::Host::Domain(_)) | None => return false,
    };
    address.is_loopback() && reach.allow_addresses.iter().any(|network| network.contains(&address))
}

fn take_parameters(table: &mut Table, out: &mut Diagnostics) -> Vec<(String, String)> {
    let mut parameters = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
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

/// At load: the secret is there, and may go to the endpoint. The same is checked before each mint.
fn check_secret(
    handle: &SecretHandle,
    text: &Located<String>,
    key: &str,
    endpoint: &Target,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Option<()> {
    let Some(read) = handle.read_now() else { return Some(()) };
    let host = BoundHost::of_target(endpoint);
    match read {
        Ok(stored) => {
            warn(&stored, text, key, out);
            let checked = check_binding(handle, &stored, endpoint);
            let name = handle.reference.name();
            checked
                .map_err(|error| {
                    let help = format!(
                        "bind it there: `claviger secret set {name} --host {host}`, or `bindings` of a store that has them"
                    );
                    out.error(&text.location, key, error.to_string()).help(help);
                })
                .ok()
        }
        Err(error) => unreadable(&error, handle, text, key, &format!("--host {host}"), env, out).then_some(()),
    }
}
