//! What credentials in the files of a team may reach: its secrets, the hosts of its services, and the token endpoints
//! that the platform names.

use std::fmt;

use claviger_contract::Reach;
use claviger_policy::document::{Diagnostics, Located, Location, Table, nearest};

use crate::binding::{BoundHost, list};
use crate::reference::{ReferenceError, SecretReference};

/// The sources that a team may use: those of which every key that reaches out is checked against a [`TeamScope`].
/// A new source is not among them until it does so.
const KINDS: &[&str] = &["static", "oauth2"];

/// The bounds of one team, as credentials see them.
#[derive(Clone, Debug)]
pub struct TeamScope {
    name: String,
    location: Location,
    secrets: Vec<Located<SecretPattern>>,
    /// Of its services.
    hosts: Vec<BoundHost>,
    token_hosts: Vec<BoundHost>,
    /// How its token endpoints may be reached: the platform's word.
    reach: Reach,
    settled: bool,
}

impl TeamScope {
    /// Takes `secrets`, `token_hosts`, `allow_addresses` and `ca` from `[team.NAME]`. `hosts` are those of its services.
    pub fn take(name: &Located<String>, table: &mut Table, hosts: Vec<BoundHost>, out: &mut Diagnostics) -> Self {
        let secrets = parse_all(table, "secrets", out, |text| SecretPattern::parse(text).map_err(|e| e.to_string()));
        let token_hosts =
            parse_all(table, "token_hosts", out, |text| BoundHost::parse(text).map_err(|error| error.to_string()));
        let token_hosts = token_hosts.into_iter().map(|host| host.value).collect();
        let reach = Reach::take(table, out);
        Self {
            name: name.value.clone(),
            location: name.location.clone(),
            secrets,
            hosts,
            token_hosts,
            reach,
            settled: false,
        }
    }

    /// The same scope for files that have been in force: a secret that cannot be read now is no error in them, or a
    /// team could hold up everybody by taking one away. Whoever asks for it is refused.
    #[must_use]
    pub fn settle(self) -> Self {
        Self { settled: true, ..self }
    }

    /// Whether what stands at a place has been in force.
    pub(crate) fn is_settled(place: &Location, scopes: &[Self]) -> bool {
        Self::of(place, scopes).is_ok_and(|scope| scope.is_some_and(|scope| scope.settled))
    }

    /// The scope of what stands at a place. `Ok(None)`: the platform's, without bounds. `Err`: of a team whose own
    /// table is wrong, which is said there.
    pub(crate) fn of<'a>(place: &Location, scopes: &'a [Self]) -> Result<Option<&'a Self>, ()> {
        match place.team() {
            None => Ok(None),
            Some(team) => scopes.iter().find(|scope| *scope.name == **team).map(Some).ok_or(()),
        }
    }

    /// Every store that its secrets name is there.
    pub(crate) fn check_stores<'a>(
        &self,
        is_known: impl Fn(&str) -> bool,
        all: impl Fn() -> Vec<&'a str>,
        out: &mut Diagnostics,
    ) {
        for pattern in self.secrets.iter().filter(|pattern| !is_known(&pattern.value.store)) {
            let store = &pattern.value.store;
            let found = out.error(
                &pattern.location,
                format!("team.{}.secrets", self.name),
                format!("there is no store `{store}`"),
            );
            match nearest(store, all()) {
                Some(near) => found.help(format!("did you mean `{near}`?")),
                None => found.help(format!("define `[store.{store}]`")),
            };
        }
    }

    /// Whether the team may read it.
    pub(crate) fn check_secret(
        &self,
        written: &Located<String>,
        reference: &SecretReference,
        key: &str,
        out: &mut Diagnostics,
    ) -> bool {
        let covered = self.secrets.iter().any(|pattern| pattern.value.covers(reference));
        if !covered {
            let all: Vec<String> = self.secrets.iter().map(|pattern| format!("`{}`", pattern.value)).collect();
            let all = if all.is_empty() { "it has none".to_owned() } else { format!("they are {}", all.join(", ")) };
            out.error(&written.location, key, format!("`{reference}` is beyond the secrets of team `{}`", self.name))
                .help(format!("{all}: the platform says so at {}", self.location));
        }
        covered
    }

    /// Whether the team may use this kind of source.
    pub(crate) fn check_kind(&self, kind: &Located<String>, key: &str, out: &mut Diagnostics) -> bool {
        let may = KINDS.contains(&kind.value.as_str());
        if !may {
            let message = format!("a team may not define credentials of kind `{}`", kind.value);
            out.error(&kind.location, key, message)
                .help(format!("the platform may define it, and lend it by `credentials` of `[team.{}]`", self.name));
        }
        may
    }

    /// Whether the team may send a value there.
    pub(crate) fn check_host(&self, host: &BoundHost, place: &Location, key: &str, out: &mut Diagnostics) -> bool {
        let within = self.hosts.iter().any(|own| own.covers(host));
        if !within {
            out.error(place, key, format!("`{host}` is no host of a service of team `{}`", self.name)).help(format!(
                "its services have {}: the platform says so at {}",
                shown(&self.hosts),
                self.location
            ));
        }
        within
    }

    /// Whether the team's client secrets may go to this endpoint.
    pub(crate) fn check_endpoint(
        &self,
        endpoint: &BoundHost,
        place: &Location,
        key: &str,
        out: &mut Diagnostics,
    ) -> bool {
        let within = self.hosts.iter().chain(&self.token_hosts).any(|own| own.covers(endpoint));
        if !within {
            out.error(place, key, format!("team `{}` may not ask for tokens at `{endpoint}`", self.name)).help(
                format!(
                    "the platform names token endpoints by `token_hosts` of `[team.{}]` ({})",
                    self.name, self.location
                ),
            );
        }
        within
    }

    /// How its calls may travel. What the team's file says of that itself is an error: an address of the inner
    /// network, or a file that Claviger would read, is not the team's to name.
    pub(crate) fn reach(&self, table: &mut Table, out: &mut Diagnostics) -> Reach {
        for key in ["allow_addresses", "ca"] {
            let written = table.place_of(key).cloned();
            if let Some(place) = written
                && table.take(key).is_some()
            {
                out.error(&place, table.key_of(key), "a team's file may not say this")
                    .help(format!("the platform may, in `[team.{}]` ({})", self.name, self.location));
            }
        }
        self.reach.clone()
    }
}

fn shown(hosts: &[BoundHost]) -> String {
    if hosts.is_empty() { "none".to_owned() } else { list(hosts) }
}

fn parse_all<T>(
    table: &mut Table,
    key: &'static str,
    out: &mut Diagnostics,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<Located<T>> {
    let texts = table.strings(key, out).unwrap_or_default();
    let parse = |text: Located<String>| match parse(&text.value) {
        Ok(value) => Some(text.map(|_| value)),
        Err(message) => {
            out.error(&text.location, table.key_of(key), message);
            None
        }
    };
    texts.into_iter().filter_map(parse).collect()
}

/// References that a team may write: `secret://vault/kv/data/payments/**`, `secret://env/PAYMENTS_*`,
/// `secret://vault/kv/data/shared#payments`.
///
/// Segment by segment: `*` at the end of a segment is any run of characters in it, `**` at the end of the name one or
/// more segments. With a field, that field only; without one, the whole value and every field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SecretPattern {
    store: String,
    name: String,
    field: Option<String>,
}

/// Why a text is no pattern of references.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum PatternError {
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("`*` may stand at the end of a segment only, and `**` only as the last segment of the name")]
    Wildcard,
}

impl SecretPattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        // What is left when the wildcards are filled in is a reference, so that a pattern is as canonical as those.
        let plain = text.replace("**", "x").replace('*', "x");
        let reference = SecretReference::parse(&plain)?;
        let rest = text.get("secret://".len() + reference.store().len() + 1..).unwrap_or_default();
        let name = rest.split('#').next().unwrap_or_default();
        if text.len() - name.matches('*').count() != text.replace('*', "").len() {
            return Err(PatternError::Wildcard);
        }
        let count = name.split('/').count();
        for (at, segment) in name.split('/').enumerate() {
            let literal =
                if segment == "**" && at + 1 == count { "" } else { segment.strip_suffix('*').unwrap_or(segment) };
            if literal.contains('*') {
                return Err(PatternError::Wildcard);
            }
        }
        let (store, field) = (reference.store().to_owned(), reference.field().map(str::to_owned));
        Ok(Self { store, name: name.to_owned(), field })
    }

    fn covers(&self, reference: &SecretReference) -> bool {
        if self.store != reference.store() || (self.field.is_some() && self.field.as_deref() != reference.field()) {
            return false;
        }
        // The empty segment before the `/` of an absolute path is compared like any other.
        let mut segments = reference.name().split('/');
        for wanted in self.name.split('/') {
            match (wanted, segments.next()) {
                (_, None) => return false,
                ("**", Some(_)) => return true,
                (wanted, Some(segment)) => {
                    let matches = match wanted.strip_suffix('*') {
                        Some(start) => !segment.is_empty() && segment.starts_with(start),
                        None => wanted == segment,
                    };
                    if !matches {
                        return false;
                    }
                }
            }
        }
        segments.next().is_none()
    }
}

impl fmt::Display for SecretPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret://{}/{}", self.store, self.name)?;
        self.field.iter().try_for_each(|field| write!(f, "#{field}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_pattern_covers() {
        let check = |pattern: &str, reference: &str, expected: bool| {
            let parsed = SecretPattern::parse(pattern).unwrap();
            assert_eq!(parsed.to_string(), pattern);
            assert_eq!(parsed.covers(&SecretReference::parse(reference).unwrap()), expected, "{pattern} {reference}");
        };
        let vault = "secret://vault/kv/data/payments/**";
        check(vault, "secret://vault/kv/data/payments/stripe", true);
        check(vault, "secret://vault/kv/data/payments/a/b#key", true);
        check(vault, "secret://vault/kv/data/payments", false);
        check(vault, "secret://vault/kv/data/payments2/x", false);
        check(vault, "secret://vault/kv/data/Payments/x", false);
        check(vault, "secret://vault/kv/data/billing/x", false);
        check(vault, "secret://vault/payments/x", false);
        check(vault, "secret://vault//kv/data/payments/x", false);
        check(vault, "secret://sealed/kv/data/payments/x", false);
        check("secret://vault/a/*/key", "secret://vault/a/b/key", true);
        check("secret://vault/a/*/key", "secret://vault/a/b/c/key", false);
        check("secret://vault/a/*", "secret://vault/a/b", true);
        check("secret://vault/a/*", "secret://vault/a/b/c", false);
        check("secret://vault/a", "secret://vault/a#b", true);
        check("secret://vault/a#b", "secret://vault/a#b", true);
        check("secret://vault/a#b", "secret://vault/a#c", false);
        check("secret://vault/a#b", "secret://vault/a", false);
        check("secret://vault/a/**#b", "secret://vault/a/x#b", true);
        check("secret://vault/a/**#b", "secret://vault/a/x", false);
        check("secret://env/PAYMENTS_*", "secret://env/PAYMENTS_KEY", true);
        check("secret://env/PAYMENTS_*", "secret://env/PAYMENT_KEY", false);
        check("secret://env/PAYMENTS_*", "secret://env/PAYMENTS_A/B", false);
        check("secret://file//run/payments/**", "secret://file//run/payments/x", true);
        check("secret://file//run/payments/**", "secret://file/run/payments/x", false);
        check("secret://file/run/**", "secret://file//run/x", false);
        check("secret://file/**", "secret://file//etc/shadow", true);
        check("secret://file/*", "secret://file//etc", false);
    }

    #[test]
    fn what_is_no_pattern() {
        for text in [
            "payments/**",
            "secret://*/x",
            "secret://**",
            "secret://vault/",
            "secret://vault/../x",
            "secret://vault/a/../**",
            "secret://vault/a%2f**",
            "secret://vault/**/x",
            "secret://vault/a**",
            "secret://vault/a*b",
            "secret://vault/*a",
            "secret://vault/***",
            "secret://vault/a//**",
            "secret://vault/a#*",
            "secret://vault/a#b*",
            "secret://vault/a?",
            "secret://vau*/a",
        ] {
            assert!(SecretPattern::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// Whatever is covered begins with the literal start of the pattern, up to its first wildcard.
        #[test]
        fn nothing_outside_of_the_literal_start_is_covered(
            pattern in "secret://(a|b)/(/)?[ab]{1,2}(/[ab]{1,2}){0,2}(/\\*\\*|\\*|/\\*)?",
            reference in "secret://(a|b)/(/)?[ab]{1,2}(/[ab]{1,2}){0,3}(#a)?",
        ) {
            let (Ok(pattern_), Ok(reference_)) = (SecretPattern::parse(&pattern), SecretReference::parse(&reference))
            else { return Ok(()) };
            let start = pattern.split('*').next().unwrap();
            if pattern_.covers(&reference_) {
                prop_assert!(reference.starts_with(start), "{pattern} {reference}");
                prop_assert!(pattern.contains('*') || reference.split('#').next() == Some(&*pattern));
            }
        }
    }
}
