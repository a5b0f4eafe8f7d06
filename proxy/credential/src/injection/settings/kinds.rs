//! One reader for each kind of injection.

use std::sync::Arc;

use claviger_policy::Scheme;
use claviger_policy::document::{Item, Located, Location, Table, Value};
use http::HeaderName;
use http::header::AUTHORIZATION;

use super::super::header::{Form, Half, Recipe};
use super::super::path::PathSlot;
use super::super::slots::{HeaderSlot, NamedSlot, Placeholder};
use super::super::value::Field;
use super::hosts::overlap;
use super::parse::{self, cookie_name, free_header, parameter_name, placeholder_text};
use super::{Claim, Reading};

/// How much of a body is searched for placeholders unless `body_limit` says otherwise.
const BODY_LIMIT: u64 = 64 << 10;
/// The most that `body_limit` may say.
const BODY_LIMIT_MAX: u64 = 16 << 20;

impl Reading<'_> {
    pub(super) fn take_bearer(&mut self, table: &mut Table, from: Field, location: &Location, key: &str) {
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

    pub(super) fn take_basic(&mut self, table: &mut Table, from: Field, location: &Location, key: &str) {
        let halves = [("password", Half::Password), ("username", Half::Username)];
        let credential = table.choice("as", &halves, self.out);
        let other = match table.take("basic") {
            Some(Item { value: Value::Boolean(true), .. }) => {
                if let Some(Located { location, .. }) = credential {
                    let message = "with `basic = true` the credential is the password";
                    return self.error(&location, key, message, "leave `as` out, or write the other half as a text");
                }
                return self.header(AUTHORIZATION, Form::BasicOfClient, from, location, key);
            }
            Some(Item { value: Value::Boolean(false), location, .. }) => {
                let help = "write the user name, or `true` where the client says it";
                return self.error(&location, key, "`basic` cannot be `false`", help);
            }
            Some(item) => item.into_string(self.out),
            None => None,
        };
        let (Some(other), credential) = (other, credential.map_or(Half::Password, |half| half.value)) else { return };
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

    pub(super) fn take_header(&mut self, table: &mut Table, from: Field, key: &str) {
        let name = table.parsed("header", self.out, free_header);
        let prefix = table.parsed("prefix", self.out, parse::prefix);
        if let Some(name) = name {
            let form = prefix_form(prefix.as_ref().map_or("", |prefix| &prefix.value));
            self.header(name.value, form, from, &name.location, key);
        }
    }

    /// `{ client-certificate = true, hosts = […] }`.
    pub(super) fn take_certificate(&mut self, table: &mut Table, from: bool, location: &Location, key: &str) {
        if from {
            let help =
                "leave `from` out: the fields `certificate`, `private_key` and, if there is one, `chain` are used";
            self.error(location, key, "a client certificate has fields of fixed names", help);
        }
        match table.boolean("client-certificate", self.out) {
            Some(Located { value: true, .. }) => self.certificate(location, key),
            Some(Located { location, .. }) => {
                self.error(&location, key, "`client-certificate` can only be `true`", "leave the injection out");
            }
            None => {}
        }
    }

    pub(super) fn certificate(&mut self, location: &Location, key: &str) {
        if self.scheme == Scheme::Http {
            let help = "leave `cleartext` out: a certificate is shown in TLS";
            self.error(location, key, "a client certificate needs TLS, and the service is cleartext", help);
        }
        if self.claim(Claim::Certificate, location, key) {
            self.certificates.push((self.scope.clone(), ()));
        }
    }

    /// `keep`: a header that is a slot at another host, and the client's own at these.
    pub(super) fn take_keep(&mut self, table: &mut Table, location: &Location, key: &str) {
        let Some(name) = table.parsed("keep", self.out, free_header) else { return };
        if self.scope.is_none() {
            let help = "write the hosts where the client's own may pass, as `hosts = [\"registry.example.com\"]`";
            return self.error(location, key, "`keep` needs `hosts`", help);
        }
        if self.claim(Claim::Header(name.value.clone()), &name.location, key) {
            self.kept.push((self.scope.clone(), name));
        }
    }

    pub(super) fn header(&mut self, name: HeaderName, form: Form, field: Field, location: &Location, key: &str) {
        if self.claim(Claim::Header(name.clone()), location, key) {
            self.headers.push((self.scope.clone(), HeaderSlot { name, recipe: Arc::new(Recipe { field, form }) }));
        }
    }

    pub(super) fn take_named(&mut self, table: &mut Table, kind: &'static str, field: Field, key: &str) {
        let is_query = kind == "query";
        let parse = if is_query { parameter_name } else { cookie_name };
        let Some(name) = table.parsed(kind, self.out, parse) else { return };
        let claim = if is_query { Claim::Query } else { Claim::Cookie };
        if self.claim(claim(name.value.clone()), &name.location, key) {
            let slots = if is_query { &mut self.query } else { &mut self.cookies };
            slots.push((self.scope.clone(), NamedSlot { name: name.value, field, fill: true }));
        }
    }

    pub(super) fn take_path(&mut self, table: &mut Table, field: Field, key: &str) {
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
            Ok(slot) => match self
                .paths
                .iter()
                .find(|(hosts, other)| other.overlaps(&slot) && overlap(hosts.as_deref(), self.scope.as_deref()))
            {
                Some((_, other)) => {
                    let message = format!("`{}` and `{}` can be the same segment", slot.pattern, other.pattern);
                    self.error(&pattern.location, key, message, "keep one of them");
                }
                None => self.paths.push((self.scope.clone(), slot)),
            },
        }
    }

    pub(super) fn take_placeholder(&mut self, table: &mut Table, field: Field, key: &str) {
        let limit = table.size("body_limit", self.out);
        let places = table.strings("in", self.out);
        let Some(text) = table.parsed("placeholder", self.out, placeholder_text) else { return };
        let Located { value: text, location } = text;
        let nested = |other: &Placeholder| other.text.contains(&*text) || text.contains(&*other.text);
        if let Some(at) = self.placeholders.iter().position(|(_, other)| nested(other)) {
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
        self.placeholders.push((self.scope.clone(), placeholder));
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
            self.body_limit = self.body_limit.max(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
    }
}

pub(super) fn prefix_form(prefix: &str) -> Form {
    Form::Prefix(prefix.into())
}
