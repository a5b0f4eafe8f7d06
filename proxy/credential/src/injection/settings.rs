//! Reads `inject`, `strip` and `guard` of `[service.NAME]`.
//!
//! ```toml
//! inject = "bearer"                                  # one, or a list
//! inject = [
//!     { bearer = true, from = "api" },               # `from`: a named field of the credential
//!     { basic = "user" },                            # the credential is the password
//!     { basic = "", as = "username" },               # the credential is the username
//!     { header = "x-api-key" },
//!     { header = "authorization", prefix = "token " },
//!     { query = "key" },
//!     { cookie = "session" },
//!     { path = "/bot{credential}", placeholder = "CLAVIGER" },
//!     { placeholder = "CLAVIGER_KEY", in = ["header:x-key", "query", "body"], body_limit = "64KiB" },
//!     "client-certificate",                          # the credential is a certificate, shown in TLS
//!     { basic = true, hosts = ["auth.x.com"] },      # the client says the user name; at this host of the service only
//!     { keep = "authorization", hosts = ["x.com"] }, # what the client sends there is its own, and stays
//! ]
//! strip = ["x-other-key", "query:key"]               # request headers and parameters that never pass
//! guard = true                                       # mask what the upstream reflects
//! ```

mod hosts;
mod kinds;
mod parse;

use claviger_policy::document::{Diagnostics, Item, Located, Location, Table, Value, nearest};
use claviger_policy::{HostPattern, Scheme};
use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE};

use self::hosts::{Scope, overlap};
use self::kinds::prefix_form;
use self::parse::{cookie_name, field, parameter_name, strip_header};
use super::InjectionPlan;
use super::path::PathSlot;
use super::slots::{HeaderSlot, NamedSlot, Placeholder};

const KINDS: [&str; 10] =
    ["bearer", "basic", "header", "query", "cookie", "path", "placeholder", "keep", "sigv4", "client-certificate"];

const HELP: &str = "write `\"bearer\"`, or a table with one of `bearer`, `basic`, `header`, `query`, `cookie`, `path`, \
                    `placeholder`, as `{ header = \"x-api-key\" }`; or `\"client-certificate\"`";

impl InjectionPlan {
    /// Takes `inject`, `strip` and `guard` (default `true`) from a service's table. `None` if none of them is written,
    /// where [`InjectionPlan::default`] holds, or if there are errors, which go to `out`.
    ///
    /// `hosts` are the service's, to which an injection may be limited; empty if they are wrong themselves.
    pub fn take(table: &mut Table, hosts: &[HostPattern], scheme: Scheme, out: &mut Diagnostics) -> Option<Self> {
        let inject = table.take("inject");
        let strip = table.strings("strip", out);
        let strip_key = table.key_of("strip");
        let written = inject.is_some() || strip.is_some() || table.has("guard");
        let guard = table.boolean("guard", out).is_none_or(|guard| guard.value);
        let mut reading = Reading::new(out, hosts, scheme);
        if let Some(item) = inject {
            reading.list(item);
        }
        for name in strip.into_iter().flatten() {
            reading.strip(name, &strip_key);
        }
        let plan = reading.finish(guard)?;
        written.then_some(plan)
    }
}

/// What one place of a request is called, to find two injections into it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    Header(HeaderName),
    Query(Box<str>),
    Cookie(Box<str>),
    Certificate,
}

impl Claim {
    fn describe(&self) -> String {
        match self {
            Self::Header(name) => format!("the header `{name}`"),
            Self::Query(name) => format!("the query parameter `{name}`"),
            Self::Cookie(name) => format!("the cookie `{name}`"),
            Self::Certificate => "the client certificate".to_owned(),
        }
    }
}

/// The plan so far, each part with the hosts that it is for, and who claimed what.
struct Reading<'a> {
    /// The service's hosts, and the port that they have where none is written.
    hosts: &'a [HostPattern],
    scheme: Scheme,
    /// Of the injection that is being read.
    scope: Scope,
    headers: Vec<(Scope, HeaderSlot)>,
    query: Vec<(Scope, NamedSlot)>,
    cookies: Vec<(Scope, NamedSlot)>,
    paths: Vec<(Scope, PathSlot)>,
    placeholders: Vec<(Scope, Placeholder)>,
    certificates: Vec<(Scope, ())>,
    kept: Vec<(Scope, Located<HeaderName>)>,
    stripped: Vec<HeaderName>,
    body_limit: usize,
    claims: Vec<(Claim, Location, Scope)>,
    texts: Vec<Location>,
    out: &'a mut Diagnostics,
    failed: bool,
}

impl<'a> Reading<'a> {
    fn new(out: &'a mut Diagnostics, hosts: &'a [HostPattern], scheme: Scheme) -> Self {
        Self {
            hosts,
            scheme,
            scope: None,
            headers: Vec::new(),
            query: Vec::new(),
            cookies: Vec::new(),
            paths: Vec::new(),
            placeholders: Vec::new(),
            certificates: Vec::new(),
            kept: Vec::new(),
            stripped: Vec::new(),
            body_limit: 0,
            claims: Vec::new(),
            texts: Vec::new(),
            out,
            failed: false,
        }
    }

    fn error(&mut self, location: &Location, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.failed = true;
        self.out.error(location, key, message).help(help);
    }

    fn list(&mut self, item: Item) {
        match item.value {
            Value::Array(items) if items.is_empty() => {
                self.error(&item.location, &item.key, "the list is empty", "leave the key out to inject nothing");
            }
            Value::Array(items) => items.into_iter().for_each(|item| self.item(item)),
            _ => self.item(item),
        }
    }

    fn item(&mut self, item: Item) {
        let before = self.out.iter().count();
        self.scope = None;
        match item.value {
            Value::String(word) => self.word(&word, &item.location, &item.key),
            Value::Table(table) => self.table(table, &item.location, &item.key),
            _ => self.error(&item.location, &item.key, "expected an injection", HELP),
        }
        // Errors that `document` reported count too.
        self.failed |= self.out.iter().count() > before && self.out.has_errors();
    }

    fn word(&mut self, word: &str, location: &Location, key: &str) {
        match word {
            "bearer" => self.header(AUTHORIZATION, prefix_form("Bearer "), None, location, key),
            "client-certificate" => self.certificate(location, key),
            "sigv4" => self.unsupported(word, location, key),
            _ if KINDS.contains(&word) => {
                let help = match word {
                    "basic" => "write `{ basic = \"USERNAME\" }`; the credential is the password".to_owned(),
                    _ => format!("write a table, as `{{ {word} = \"…\" }}`"),
                };
                self.error(location, key, format!("`{word}` needs to say more"), help);
            }
            _ => {
                let help = match nearest(word, KINDS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => HELP.to_owned(),
                };
                self.error(location, key, format!("`{word}` is not an injection"), help);
            }
        }
    }

    fn unsupported(&mut self, kind: &str, location: &Location, key: &str) {
        self.error(location, key, format!("`{kind}` is not supported yet"), HELP);
    }

    fn table(&mut self, mut table: Table, location: &Location, key: &str) {
        // `path` has a `placeholder` of its own.
        let is_kind = |kind: &&str| table.has(kind) && !(*kind == "placeholder" && table.has("path"));
        let kinds: Vec<&str> = KINDS.into_iter().filter(is_kind).collect();
        let kind = match kinds.as_slice() {
            [kind] => *kind,
            [] => {
                for kind in KINDS {
                    table.take(kind);
                }
                table.finish(self.out);
                return self.error(location, key, "this says no place", HELP);
            }
            [first, second, ..] => {
                let message = format!("`{first}` and `{second}` are two places");
                return self.error(location, key, message, "write a table for each in the list");
            }
        };
        self.scope = self.take_hosts(&mut table, key);
        if kind == "keep" {
            self.take_keep(&mut table, location, key);
            return table.finish(self.out);
        }
        let from = field(&mut table, self.out);
        match kind {
            "bearer" => self.take_bearer(&mut table, from, location, key),
            "basic" => self.take_basic(&mut table, from, location, key),
            "header" => self.take_header(&mut table, from, key),
            "query" => self.take_named(&mut table, "query", from, key),
            "cookie" => self.take_named(&mut table, "cookie", from, key),
            "path" => self.take_path(&mut table, from, key),
            "placeholder" => self.take_placeholder(&mut table, from, key),
            "client-certificate" => self.take_certificate(&mut table, from.is_some(), location, key),
            _ => return self.unsupported(kind, location, key),
        }
        table.finish(self.out);
    }

    fn strip(&mut self, name: Located<String>, key: &str) {
        let Located { value, location } = name;
        let place = value.split_once(':');
        let stripped = match place {
            Some(("query", name)) => parameter_name(name).map(Claim::Query),
            Some(("cookie", name)) => cookie_name(name).map(Claim::Cookie),
            Some(_) | None => strip_header(&value).map(Claim::Header),
        };
        let holds = |name: &HeaderName| self.placeholders.iter().any(|(_, slot)| slot.headers.contains(name));
        let message = match stripped {
            Err(message) => message,
            Ok(Claim::Header(name)) if holds(&name) => {
                format!("`{name}` holds a placeholder, which would be stripped before it is found")
            }
            Ok(Claim::Header(name)) => return self.stripped.push(name),
            Ok(Claim::Query(name)) => return self.query.push((None, NamedSlot { name, field: None, fill: false })),
            // No name of anything stands for it.
            Ok(Claim::Certificate) => return,
            Ok(Claim::Cookie(name)) => return self.cookies.push((None, NamedSlot { name, field: None, fill: false })),
        };
        let help = "write the name of a request header that is not to pass, or `query:NAME`, `cookie:NAME`";
        self.error(&location, key, message, help);
    }

    /// Says whether the place was free.
    fn claim(&mut self, claim: Claim, location: &Location, key: &str) -> bool {
        // Names of parameters that differ in case only are one for some servers.
        let same = |other: &Claim| match (other, &claim) {
            (Claim::Query(a), Claim::Query(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        };
        let scope = self.scope.clone();
        if let Some((_, first, _)) =
            self.claims.iter().find(|(other, _, hosts)| same(other) && overlap(hosts.as_deref(), scope.as_deref()))
        {
            let message = format!("{} is filled twice, first at {first}", claim.describe());
            self.error(location, key, message, "keep one of them");
            return false;
        }
        self.claims.push((claim, location.clone(), scope));
        true
    }
}

/// Headers that frame, route or hop, and those with an injection of their own.
fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [&str; 13] = [
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "proxy-authorization",
        "proxy-connection",
    ];
    RESERVED.contains(&name.as_str())
}

fn is_cookie(name: &HeaderName) -> bool {
    name == COOKIE
}
