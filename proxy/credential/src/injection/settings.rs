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
//! ]
//! strip = ["x-other-key"]                            # request headers that never pass
//! guard = true                                       # mask what the upstream reflects
//! ```

mod parse;

use std::sync::Arc;

use claviger_policy::document::{Diagnostics, Item, Located, Location, Table, Value, nearest};
use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE};

use self::parse::{cookie_name, field, free_header, parameter_name, placeholder_text, strip_header};
use super::InjectionPlan;
use super::header::{Form, Half, Recipe};
use super::path::PathSlot;
use super::plan::{HeaderSlot, NamedSlot, Placeholder};
use super::value::Field;

/// How much of a body is searched for placeholders unless `body_limit` says otherwise.
const BODY_LIMIT: u64 = 64 << 10;
/// The most that `body_limit` may say.
const BODY_LIMIT_MAX: u64 = 16 << 20;

const KINDS: [&str; 9] =
    ["bearer", "basic", "header", "query", "cookie", "path", "placeholder", "sigv4", "client-certificate"];

const HELP: &str = "write `\"bearer\"`, or a table with one of `bearer`, `basic`, `header`, `query`, `cookie`, `path`, \
                    `placeholder`, as `{ header = \"x-api-key\" }`";

impl InjectionPlan {
    /// Takes `inject`, `strip` and `guard` (default `true`) from a service's table. `None` if none of them is written,
    /// where [`InjectionPlan::default`] holds, or if there are errors, which go to `out`.
    pub fn take(table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let inject = table.take("inject");
        let strip = table.strings("strip", out);
        let strip_key = table.key_of("strip");
        let written = inject.is_some() || strip.is_some() || table.has("guard");
        let guard = table.boolean("guard", out).is_none_or(|guard| guard.value);
        let mut reading = Reading::new(out, guard);
        if let Some(item) = inject {
            reading.list(item);
        }
        for name in strip.into_iter().flatten() {
            reading.strip(name, &strip_key);
        }
        let plan = reading.finish()?;
        written.then_some(plan)
    }
}

/// What one place of a request is called, to find two injections into it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    Header(HeaderName),
    Query(Box<str>),
    Cookie(Box<str>),
}

impl Claim {
    fn describe(&self) -> String {
        match self {
            Self::Header(name) => format!("the header `{name}`"),
            Self::Query(name) => format!("the query parameter `{name}`"),
            Self::Cookie(name) => format!("the cookie `{name}`"),
        }
    }
}

/// The plan so far, and who claimed what.
struct Reading<'a> {
    plan: InjectionPlan,
    claims: Vec<(Claim, Location)>,
    texts: Vec<Location>,
    out: &'a mut Diagnostics,
    failed: bool,
}

impl<'a> Reading<'a> {
    fn new(out: &'a mut Diagnostics, guard: bool) -> Self {
        let plan = InjectionPlan { guard, ..InjectionPlan::default() };
        Self { plan, claims: Vec::new(), texts: Vec::new(), out, failed: false }
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
            "sigv4" | "client-certificate" => self.unsupported(word, location, key),
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
        let from = field(&mut table, self.out);
        match kind {
            "bearer" => self.take_bearer(&mut table, from, location, key),
            "basic" => self.take_basic(&mut table, from, location, key),
            "header" => self.take_header(&mut table, from, key),
            "query" => self.take_named(&mut table, "query", from, key),
            "cookie" => self.take_named(&mut table, "cookie", from, key),
            "path" => self.take_path(&mut table, from, key),
            "placeholder" => self.take_placeholder(&mut table, from, key),
            _ => return self.unsupported(kind, location, key),
        }
        table.finish(self.out);
    }

    fn take_bearer(&mut self, table: &mut Table, from: Field, location: &Location, key: &str) {
        match table.boolean("bearer", self.out) {
            Some(Located { value: true, .. }) => {
                self.header(AUTHORIZATION, prefix_form("Bearer "), from, location, key);
            }
            Some(Located { location, .. }) => {
                self.error(&location, key, "`bearer` can only be `true`", "leave the injection out");
            }
            None => {}
        }
    }

    fn take_basic(&mut self, table: &mut Table, from: Field, location: &Location, key: &str) {
        let halves = [("password", Half::Password), ("username", Half::Username)];
        let credential = table.choice("as", &halves, self.out).map_or(Half::Password, |half| half.value);
        let Some(other) = table.string("basic", self.out) else { return };
        if other.value.contains(':') && credential == Half::Password {
            let help = "a username has no colon; the credential is the password";
            return self.error(&other.location, key, format!("`{}` has a colon", other.value), help);
        }
        if other.value.chars().any(char::is_control) {
            return self.error(&other.location, key, "it has a control character", "write printable characters");
        }
        let form = Form::Basic { other: other.value.into(), credential };
        self.header(AUTHORIZATION, form, from, location, key);
    }

    fn take_header(&mut self, table: &mut Table, from: Field, key: &str) {
        let name = table.parsed("header", self.out, free_header);
        let prefix = table.parsed("prefix", self.out, parse::prefix);
        if let Some(name) = name {
            let form = prefix_form(prefix.as_ref().map_or("", |prefix| &prefix.value));
            self.header(name.value, form, from, &name.location, key);
        }
    }

    fn header(&mut self, name: HeaderName, form: Form, field: Field, location: &Location, key: &str) {
        if self.claim(Claim::Header(name.clone()), location, key) {
            self.plan.headers.push(HeaderSlot { name, recipe: Arc::new(Recipe { field, form }) });
        }
    }

    fn take_named(&mut self, table: &mut Table, kind: &'static str, field: Field, key: &str) {
        let is_query = kind == "query";
        let parse = if is_query { parameter_name } else { cookie_name };
        let Some(name) = table.parsed(kind, self.out, parse) else { return };
        let claim = if is_query { Claim::Query } else { Claim::Cookie };
        if self.claim(claim(name.value.clone()), &name.location, key) {
            let slots = if is_query { &mut self.plan.query } else { &mut self.plan.cookies };
            slots.push(NamedSlot { name: name.value, field });
        }
    }

    fn take_path(&mut self, table: &mut Table, field: Field, key: &str) {
        let placeholder = table.string("placeholder", self.out).map(|text| text.value);
        let placeholder = placeholder.unwrap_or_else(|| "CLAVIGER".to_owned());
        let parse = |pattern: &str| {
            let wrong = |problem| format!("`{pattern}` is not a path with a slot: {problem}");
            PathSlot::parse(pattern, &placeholder, field).map_err(wrong)
        };
        let help = "write the path up to the segment that holds the credential, as `/bot{credential}`; \
                    the client writes the placeholder there";
        let Some(pattern) = table.string("path", self.out) else { return };
        match parse(&pattern.value) {
            Err(message) => self.error(&pattern.location, key, message, help),
            Ok(slot) => match self.plan.paths.iter().find(|other| other.overlaps(&slot)) {
                Some(other) => {
                    let message = format!("`{}` and `{}` can be the same segment", slot.pattern, other.pattern);
                    self.error(&pattern.location, key, message, "keep one of them");
                }
                None => self.plan.paths.push(slot),
            },
        }
    }

    fn take_placeholder(&mut self, table: &mut Table, field: Field, key: &str) {
        let limit = table.size("body_limit", self.out);
        let places = table.strings("in", self.out);
        let Some(text) = table.parsed("placeholder", self.out, placeholder_text) else { return };
        let Located { value: text, location } = text;
        let nested = |other: &Placeholder| other.text.contains(&*text) || text.contains(&*other.text);
        if let Some(at) = self.plan.placeholders.iter().position(nested) {
            let first = self.texts.get(at).map(ToString::to_string).unwrap_or_default();
            let message = format!("`{text}` and the placeholder at {first} are not distinct");
            return self.error(&location, key, message, "no placeholder may contain another");
        }
        let mut placeholder = Placeholder { text, field, headers: Vec::new(), query: false, body: false };
        let Some(places) = places.filter(|places| !places.is_empty()) else {
            let help = "write where it may stand, as `in = [\"header:x-key\", \"query\", \"body\"]`";
            return self.error(&location, key, "a placeholder needs `in`", help);
        };
        for place in places {
            self.place(place, &mut placeholder, key);
        }
        self.limit(limit, placeholder.body, key);
        self.texts.push(location);
        self.plan.placeholders.push(placeholder);
    }

    fn place(&mut self, place: Located<String>, placeholder: &mut Placeholder, key: &str) {
        let Located { value, location } = place;
        match (value.as_str(), value.strip_prefix("header:")) {
            ("query", _) => placeholder.query = true,
            ("body", _) => placeholder.body = true,
            (_, Some(name)) => match free_header(name) {
                Ok(name) if placeholder.headers.contains(&name) => {}
                Ok(name) => {
                    if self.claim(Claim::Header(name.clone()), &location, key) {
                        placeholder.headers.push(name);
                    }
                }
                Err(message) => self.error(&location, key, message, "write `header:NAME`"),
            },
            _ => {
                let message = format!("`{value}` is not a place of a placeholder");
                self.error(&location, key, message, "write `header:NAME`, `query` or `body`");
            }
        }
    }

    fn limit(&mut self, limit: Option<Located<u64>>, in_body: bool, key: &str) {
        let bytes = limit.as_ref().map_or(BODY_LIMIT, |limit| limit.value);
        if let Some(limit) = &limit {
            if !in_body {
                return self.error(
                    &limit.location,
                    key,
                    "`body_limit` is for a placeholder in the body",
                    "leave it out",
                );
            }
            if !(1..=BODY_LIMIT_MAX).contains(&limit.value) {
                return self.error(
                    &limit.location,
                    key,
                    "the limit is not from 1 to 16MiB",
                    "write a size, as `64KiB`",
                );
            }
        }
        if in_body {
            self.plan.body_limit = self.plan.body_limit.max(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
    }

    fn strip(&mut self, name: Located<String>, key: &str) {
        let message = match strip_header(&name.value) {
            Err(message) => message,
            Ok(name) if self.plan.placeholders.iter().any(|placeholder| placeholder.headers.contains(&name)) => {
                format!("`{name}` holds a placeholder, which would be stripped before it is found")
            }
            Ok(name) => {
                if !self.plan.removed.contains(&name) {
                    self.plan.removed.push(name);
                }
                return;
            }
        };
        self.error(&name.location, key, message, "write the name of a request header that is not to pass");
    }

    /// Says whether the place was free.
    fn claim(&mut self, claim: Claim, location: &Location, key: &str) -> bool {
        // Names of parameters that differ in case only are one for some servers.
        let same = |other: &Claim| match (other, &claim) {
            (Claim::Query(a), Claim::Query(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        };
        if let Some((_, first)) = self.claims.iter().find(|(other, _)| same(other)) {
            let message = format!("{} is filled twice, first at {first}", claim.describe());
            self.error(location, key, message, "keep one of them");
            return false;
        }
        self.claims.push((claim, location.clone()));
        true
    }

    fn finish(mut self) -> Option<InjectionPlan> {
        let slots = self.plan.headers.iter().map(|slot| slot.name.clone());
        for name in slots.collect::<Vec<_>>() {
            if !self.plan.removed.contains(&name) {
                self.plan.removed.push(name);
            }
        }
        (!self.failed).then_some(self.plan)
    }
}

fn prefix_form(prefix: &str) -> Form {
    Form::Prefix(prefix.into())
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
