//! Loads a configuration text as the binary does, with only the keys that policy knows.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use claviger_policy::document::{Diagnostics, SourceFile, parse};
use claviger_policy::{
    AttributeValue, Attributes, Authority, BodyFacts, Bound, Context, CredentialFacts, CredentialUse, Decision,
    HostPattern, Inputs, Policy, Principal, Scheme, ServiceRoute, SpiffeId, Target, TrustDomain, compile,
};

pub(crate) fn try_load(text: &str) -> (Option<Policy>, Diagnostics) {
    let mut out = Diagnostics::default();
    let Some(mut root) = parse(&SourceFile::new("c.toml", text), &mut out) else { return (None, out) };
    let mut services = Vec::new();
    for (name, mut table) in root.named_tables("service", &mut out) {
        services.extend(ServiceRoute::take(name, &mut table, &mut out));
        table.finish(&mut out);
    }
    let mut credentials = Vec::new();
    for (name, mut table) in root.named_tables("credential", &mut out) {
        let hosts = table.strings("hosts", &mut out).unwrap_or_default();
        let hosts = hosts.iter().map(|host| HostPattern::parse(&host.value, 443).unwrap()).collect();
        credentials.push(CredentialFacts { name, hosts });
    }
    let trust_domain = TrustDomain::parse("acme.internal").unwrap();
    let inputs = Inputs { trust_domain, services, credentials, teams: Vec::new(), generation: 7 };
    let policy = compile(&mut root, inputs, &mut out);
    root.finish(&mut out);
    out.sort();
    (policy.filter(|_| !out.has_errors()), out)
}

pub(crate) fn load(text: &str) -> Policy {
    let (policy, out) = try_load(text);
    let found: Vec<String> = out.iter().map(ToString::to_string).collect();
    policy.unwrap_or_else(|| panic!("the configuration does not load:\n{}", found.join("\n")))
}

/// What was found, one text for each finding.
pub(crate) fn findings(text: &str) -> Vec<String> {
    try_load(text).1.iter().map(ToString::to_string).collect()
}

pub(crate) fn principal(id: &str, attributes: &[(&str, AttributeValue)]) -> Arc<Principal> {
    let attributes: Attributes = attributes.iter().map(|(name, value)| (*name, value.clone())).collect();
    Arc::new(Principal { id: SpiffeId::parse(id).unwrap(), attributes, attested_by: "mesh".into() })
}

pub(crate) fn target(policy: &Policy, url: &str) -> Target {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    policy.canonicalize(scheme, Authority::parse(authority, scheme.default_port()).unwrap(), path).unwrap()
}

pub(crate) fn context(ip: Option<&str>, now: &str) -> Context {
    let now = now.parse::<jiff::Timestamp>().unwrap().as_second();
    Context { source_ip: ip.map(|ip| ip.parse().unwrap()), now }
}

/// `rule credential`, or the code of the reason with the rule, or `pending`.
pub(crate) fn outcome(
    policy: &Policy,
    bound: &Bound,
    request: &str,
    context: &Context,
    facts: Option<&BodyFacts>,
) -> String {
    let (method, url) = request.split_once(' ').unwrap();
    let decision = policy.decide(bound, target(policy, url), method.parse().unwrap(), context);
    let result = match decision {
        Decision::Grant(grant) => Ok(grant),
        Decision::Denied(denial) => Err(denial),
        Decision::Pending(pending) => match facts {
            Some(facts) => pending.resolve(policy, facts, bytes::Bytes::from_static(b"{}")),
            None => return format!("pending {}", pending.needs().join(" ")),
        },
    };
    match result {
        Ok(grant) => {
            let credential = match grant.credential() {
                CredentialUse::None => "none",
                CredentialUse::Named(name) => name,
            };
            format!("{} {credential}", grant.rule().map_or("-", |rule| rule))
        }
        Err(denial) => match &denial.rule {
            Some(rule) => format!("{} {rule}", denial.reason.code()),
            None => denial.reason.code().to_owned(),
        },
    }
}
