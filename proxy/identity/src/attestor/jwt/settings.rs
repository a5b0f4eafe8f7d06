//! The keys of `[attestor.NAME]` with `kind = "jwt"`.

use std::sync::Arc;
use std::time::Duration;

use claviger_contract::{Reach, path};
use claviger_policy::document::{Diagnostics, Located, Table};
use url::Url;

use super::{Jwt, VERIFIED_MAX};
use crate::IdentityEnv;
use crate::attestor::Attestor;
use crate::token::algorithm;
use crate::token::claims::{ClaimPath, Times};
use crate::token::conditions::Conditions;
use crate::token::key::KeyUse;
use crate::token::key_source::{FileKeys, KeySource};
use crate::token::remote::{Endpoint, RemoteKeys, RemoteSettings};
use crate::token::template::Template;
use crate::token::verified::Verified;
use crate::trust_domains::report;

const LEEWAY: Duration = Duration::from_secs(30);
const LEEWAY_MAX: Duration = Duration::from_secs(300);
const KEYS_AGE_MAX: Duration = Duration::from_secs(86_400);
const KEYS_AGE_MAX_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Issuers that sign for everybody, and the claims of which one tells whose token it is.
const SHARED_ISSUERS: &[(&str, &[&str])] = &[
    (
        "https://token.actions.githubusercontent.com",
        &["repository_owner_id", "repository_id", "repository_owner", "repository", "enterprise_id", "sub"],
    ),
    ("https://gitlab.com", &["namespace_id", "project_id", "namespace_path", "project_path", "sub"]),
    ("https://accounts.google.com", &["sub", "email", "hd"]),
    ("https://agent.buildkite.com", &["organization_id", "organization_slug", "sub"]),
    ("https://app.terraform.io", &["terraform_organization_id", "terraform_organization_name", "sub"]),
    ("https://api.bitbucket.org", &["workspaceUuid", "repositoryUuid", "sub"]),
];

pub(in crate::attestor) fn take(
    name: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    let issuer = table.required_string("issuer", out);
    let audience = take_audience(table, out);
    let algorithms = algorithm::take(table, out);
    let times = take_times(table, out);
    let conditions = Conditions::take(table, out);
    let identity = take_identity(table, env, out);
    if let Some(issuer) = &issuer {
        require_tenant(issuer, &conditions, table, out);
    }
    let keys = issuer.as_ref().and_then(|issuer| take_keys(issuer, table, env, out));
    if issuer.is_none() {
        // Without an issuer nothing is to be fetched; the keys are known all the same.
        for key in ["jwks", "jwks_url", "keys_max_age", "allow_addresses", "ca"] {
            table.take(key);
        }
    }
    Some(Arc::new(Jwt {
        name: name.value.as_str().into(),
        clock: env.clock.clone(),
        issuer: issuer?.value,
        audience: audience?,
        algorithms,
        times,
        identity: identity?,
        conditions,
        keys: keys?,
        verified: Verified::new(VERIFIED_MAX),
    }))
}

/// Takes `audience`, which is required.
pub(in crate::attestor) fn take_audience(table: &mut Table, out: &mut Diagnostics) -> Option<Vec<String>> {
    if !table.has("audience") {
        table.missing("audience", out);
    }
    let audiences = table.strings("audience", out)?;
    if audiences.is_empty() || audiences.iter().any(|audience| audience.value.is_empty()) {
        let key = table.key_of("audience");
        out.error(table.location(), key, "an audience is empty").help("write the name that tokens for Claviger carry");
        return None;
    }
    Some(audiences.into_iter().map(|audience| audience.value).collect())
}

/// Takes `leeway` and `max_lifetime`.
pub(in crate::attestor) fn take_times(table: &mut Table, out: &mut Diagnostics) -> Times {
    let leeway = bounded(table, "leeway", LEEWAY, Duration::ZERO..=LEEWAY_MAX, out);
    let lifetime = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
    let lifetime_max = table
        .has("max_lifetime")
        .then(|| bounded(table, "max_lifetime", Duration::from_secs(1), lifetime, out))
        .map(seconds);
    Times { leeway: seconds(leeway), lifetime_max }
}

fn take_identity(table: &mut Table, env: &IdentityEnv, out: &mut Diagnostics) -> Option<Template<ClaimPath>> {
    let written = table.required_string("identity", out)?;
    Template::parse(&written.value, &env.trust_domain, ClaimPath::parse)
        .map_err(|error| {
            let help = format!("write it as `spiffe://{}/ci/{{sub}}`", env.trust_domain);
            out.error(&written.location, table.key_of("identity"), error).help(help).clone()
        })
        .ok()
}

/// An issuer shared by everyone must pin its tenant, or anybody on the internet would have an identity here.
fn require_tenant(issuer: &Located<String>, conditions: &Conditions, table: &Table, out: &mut Diagnostics) {
    let bare = issuer.value.trim_end_matches('/');
    let shared = SHARED_ISSUERS
        .iter()
        .find(|(known, _)| bare.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let Some((_, claims)) = shared else { return };
    if !claims.iter().any(|claim| conditions.pins(claim)) {
        let wrong = "this issuer signs tokens for everybody, and nothing here says whose are meant";
        out.error(&issuer.location, table.key_of("issuer"), wrong).help(format!(
            "write `require = {{ {} = \"…\" }}`; one of {}",
            claims.first().unwrap_or(&"sub"),
            claims.join(", ")
        ));
    }
}

fn take_keys(
    issuer: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<KeySource> {
    let (file, url) = (table.string("jwks", out), table.string("jwks_url", out));
    if let (Some(_), Some(url)) = (&file, &url) {
        out.error(&url.location, table.key_of("jwks_url"), "`jwks` is there too").help("write one of the two");
        return None;
    }
    if let Some(file) = file {
        let opened = FileKeys::open(path::resolve(&file), KeyUse::Signature);
        return report(opened, &file.location, &table.key_of("jwks"), out).map(KeySource::File);
    }
    let reach = Reach::take(table, out);
    let age = Duration::from_secs(300)..=KEYS_AGE_MAX_MAX;
    let keys_age_max = bounded(table, "keys_max_age", KEYS_AGE_MAX, age, out);
    let endpoint = match url {
        Some(url) => Endpoint::Keys(take_url(&url, &url.value, &table.key_of("jwks_url"), out)?),
        None => {
            let document = format!("{}/.well-known/openid-configuration", issuer.value.trim_end_matches('/'));
            let document = take_url(issuer, &document, &table.key_of("issuer"), out)?;
            Endpoint::Discovery { issuer: issuer.value.clone(), document }
        }
    };
    let settings = RemoteSettings { endpoint, reach, keys_age_max_ms: seconds(keys_age_max).saturating_mul(1_000) };
    Some(KeySource::Remote(RemoteKeys::new(settings, env.clone())))
}

/// Keys come over TLS; in the clear only from a loopback address, which `allow_addresses` must then list.
fn take_url(written: &Located<String>, text: &str, key: &str, out: &mut Diagnostics) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| {
        let is_loopback = match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(_)) | None => false,
        };
        (url.scheme() == "https" || (url.scheme() == "http" && is_loopback))
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if url.is_none() {
        out.error(
            &written.location,
            key,
            format!("`{}` is not an `https://` URL without user and query", written.value),
        )
        .help("write the issuer's URL, or name its keys with `jwks` or `jwks_url`");
    }
    url
}

fn bounded(
    table: &mut Table,
    name: &'static str,
    default: Duration,
    range: std::ops::RangeInclusive<Duration>,
    out: &mut Diagnostics,
) -> Duration {
    let Some(written) = table.duration(name, out) else { return default };
    if !range.contains(&written.value) {
        let (least, most) = (range.start().as_secs(), range.end().as_secs());
        out.error(
            &written.location,
            table.key_of(name),
            format!("`{}s` is not from {least}s to {most}s", written.value.as_secs()),
        );
    }
    written.value
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
