//! What one part asks of another that it does not know: policy of attestors, injections of credentials.

use std::collections::HashSet;

use claviger_credential::Credentials;
use claviger_identity::Attestors;
use claviger_policy::document::{self, Diagnostic, Diagnostics};
use claviger_policy::{Policy, Principal, Wanted};

use super::services::ServiceParts;

/// An attestor that is not there, or an attribute that none can yield, never matches: a deny that asks for it would
/// be silent.
///
/// `has_addresses`: whether clients of some listener have an address.
pub(super) fn attestors(policy: &Policy, attestors: &Attestors, has_addresses: bool, out: &mut Diagnostics) {
    if !attestors.is_complete() {
        return;
    }
    let known = attestors.attribute_names();
    let is_attestor = |name: &str| known.iter().any(|(attestor, _)| **attestor == *name);
    let permits_sessions = policy.exec_workloads().next().is_some();
    for asked in policy.asked() {
        let (name, of) = match &asked.wanted {
            Wanted::Attestor(name) if is_attestor(name) => continue,
            Wanted::Attestor(name) => {
                attestors.unknown(name, &asked.location, &asked.key, out);
                continue;
            }
            Wanted::Address if has_addresses => continue,
            Wanted::Address => {
                out.error(&asked.location, &asked.key, "no client has an address: all listeners are Unix sockets")
                    .help("an allow with this condition never matches, a deny always fires: leave it out, or bind a TCP address");
                continue;
            }
            // Whoever starts a session of `claviger exec` may say it, of the workloads that permit sessions.
            Wanted::Attribute { name, of }
                if of.is_empty() && name.starts_with(Principal::EXEC_ATTRIBUTES) && permits_sessions =>
            {
                continue;
            }
            // That an attestor is not there is reported at its own place.
            Wanted::Attribute { of, .. } if !of.iter().all(|attestor| is_attestor(attestor)) => continue,
            Wanted::Attribute { name, of } => (name, of),
        };
        let may_say = |attestor: &str| of.is_empty() || of.iter().any(|one| one == attestor);
        let yielded: Vec<&str> = known
            .iter()
            .filter(|(attestor, _)| may_say(attestor))
            .flat_map(|(_, names)| names.iter().map(|name| &**name))
            .collect();
        if yielded.contains(&&**name) {
            continue;
        }
        let who = match of.as_slice() {
            [] => "no attestor yields".to_owned(),
            [one] => format!("attestor `{one}` does not yield"),
            several => format!("none of the attestors `{}` yields", several.join("`, `")),
        };
        let elsewhere = known.iter().find(|(_, names)| names.contains(name));
        let help = match (document::nearest(name, yielded.iter().copied()), elsewhere) {
            (_, Some((attestor, _))) => format!("attestor `{attestor}` does; name it in `attested_by`"),
            (Some(near), None) => format!("did you mean `{near}`?"),
            (None, None) if name.starts_with(Principal::EXEC_ATTRIBUTES) => {
                "sessions of `claviger exec` have it: permit them with `exec = true` at a workload".to_owned()
            }
            (None, None) => {
                format!(
                    "an attestor of kind `jwt` makes it from a claim with `attributes = {{ \"{name}\" = \"CLAIM\" }}`"
                )
            }
        };
        out.error(&asked.location, &asked.key, format!("{who} the attribute `{name}`")).help(help);
    }
}

/// A field that a credential does not have would fail every request that it is injected into; so would a value that
/// the echo guard cannot look for.
pub(super) fn fields(policy: &Policy, services: &[ServiceParts], credentials: &Credentials, out: &mut Diagnostics) {
    let mut seen = HashSet::new();
    for (service, credential, rule) in
        policy.uses().filter(|(service, credential, _)| seen.insert((*service, *credential)))
    {
        let Some(parts) = services.iter().find(|parts| parts.route.name() == service) else { continue };
        // A credential that is wrong is reported at its own place.
        let Some(known) = credentials.fields(credential) else { continue };
        for field in parts.plan.fields().into_iter().filter(|field| !credentials.has_field(credential, *field)) {
            let known: Vec<&str> = known.iter().map(|name| &**name).collect();
            let (message, help) = match field {
                Some(field) => (
                    format!(
                        "rule `{rule}` injects the field `{field}` of credential `{credential}`, which has no such field"
                    ),
                    match document::nearest(field, known.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("it has `{}`; name one with `from`, or leave `from` out", known.join("`, `")),
                    },
                ),
                None => (
                    format!("rule `{rule}` injects credential `{credential}`, which has several fields"),
                    format!("name one of `{}` with `from`", known.join("`, `")),
                ),
            };
            wrong(policy, rule, parts, "inject", message, out).help(help);
        }
        let is_short = |field: &Option<&str>| credentials.is_too_short(credential, *field);
        if parts.plan.guards() && parts.plan.fields().iter().any(is_short) {
            let message = format!("the value of credential `{credential}` is too short to be found in answers");
            wrong(policy, rule, parts, "guard", message, out).help(
                "use a value of at least 12 bytes; where it is known never to be reflected, write `guard = false`",
            );
        }
    }
}

/// Stands at the service, unless a team's rule brought the two together: then at that rule, since the team is to blame.
fn wrong<'d>(
    policy: &Policy,
    rule: &str,
    parts: &ServiceParts,
    key: &str,
    message: String,
    out: &'d mut Diagnostics,
) -> &'d mut Diagnostic {
    match policy.place_of_rule(rule).filter(|place| place.team().is_some()) {
        Some(place) => {
            let key = format!("allow.{}", rule.rsplit('/').next().unwrap_or(rule));
            let is_settled = policy.teams().iter().any(|team| team.is_settled() && place.team() == Some(team.name()));
            // Where its value became too short, whoever asks for it is refused.
            if is_settled { out.warning(place, key, message) } else { out.error(place, key, message) }
        }
        None => out.error(parts.route.location(), format!("service.{}.{key}", parts.route.name()), message),
    }
}
