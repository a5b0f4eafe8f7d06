//! The keys of `[attestor.NAME]` with `kind = "jwt"`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claviger_contract::{Reach, path};
use claviger_policy::document::{self, Diagnostics, Located, SourceFile, Table};
use url::Url;

use super::preset::Preset;
use super::{Jwt, VERIFIED_MAX, tenant};
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

/// What a pod's service account is mounted as; the preset names files in it.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

pub(in crate::attestor) fn take(
    name: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    take_as(Preset::default(), name, table, env, out)
}

/// Takes the keys, to which a preset's are added already.
pub(super) fn take_as(
    preset: Preset,
    name: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    let issuer = table.required_string("issuer", out);
    let audience = take_audience(table, out);
    let algorithms = algorithm::take(table, out);
    let times = take_times(table, out);
    let conditions = Conditions::take(table, &preset.names, out);
    let identity = take_identity(table, &preset, env, out);
    if let Some(issuer) = &issuer {
        let is_written = issuer.location.file() == table.location().file();
        let place = if is_written { &issuer.location } else { table.location() };
        tenant::require(&issuer.value, place, &conditions, table, out);
    }
    let keys = issuer.as_ref().and_then(|issuer| take_keys(issuer, &preset, table, env, out));
    if issuer.is_none() {
        // Without an issuer nothing is to be fetched; the keys are known all the same.
        for key in ["jwks", "jwks_url", "jwks_token", "keys_max_age", "allow_addresses", "ca"] {
            table.take(key);
        }
    }
    let (keys, ca_file) = keys?;
    Some(Arc::new(Jwt {
        name: name.value.as_str().into(),
        clock: env.clock.clone(),
        issuer: issuer?.value,
        audience: audience?,
        algorithms,
        times,
        identity: identity?,
        subject: preset.subject,
        is_of_pods: preset.in_cluster.is_some(),
        conditions,
        keys,
        ca_file,
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

fn take_identity(
    table: &mut Table,
    preset: &Preset,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Template<ClaimPath>> {
    let written = table.required_string("identity", out)?;
    Template::parse(&written.value, &env.trust_domain, |text| preset.names.claim(text))
        .map_err(|error| {
            let help = format!("write it as `spiffe://{}/ci/{{sub}}`", env.trust_domain);
            out.error(&written.location, table.key_of("identity"), error).help(help).clone()
        })
        .ok()
}

/// The keys, and the file that says who may serve them.
fn take_keys(
    issuer: &Located<String>,
    preset: &Preset,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<(KeySource, Option<PathBuf>)> {
    let (file, mut url) = (table.string("jwks", out), table.string("jwks_url", out));
    if let (Some(_), Some(url)) = (&file, &url) {
        out.error(&url.location, table.key_of("jwks_url"), "`jwks` is there too").help("write one of the two");
        return None;
    }
    if let Some(file) = file {
        for key in ["jwks_token", "keys_max_age", "allow_addresses", "ca"] {
            if let Some(item) = table.take(key) {
                out.error(&item.location, item.key, "this is for keys that are fetched, and `jwks` is a file")
                    .help("leave it out, or write `jwks_url` in place of `jwks`");
            }
        }
        let opened = FileKeys::open(path::resolve(&file), KeyUse::Signature);
        let keys = report(opened, &file.location, &table.key_of("jwks"), out).map(KeySource::File)?;
        return Some((keys, None));
    }
    if let (None, Some(defaults)) = (&url, preset.in_cluster)
        && is_own_cluster(&issuer.value)
    {
        url = Some(complete_in_cluster(issuer, defaults, table, out)?);
    }
    let (reach, ca_file) = Reach::take_with_file(table, out);
    let token_file = table.string("jwks_token", out).map(|file| path::resolve(&file));
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
    let keys_age_max_ms = seconds(keys_age_max).saturating_mul(1_000);
    let settings = RemoteSettings { endpoint, reach, token_file, keys_age_max_ms };
    Some((KeySource::Remote(RemoteKeys::new(settings, env.clone())), ca_file))
}

/// The name under which each cluster calls its own API server.
fn is_own_cluster(issuer: &str) -> bool {
    let host = Url::parse(issuer).ok().and_then(|url| url.host_str().map(str::to_owned));
    let rest = host.as_deref().and_then(|host| host.strip_prefix("kubernetes.default.svc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A pod reads its own cluster's keys from the API server, not by discovery: what `jwks_uri` says is an address of the
/// control plane, which pods often cannot reach. Yields where the keys are.
fn complete_in_cluster(
    issuer: &Located<String>,
    defaults: &'static str,
    table: &mut Table,
    out: &mut Diagnostics,
) -> Option<Located<String>> {
    if !table.has("ca") && !std::path::Path::new(SERVICE_ACCOUNT).exists() {
        let wrong = format!("the keys of this cluster are read as a pod does, and there is no `{SERVICE_ACCOUNT}`");
        out.error(&issuer.location, table.key_of("issuer"), wrong)
            .help("mount the service account into the pod, or name the keys with `jwks`, or with `jwks_url` and `ca`");
        return None;
    }
    table.complete(document::parse(&SourceFile::new("preset:kubernetes-in-cluster", defaults), out)?);
    let keys = format!("{}/openid/v1/jwks", issuer.value.trim_end_matches('/'));
    Some(Located { value: keys, location: issuer.location.clone() })
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
