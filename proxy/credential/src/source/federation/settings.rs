//! `[credential.NAME] kind = "federation"`.

use std::sync::Arc;
use std::time::Duration;

use claviger_contract::Reach;
use claviger_policy::document::{Diagnostics, Located, Table, nearest};
use dashmap::DashMap;

use super::super::oauth2::endpoint::Endpoint;
use super::profile::{BodyForm, Grant, Profile};
use super::{FederationSource, Subject, header};
use crate::TeamScope;
use crate::binding::BoundHost;
use crate::digest::Digester;
use crate::lease::ONLY_FIELD;
use crate::source::{SourceEnv, Taken};

/// The longest life of a minted subject token: it is for one call.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Takes `profile`, `subject`, `audience`, `lifetime`, `token_url`, `grant`, `body`, `parameters`, `allow_addresses` and `ca`.
pub(in crate::source) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    let profile = take_profile(table, out);
    let team = TeamScope::of(table.location(), &env.env.teams).ok()?;
    let reach = match team {
        Some(team) => team.reach(table, out),
        None => Reach::take(table, out),
    };
    let Some((profile, named)) = profile else {
        // What a profile would say of them is not known.
        for key in ["subject", "audience", "lifetime", "token_url", "grant", "body", "parameters"] {
            table.take(key);
        }
        return None;
    };
    let endpoint = take_endpoint(table, &profile, &reach, team, out);
    let grant = take_choice(table, "grant", Grant::WORDS, profile.grant, out);
    let body = take_choice(table, "body", BodyForm::WORDS, profile.body, out);
    let subject = take_subject(table, &profile, env, out);
    let parameters = take_parameters(table, &profile, out);
    let (endpoint, grant, body, subject, parameters) = (endpoint?, grant?, body?, subject?, parameters?);
    let hosts: Option<Vec<BoundHost>> = profile
        .hosts
        .iter()
        .map(|host| BoundHost::parse(host).ok())
        .collect::<Option<_>>()
        .filter(|all: &Vec<_>| !all.is_empty());
    let digester = Digester::new("source federation")
        .field("profile", profile.name)
        .field("token_url", endpoint.url.as_str())
        .field("grant", if grant == Grant::JwtBearer { "jwt-bearer" } else { "token-exchange" })
        .field("body", if body == BodyForm::Json { "json" } else { "form" })
        .fields("parameter", parameters.iter().map(|(name, value)| format!("{name}\0{value}")))
        .fields("allow_addresses", &reach.allow_addresses)
        .field("ca", reach.ca_pem.as_deref().unwrap_or_default());
    let digest = match &subject {
        Subject::Proof => digester.field("subject", "proof"),
        Subject::Minted { audience, lifetime } => digester
            .field("subject", "minted")
            .fields("audience", audience)
            .field("lifetime", lifetime.as_millis().to_be_bytes())
            // Tokens of another issuer are other tokens.
            .field("issuer", env.env.tokens.issuer().unwrap_or_default()),
    }
    .finish();
    let headers = profile.headers.iter().filter_map(|(name, value)| header(name, value)).collect();
    let bound = hosts.clone().map(|hosts| (hosts, named));
    let source = FederationSource {
        profile,
        grant,
        body,
        endpoint,
        subject,
        parameters,
        headers,
        hosts,
        used: DashMap::new(),
        reach,
        outbound: env.env.outbound.clone(),
        clock: env.env.clock.clone(),
        tokens: env.env.tokens.clone(),
    };
    Some(Taken { source: Arc::new(source), digest, fields: vec![ONLY_FIELD.into()], bound, seed: None })
}

/// The profile, and where it is named.
fn take_profile(table: &mut Table, out: &mut Diagnostics) -> Option<(Profile, Located<String>)> {
    let listed = || Profile::names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if !table.has("profile") {
        table.missing("profile", out).help(format!("write one of {}", listed()));
    }
    let named = table.string("profile", out)?;
    match Profile::find(&named.value) {
        Some(profile) => {
            Some((profile, Located { value: format!("the profile {}", named.value), location: named.location }))
        }
        None => {
            let message = format!("there is no profile `{}`", named.value);
            let error = out.error(&named.location, table.key_of("profile"), message);
            match nearest(&named.value, Profile::names()) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("write one of {}; `generic` is for any other server", listed())),
            };
            None
        }
    }
}

/// What the configuration says, or the profile.
fn take_choice<T: Copy>(
    table: &mut Table,
    key: &'static str,
    words: &[(&'static str, T)],
    of_profile: Option<T>,
    out: &mut Diagnostics,
) -> Option<T> {
    if let Some(known) = of_profile {
        if let Some(place) = table.place_of(key).cloned() {
            table.take(key);
            out.error(&place, table.key_of(key), "the profile says this")
                .help("leave it out; `profile = \"generic\"` leaves it open");
        }
        return Some(known);
    }
    if !table.has(key) {
        let listed = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        table.missing(key, out).help(format!("write {listed}, as the server wants it"));
    }
    table.choice(key, words, out).map(|found| found.value)
}

fn take_endpoint(
    table: &mut Table,
    profile: &Profile,
    reach: &Reach,
    team: Option<&TeamScope>,
    out: &mut Diagnostics,
) -> Option<Endpoint> {
    let key = table.key_of("token_url");
    if !table.has("token_url") && profile.token_url.is_none() {
        table.missing("token_url", out).help("write `https://HOST/PATH`");
    }
    let written = table.string("token_url", out);
    let (text, place) = match (&written, &profile.token_url) {
        (Some(written), _) => (&written.value, written.location.clone()),
        (None, Some(known)) => (known, table.location().clone()),
        (None, None) => return None,
    };
    match Endpoint::parse(text, "a token endpoint", reach) {
        Ok(endpoint) => {
            let host = BoundHost::of_target(&endpoint.target);
            let within = team.is_none_or(|team| team.check_endpoint(&host, &place, &key, out));
            within.then_some(endpoint)
        }
        Err(message) => {
            out.error(&place, key, message).help("write `https://HOST/PATH`");
            None
        }
    }
}

fn take_subject(table: &mut Table, profile: &Profile, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Subject> {
    if !table.has("subject") {
        table.missing("subject", out).help(
            "write `minted`, for tokens of `[issuer]` that the provider trusts, or `proof`, for the workload's own token",
        );
    }
    let key = table.key_of("subject");
    let place = table.place_of("subject").cloned();
    let is_minted = table.choice("subject", &[("proof", false), ("minted", true)], out)?.value;
    if !is_minted {
        for only in ["audience", "lifetime"] {
            if let Some(place) = table.place_of(only).cloned() {
                table.take(only);
                out.error(&place, table.key_of(only), "this is said of minted tokens, and the workload brings its own")
                    .help("leave it out, or write `subject = \"minted\"`");
            }
        }
        return Some(Subject::Proof);
    }
    if env.env.tokens.issuer().is_none() {
        let place = place.unwrap_or_else(|| table.location().clone());
        out.error(&place, key, "there is no `[issuer]`, which would mint the tokens")
            .help("add `[issuer]` with the `url` by which the provider knows it, or write `subject = \"proof\"`");
    }
    let audience = table.strings("audience", out).map(|all| all.into_iter().map(|text| text.value).collect::<Vec<_>>());
    let audience = audience.unwrap_or_else(|| profile.audience.clone());
    if audience.iter().all(String::is_empty) {
        table.missing("audience", out).help("name who is to accept the token, as its server wants it");
        return None;
    }
    let key = table.key_of("lifetime");
    let lifetime = match table.duration("lifetime", out) {
        Some(at) if at.value < Duration::from_secs(1) || at.value > LIFETIME_MAX => {
            out.error(&at.location, key, "a subject token lasts from one second to a day").help("write `10m`");
            return None;
        }
        Some(at) => at.value,
        None => profile.subject_lifetime,
    };
    Some(Subject::Minted { audience, lifetime })
}

/// The fields that the provider asks for.
fn take_parameters(table: &mut Table, profile: &Profile, out: &mut Diagnostics) -> Option<Vec<(String, String)>> {
    let (place, key) = (table.location().clone(), table.key_of("parameters"));
    let entries = table.table("parameters", out).map(Table::into_entries).unwrap_or_default();
    let (mut all, mut complete) = (Vec::new(), true);
    for (name, item) in entries {
        let is_known = profile.required.contains_key(&name.value) || profile.optional.contains_key(&name.value);
        if Grant::OWN.contains(&name.value.as_str()) {
            out.error(&name.location, item.key, "this parameter is not free: the grant sets it");
            complete = false;
        } else if !is_known && !profile.free {
            let known = || profile.required.keys().chain(profile.optional.keys()).map(String::as_str);
            let message = format!("`{}` takes no `{}`", profile.name, name.value);
            let error = out.error(&name.location, item.key, message);
            match nearest(&name.value, known()) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!(
                    "it takes {}",
                    known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                )),
            };
            complete = false;
        } else {
            match item.into_string(out) {
                Some(value) if value.value.is_empty() => {
                    out.error(&value.location, format!("{key}.{}", name.value), "the text is empty");
                    complete = false;
                }
                Some(value) => all.push((name.value, value.value)),
                None => complete = false,
            }
        }
    }
    for (name, what) in profile.required.iter().filter(|(name, _)| !all.iter().any(|(known, _)| known == *name)) {
        let message = format!("`{}` wants `{name}`", profile.name);
        out.error(&place, format!("{key}.{name}"), message)
            .help(format!("write `parameters = {{ {name} = \"…\" }}`: {what}"));
        complete = false;
    }
    complete.then_some(all)
}
