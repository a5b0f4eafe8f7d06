//! `auth`, and the keys that belong to it.

use claviger_policy::document::{Diagnostics, Table};

use super::ClientAuth;
use crate::digest::Digester;
use crate::source::client_certificate::CertificateSource;
use crate::source::oauth2::assertion::Assertion;
use crate::source::oauth2::grant::GrantEnv;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    None,
    Basic,
    Post,
    Assertion,
    Certificate,
    SelfSigned,
}

/// By the names that RFC 7591 §2 and RFC 8705 §2 register.
const METHODS: &[(&str, Method)] = &[
    ("client_secret_basic", Method::Basic),
    ("client_secret_post", Method::Post),
    ("private_key_jwt", Method::Assertion),
    ("tls_client_auth", Method::Certificate),
    ("self_signed_tls_client_auth", Method::SelfSigned),
    ("none", Method::None),
];

/// The keys of which each method has one, and the method that one of them means where `auth` is not written.
const KEYS: &[(&str, Method)] = &[
    ("client_secret", Method::Basic),
    ("client_assertion", Method::Assertion),
    ("client_certificate", Method::Certificate),
];

impl Method {
    fn key(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Basic | Self::Post => Some("client_secret"),
            Self::Assertion => Some("client_assertion"),
            Self::Certificate | Self::SelfSigned => Some("client_certificate"),
        }
    }
}

/// Takes `auth`, and `client_secret`, `client_assertion` or `client_certificate`. `optional`: the grant may do without.
pub(in crate::source::oauth2) fn take(
    table: &mut Table,
    optional: bool,
    digester: Digester,
    env: &GrantEnv<'_>,
    out: &mut Diagnostics,
) -> Option<(ClientAuth, Digester)> {
    let Some(method) = take_method(table, optional, out) else {
        // Which of them it needs is not known: they are no mistakes of their own.
        KEYS.iter().for_each(|(key, _)| _ = table.take(key));
        return None;
    };
    refuse_others(method, table, out);
    let auth = match method {
        Method::None => ClientAuth::None,
        Method::Basic | Method::Post => {
            let text = table.required_string("client_secret", out)?;
            let key = table.key_of("client_secret");
            let handle = env.source.stores.find(&text, &key, out)?;
            (env.check)(&handle, &text, &key, out)?;
            if method == Method::Basic { ClientAuth::Basic(handle) } else { ClientAuth::Post(handle) }
        }
        Method::Assertion => {
            require("client_assertion", "{ key = \"secret://…\", alg = \"ES256\" }", table, out);
            let assertion = table.table("client_assertion", out)?;
            ClientAuth::Assertion(Assertion::take(assertion, false, env.has_issuer, env.check, env.source, out)?)
        }
        Method::Certificate | Method::SelfSigned => {
            require("client_certificate", "{ certificate = \"FILE.pem\", key = \"secret://…\" }", table, out);
            let mut pair = table.table("client_certificate", out)?;
            let of = CertificateSource::take(&mut pair, env.source.stores, out, env.check);
            pair.finish(out);
            ClientAuth::Certificate { of: of?, self_signed: method == Method::SelfSigned }
        }
    };
    let digester = digester.field("auth", auth.name());
    let digester = match &auth {
        ClientAuth::None => digester,
        ClientAuth::Basic(handle) | ClientAuth::Post(handle) => {
            digester.field("client_secret", env.source.stores.digest_of(handle))
        }
        ClientAuth::Assertion(assertion) => assertion.digest(env.source, digester),
        ClientAuth::Certificate { of, .. } => of.digest(env.source.stores, digester),
    };
    Some((auth, digester))
}

/// What is written, or what the other keys mean.
fn take_method(table: &mut Table, optional: bool, out: &mut Diagnostics) -> Option<Method> {
    let is_written = table.has("auth");
    match table.choice("auth", METHODS, out) {
        Some(method) => Some(method.value),
        None if is_written => None,
        None => {
            let meant = KEYS.iter().find(|(key, _)| table.has(key)).map(|(_, method)| *method);
            Some(meant.unwrap_or(if optional { Method::None } else { Method::Basic }))
        }
    }
}

fn require(name: &'static str, example: &str, table: &Table, out: &mut Diagnostics) {
    if !table.has(name) {
        table.missing(name, out).help(format!("write `{name} = {example}`"));
    }
}

/// A key that the method has no use for is a mistake of one or the other.
fn refuse_others(method: Method, table: &mut Table, out: &mut Diagnostics) {
    for (key, means) in KEYS.iter().filter(|(key, _)| method.key() != Some(key)) {
        let place = table.place_of(key).cloned();
        // Known here, also where it is not written.
        table.take(key);
        let Some(place) = place else { continue };
        let name = |wanted: Method| METHODS.iter().find(|(_, method)| *method == wanted).map_or("", |(name, _)| name);
        out.error(&place, table.key_of(key), format!("`auth = \"{}\"` has no use for it", name(method)))
            .help(format!("leave it out, or write `auth = \"{}\"`", name(*means)));
    }
}
