//! What a request to Vault (or OpenBao) is: a login, a question about one's own token, an operation that would hand out a
//! token, or any other. By its path alone, for Vault goes by nothing else.
//!
//! Everything that could be read as such an operation by a server that decodes the whole path first is taken for one.

use std::ops::Range;

use http::{HeaderMap, HeaderName, Method};
use serde_json::{Value, json};

use super::handle::Handle;

/// Headers by which Vault wraps any answer into a token that whoever holds it can open, from anywhere.
pub(super) const WRAPS: [&str; 2] = ["x-vault-wrap-ttl", "x-vault-wrap-format"];

/// How the headers begin by which OpenBao takes a login together with any request.
const INLINE: &str = "x-vault-inline-auth-";

/// Takes a login out that goes with a request: as any login, it is answered by the caller's own proof.
pub(super) fn strip_inline_logins(headers: &mut HeaderMap) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(INLINE)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `auth/MOUNT/login`, and `auth/MOUNT/login/NAME`.
    Login,
    /// `auth/token/lookup-self`, …: about the token that the client has.
    OwnToken(About, Whose),
    /// Vault would answer with a token, or with what one can be had for. The words of the path that make it so.
    HandsOut(Vec<usize>),
    /// Anything else.
    Other,
}

/// What is asked about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Lookup,
    Renew,
    Revoke,
}

/// Which token is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of `X-Vault-Token`.
    Shown,
    /// That in the body.
    Named,
}

/// A path decoded as a whole and cut into segments, without empty ones: as Vault reads it.
pub(super) fn segments(path: &str) -> Vec<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).map(<[u8]>::to_vec).collect()
}

/// What the method at this path means.
pub(super) fn call(method: &Method, path: &str) -> Call {
    let segments = segments(path);
    let words: Vec<&str> = segments.iter().map(|segment| std::str::from_utf8(segment).unwrap_or("\u{fffd}")).collect();
    let Some(("v1", asked)) = words.split_first().map(|(first, rest)| (*first, rest)) else { return Call::Other };
    let writes = *method == Method::POST || *method == Method::PUT || *method == Method::PATCH;
    if let Some(call) = own_token(method, writes, asked) {
        return call;
    }
    if writes && is_login(asked) {
        return Call::Login;
    }
    // Namespaces may stand before any path, and have any name.
    let found = (0..asked.len()).find_map(|from| {
        let words = hands_out(asked.get(from..)?, writes, from > 0)?;
        // Counted from the beginning of the path, in which `v1` is the first.
        Some(words.into_iter().map(|at| at + from + 1).collect())
    });
    found.map_or(Call::Other, Call::HandsOut)
}

fn own_token(method: &Method, writes: bool, asked: &[&str]) -> Option<Call> {
    let ["auth", "token", word] = asked else { return None };
    let (about, whose) = match *word {
        "lookup-self" => (About::Lookup, Whose::Shown),
        "renew-self" => (About::Renew, Whose::Shown),
        "revoke-self" => (About::Revoke, Whose::Shown),
        "lookup" => (About::Lookup, Whose::Named),
        "renew" => (About::Renew, Whose::Named),
        "revoke" => (About::Revoke, Whose::Named),
        _ => return None,
    };
    let reads = *method == Method::GET && about == About::Lookup;
    (writes || reads).then_some(Call::OwnToken(about, whose))
}

/// Whether segments behind `auth` may be a mount: a role or user may be called `login`, or `token`.
fn is_mount(segments: &[&str]) -> bool {
    const NAMED: [&str; 8] = ["role", "roles", "user", "users", "groups", "map", "config", "certs"];
    match segments {
        [] | ["token", ..] => false,
        [_] => true,
        [.., last] => !NAMED.contains(last),
    }
}

/// `auth/MOUNT/login` or `auth/MOUNT/login/NAME`, where a mount may have several segments.
fn is_login(asked: &[&str]) -> bool {
    let Some(("auth", rest)) = asked.split_first().map(|(first, rest)| (*first, rest)) else { return false };
    matches!(rest, [mount @ .., "login"] | [mount @ .., "login", _] if is_mount(mount))
}

/// The words that make Vault hand out a token; `nested`: something stands before them.
fn hands_out(asked: &[&str], writes: bool, nested: bool) -> Option<Vec<usize>> {
    let all = |range: Range<usize>| Some(range.collect());
    let last = asked.len().saturating_sub(1);
    match asked {
        // A callback is a GET, and answers with a token.
        ["auth", .., "oidc", "callback" | "poll"] => Some(vec![0, last - 1, last]),
        // In a namespace that stands in the path Claviger answers no question about a token, and no login. A question is a
        // GET too, and its answer holds the token itself.
        ["auth", "token", "lookup" | "lookup-self" | "renew" | "renew-self" | "revoke" | "revoke-self"] if nested => {
            all(0..3)
        }
        _ if !writes => None,
        ["auth", "token", "create" | "create-orphan"] | ["auth", "token", "create", _] => all(0..3),
        ["auth", ..] if nested && is_login(asked) => {
            let login = asked.iter().rposition(|word| *word == "login")?;
            Some(vec![0, login])
        }
        ["auth", .., "role", _, "secret-id" | "custom-secret-id"] => Some(vec![0, last - 2, last]),
        // The end of a login by SAML.
        ["auth", mount @ .., "token"] if is_mount(mount) => Some(vec![0, last]),
        ["sys", "wrapping", "wrap" | "rewrap" | "unwrap"] | ["sys", "mfa", "validate"] => all(0..3),
        ["sys", "init"] => all(0..2),
        ["sys", "generate-root" | "generate-recovery-token", ..] => all(0..2),
        ["sys", "replication", .., "secondary-token"] => Some(vec![0, 1, last]),
        _ => None,
    }
}

/// Whether the path pattern of a rule names these words of a path itself, instead of covering them by `*` or `**`.
pub(super) fn is_named_by(pattern: &str, path: &str, words: &[usize]) -> bool {
    let (pattern, path) = (segments(pattern), segments(path));
    pattern.len() == path.len()
        && !pattern.iter().any(|segment| segment == b"**")
        && words.iter().all(|at| pattern.get(*at).is_some_and(|named| Some(named) == path.get(*at)))
}

/// The token that a body names.
pub(super) fn named(body: &[u8]) -> Option<String> {
    match serde_json::from_slice(body).ok()? {
        Value::Object(mut members) => match members.remove("token")? {
            Value::String(token) => Some(token),
            _ => None,
        },
        _ => None,
    }
}

/// The `auth` block of a login, and of a renewal.
pub(super) fn auth(text: &str, id: &str, left: i64) -> Value {
    json!({
        "client_token": text,
        "accessor": "",
        "policies": ["claviger"],
        "token_policies": ["claviger"],
        "metadata": { "principal": id },
        "lease_duration": left,
        // What a handle ends with is its credential's lease: clients log in anew.
        "renewable": false,
        "entity_id": "",
        "token_type": "service",
        "orphan": true,
        "mfa_requirement": null,
        "num_uses": 0,
    })
}

/// What `lookup` tells of a handle.
pub(super) fn data(text: &str, id: &str, handle: &Handle, now: i64) -> Value {
    let left = handle.expires.saturating_sub(now).max(0);
    let at = |seconds: i64| {
        let time = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
        time.and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
    };
    json!({
        "id": text,
        "accessor": "",
        "creation_time": handle.issued,
        "creation_ttl": handle.expires.saturating_sub(handle.issued),
        "display_name": "claviger",
        "entity_id": "",
        "expire_time": at(handle.expires),
        "explicit_max_ttl": 0,
        "issue_time": at(handle.issued),
        "meta": { "principal": id },
        "num_uses": 0,
        "orphan": true,
        "path": "auth/claviger/login",
        "policies": ["claviger"],
        "renewable": false,
        "ttl": left,
        "type": "service",
    })
}

/// An answer as Vault frames it.
pub(super) fn framed(request_id: &str, auth: Option<Value>, data: Option<Value>, warning: Option<&str>) -> Value {
    json!({
        "request_id": request_id,
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": data,
        "wrap_info": null,
        "warnings": warning.map(|warning| vec![warning]),
        "auth": auth,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_request_is() {
        use About::{Lookup, Renew, Revoke};
        use Whose::{Named, Shown};
        let out = |words: &[usize]| Call::HandsOut(words.to_vec());
        for (request, expected) in [
            ("POST /v1/auth/approle/login", Call::Login),
            ("PUT /v1/auth/jwt/login", Call::Login),
            ("POST /v1/auth/jwt/login/", Call::Login),
            ("POST /v1/auth/team/a/kubernetes/login", Call::Login),
            ("POST /v1/auth/userpass/login/bob", Call::Login),
            ("POST /v1/auth/userpass/%6cogin/bob", Call::Login),
            ("POST /v1/auth%2fapprole%2flogin", Call::Login),
            ("GET /v1/auth/token/lookup-self", Call::OwnToken(Lookup, Shown)),
            ("POST /v1/auth/token/lookup", Call::OwnToken(Lookup, Named)),
            ("PUT /v1/auth/token/renew-self", Call::OwnToken(Renew, Shown)),
            ("POST /v1/auth/token/renew", Call::OwnToken(Renew, Named)),
            ("POST /v1/auth/token/revoke-self", Call::OwnToken(Revoke, Shown)),
            ("PUT /v1/auth/token/revoke", Call::OwnToken(Revoke, Named)),
            ("POST /v1/auth/token/create", out(&[1, 2, 3])),
            ("POST /v1/auth/token/cre%61te", out(&[1, 2, 3])),
            ("POST /v1/auth/token/create-orphan", out(&[1, 2, 3])),
            ("PUT /v1/auth/token/create/role", out(&[1, 2, 3])),
            ("POST /v1/team/a/auth/token/create", out(&[3, 4, 5])),
            ("POST /v1/team/auth/token/renew-self", out(&[2, 3, 4])),
            ("GET /v1/team/auth/token/lookup-self", out(&[2, 3, 4])),
            ("GET /v1/team/a/auth/token/lookup", out(&[3, 4, 5])),
            ("POST /v1/auth/jwt/cel/login", Call::Login),
            ("POST /v1/team/auth/approle/login", out(&[2, 4])),
            ("POST /v1/auth/approle/role/app/secret-id", out(&[1, 3, 5])),
            ("GET /v1/auth/oidc/oidc/callback", out(&[1, 3, 4])),
            ("POST /v1/sys/wrapping/unwrap", out(&[1, 2, 3])),
            ("POST /v1/auth/saml/token", out(&[1, 3])),
            ("POST /v1/auth/corp/saml/token", out(&[1, 4])),
            ("PUT /v1/sys/generate-root/update", out(&[1, 2])),
            ("POST /v1/sys/mfa/validate", out(&[1, 2, 3])),
            // Near misses.
            ("GET /v1/auth/approle/login", Call::Other),
            ("POST /v1/auth/approle/role/login", Call::Other),
            ("POST /v1/auth/userpass/users/login", Call::Other),
            ("POST /v1/auth/token/roles/login", Call::Other),
            ("POST /v1/auth/login", Call::Other),
            ("POST /auth/approle/login", Call::Other),
            ("GET /v1/auth/token/renew-self", Call::Other),
            ("LIST /v1/auth/token/accessors", Call::Other),
            ("POST /v1/auth/token/revoke-accessor", Call::Other),
            ("GET /v1/auth/token/create", Call::Other),
            ("GET /v1/auth/approle/role/app/role-id", Call::Other),
            ("POST /v1/secret/data/app", Call::Other),
            ("GET /v1/secret/data/auth/token/create", Call::Other),
            ("GET /v1/sys/health", Call::Other),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(call(&method.parse().unwrap(), path), expected, "{request}");
        }
    }

    #[test]
    fn a_rule_names_what_hands_out_a_token() {
        let check = |pattern: &str, path: &str, expected: bool| {
            let Call::HandsOut(words) = call(&Method::POST, path) else { panic!("{path}") };
            assert_eq!(is_named_by(pattern, path, &words), expected, "{pattern}");
        };
        check("/v1/auth/token/create", "/v1/auth/token/create", true);
        check("/v1/auth/token/create/*", "/v1/auth/token/create/app", true);
        check("/v1/auth/*/role/*/secret-id", "/v1/auth/approle/role/app/secret-id", true);
        for pattern in ["/v1/**", "/v1/auth/**", "/v1/auth/token/*", "/v1/auth/*/create", "/v1/*/token/create", "**"] {
            check(pattern, "/v1/auth/token/create", false);
        }
        check("/v1/auth/token/create/**", "/v1/auth/token/create/app", false);
        check("/v1/auth/approle/role/**", "/v1/auth/approle/role/app/secret-id", false);
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_a_panic(path in "/[a-z0-9%/]{0,60}") {
            let _ = call(&Method::POST, &path);
        }

        #[test]
        fn escapes_hide_nothing(at in 0_usize..21, lower: bool) {
            let path = "/v1/auth/token/create";
            let Some(sign) = path.as_bytes().get(at).filter(|sign| **sign != b'/') else { return Ok(()) };
            let escape = if lower { format!("%{sign:02x}") } else { format!("%{sign:02X}") };
            let escaped = format!("{}{escape}{}", &path[..at], &path[at + 1..]);
            prop_assert_eq!(call(&Method::POST, &escaped), call(&Method::POST, path));
        }
    }
}
