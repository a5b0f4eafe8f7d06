//! `[credential.NAME]`, and `[service.NAME] secret = "…"`.

use std::collections::BTreeMap;
use std::time::Duration;

use claviger_policy::document::{Diagnostics, Located, Table, nearest, parse_duration};

use crate::binding::{BoundHost, intersect, list};
use crate::digest::{Digest, Digester};
use crate::source::{self, KINDS, SourceEnv, Taken};
use crate::{ServiceSecret, TeamScope};

/// The most credentials of one team: each is kept, and counted by its name.
const TEAM_MAX: usize = 500;

/// The shortest `serve_until`.
const SERVE_UNTIL_MIN: Duration = Duration::from_secs(10);

/// A credential as configured, with its source made.
#[derive(Debug)]
pub(crate) struct CredentialSettings {
    pub(crate) name: Located<String>,
    pub(crate) kind: &'static str,
    pub(crate) taken: Taken,
    /// The hosts in the configuration.
    pub(crate) configured: Option<Vec<BoundHost>>,
    /// Where it may go, as far as that is known at load.
    pub(crate) hosts: Vec<BoundHost>,
    /// How long a value serves after it was last minted, read or prolonged; `None`: until its expiry.
    pub(crate) serve_until: Option<Duration>,
    /// Over everything that the configuration says of it.
    pub(crate) digest: Digest,
}

/// Takes the root key `credential`, and makes a static credential of each shorthand.
pub(crate) fn take(
    root: &mut Table,
    shorthands: Vec<ServiceSecret>,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Vec<CredentialSettings> {
    let mut all: Vec<CredentialSettings> = Vec::new();
    let mut names: Vec<Located<String>> = Vec::new();
    let mut of_teams = BTreeMap::new();
    for (name, table) in root.named_tables("credential", out) {
        names.push(name.clone());
        if let Some(team) = name.location.team() {
            let count = of_teams.entry(team.clone()).or_insert(0_usize);
            *count += 1;
            if *count > TEAM_MAX {
                if *count == TEAM_MAX + 1 {
                    let message = format!("team `{team}` has more than {TEAM_MAX} credentials");
                    out.error(&name.location, table.key(), message);
                }
                continue;
            }
        }
        all.extend(take_one(name, table, env, out));
    }
    for shorthand in shorthands {
        if let Some(taken) = names.iter().find(|name| name.value == shorthand.service.value) {
            let key = format!("service.{}.secret", shorthand.service.value);
            let message = format!("this makes a credential named `{0}`, and `[credential.{0}]` is there", taken.value);
            out.error(&shorthand.reference.location, key, message)
                .help(format!("leave out one of them; the other stands at {}", taken.location));
            continue;
        }
        all.extend(take_shorthand(shorthand, env, out));
    }
    all
}

fn take_one(
    name: Located<String>,
    mut table: Table,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Option<CredentialSettings> {
    let kind = table.required_string("kind", out)?;
    let Some((word, take)) = source::find_kind(&kind.value) else {
        let words = || KINDS.iter().map(|(word, _)| *word);
        let diagnostic =
            out.error(&kind.location, table.key_of("kind"), format!("`{}` is no kind of credential", kind.value));
        match nearest(&kind.value, words()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic
                .help(format!("write one of {}", words().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "))),
        };
        return None;
    };
    let team = TeamScope::of(&name.location, &env.env.teams).ok()?;
    if team.is_some_and(|team| !team.check_kind(&kind, &table.key_of("kind"), out)) {
        return None;
    }
    // For people only.
    table.string("description", out);
    let serve_until = take_serve_until(&mut table, out);
    let hosts = take_hosts(&mut table, team, out);
    let taken = take(&mut table, env, out);
    let (place, key) = (table.location().clone(), table.key_of("hosts"));
    table.finish(out);
    let (configured, taken) = (hosts.ok()?, taken?);
    let place = configured.as_ref().map_or(place, |hosts| hosts.location.clone());
    let key = Located { value: key, location: place };
    finish(name, word, taken, configured.map(|hosts| hosts.value), &key, serve_until.ok()?, out)
}

fn take_shorthand(secret: ServiceSecret, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<CredentialSettings> {
    let ServiceSecret { service, reference, hosts, scheme } = secret;
    let key = Located { value: format!("service.{}.secret", service.value), location: reference.location.clone() };
    let taken = source::take_shorthand(&service.value, reference, env, out)?;
    finish(service, "static", taken, Some(BoundHost::all(&hosts, scheme)), &key, None, out)
}

/// `serve_until`: `"expiry"` (default), or a duration past the last time that the value was minted, read or prolonged.
fn take_serve_until(table: &mut Table, out: &mut Diagnostics) -> Result<Option<Duration>, ()> {
    let written = table.has("serve_until");
    let taken = table.parsed("serve_until", out, |text| match text {
        "expiry" => Ok(None),
        duration => match parse_duration(duration) {
            Ok(limit) if limit < SERVE_UNTIL_MIN => {
                Err(format!("`{duration}` is under 10s, so that the value would be fetched all the time"))
            }
            Ok(limit) => Ok(Some(limit)),
            Err(_) => Err(format!("`{duration}` is neither `expiry` nor a duration such as `10m`")),
        },
    });
    match taken {
        Some(taken) => Ok(taken.value),
        None if written => Err(()),
        None => Ok(None),
    }
}

/// `hosts` in the file, with the place of the list; `Err` if there is an error in it.
fn take_hosts(
    table: &mut Table,
    team: Option<&TeamScope>,
    out: &mut Diagnostics,
) -> Result<Option<Located<Vec<BoundHost>>>, ()> {
    let key = table.key_of("hosts");
    let written = table.has("hosts");
    let place = table.location().clone();
    let texts = match table.strings("hosts", out) {
        Some(texts) => texts,
        None if written => return Err(()),
        None => return Ok(None),
    };
    let Some(first) = texts.first() else {
        out.error(&place, key, "the list is empty, so that the credential may go nowhere")
            .help("leave the key out if the secret is sealed with its hosts, or name them");
        return Err(());
    };
    let location = first.location.clone();
    let parse = |text: &Located<String>| match BoundHost::parse(&text.value) {
        Ok(host) if team.is_some_and(|team| !team.check_host(&host, &text.location, &key, out)) => Err(()),
        Ok(host) => Ok(host),
        Err(error) => {
            out.error(&text.location, key.clone(), error.to_string());
            Err(())
        }
    };
    // Collected in two steps, so that every wrong host is reported.
    let parsed: Vec<_> = texts.iter().map(parse).collect();
    let value = parsed.into_iter().collect::<Result<_, _>>()?;
    Ok(Some(Located { value, location }))
}

fn finish(
    name: Located<String>,
    kind: &'static str,
    taken: Taken,
    configured: Option<Vec<BoundHost>>,
    key: &Located<String>,
    serve_until: Option<Duration>,
    out: &mut Diagnostics,
) -> Option<CredentialSettings> {
    let hosts = effective(&taken, configured.as_deref(), key, out)?;
    let digest = Digester::new("credential")
        .field("name", &name.value)
        .field("kind", kind)
        .field("source", taken.digest)
        .fields("hosts", configured.iter().flatten())
        .fields("serve_until", serve_until.map(|limit| limit.as_millis()))
        .finish();
    Some(CredentialSettings { name, kind, taken, configured, hosts, serve_until, digest })
}

/// What both the secret and the configuration allow; an error if that is nothing.
fn effective(
    taken: &Taken,
    configured: Option<&[BoundHost]>,
    key: &Located<String>,
    out: &mut Diagnostics,
) -> Option<Vec<BoundHost>> {
    let (bound, reference) = match (&taken.bound, configured) {
        (None, Some(configured)) => return Some(configured.to_vec()),
        (None, None) => {
            out.error(&key.location, &*key.value, "no host is named that the credential may go to")
                .help("write `hosts = [\"api.example.com\"]`");
            return None;
        }
        (Some((bound, reference)), _) => (bound, reference),
    };
    if bound.is_empty() {
        out.error(&reference.location, &*key.value, format!("`{}` is bound to no host", reference.value))
            .help("name it in `bindings` of its store; several fields must have a host in common");
        return None;
    }
    let Some(configured) = configured else { return Some(bound.clone()) };
    let both = intersect(bound, configured);
    if both.is_empty() {
        let message = format!("`{}` may go to {} only, which is none of these hosts", reference.value, list(bound));
        out.error(&key.location, &*key.value, message)
            .help("the configuration can narrow what a secret was sealed for, never widen it; set it anew to bind it elsewhere");
        return None;
    }
    for host in configured.iter().filter(|host| !bound.iter().any(|b| b.covers(host) || host.covers(b))) {
        let message = format!("`{host}` is not among the hosts that `{}` may go to ({})", reference.value, list(bound));
        out.warning(&key.location, &*key.value, message).help("requests there will be refused");
    }
    Some(both)
}
