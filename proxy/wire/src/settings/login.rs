//! `login` of a service: how its clients log in, which Claviger answers itself.

use std::time::Duration;

use claviger_policy::document::{Diagnostics, Item, Located, Table, Value, nearest};
use claviger_policy::{Authority, HostPattern, PathMode, Scheme, Target};

use super::service::take_timeout;

/// The key `login` of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSettings {
    /// What the clients speak.
    pub protocol: LoginProtocol,
    /// The longest that a handle lasts.
    pub lifetime: Duration,
    /// How many logins of one caller are answered in a minute.
    pub rate: u32,
}

/// How clients log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginProtocol {
    /// RFC 6749.
    OAuth2(OAuth2Paths),
    /// HashiCorp Vault's and OpenBao's HTTP API.
    Vault,
}

/// Where the endpoints of an OAuth 2.0 authorization server are, in the eyes of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2Paths {
    /// The host of the endpoints; `None`: every host of the service.
    pub host: Option<Authority>,
    /// The token endpoint (RFC 6749 §3.2).
    pub token: String,
    /// The revocation endpoint (RFC 7009).
    pub revoke: Option<String>,
    /// The introspection endpoint (RFC 7662).
    pub introspect: Option<String>,
}

const LIFETIME: Duration = Duration::from_secs(3_600);
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3_600);
const RATE: u32 = 60;
const HELP: &str = "write `login = \"vault\"`, or `login = { oauth2 = { path = \"/oauth/token\" } }`";

impl LoginSettings {
    /// Takes the key `login` of a service with these hosts.
    pub(super) fn take(
        scheme: Scheme,
        hosts: &[HostPattern],
        table: &mut Table,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let key = table.key_of("login");
        let item = table.take("login")?;
        match item.value {
            Value::String(word) if word == "vault" => Some(Self::of(LoginProtocol::Vault)),
            Value::String(word) => {
                let help = match nearest(&word, ["vault"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => HELP.to_owned(),
                };
                out.error(&item.location, key, format!("`{word}` is no login that needs to say nothing more"))
                    .help(help);
                None
            }
            Value::Table(table) => Self::of_table(table, &item.location, scheme, hosts, out),
            _ => {
                out.error(&item.location, key, "expected `\"vault\"`, or a table").help(HELP);
                None
            }
        }
    }

    fn of(protocol: LoginProtocol) -> Self {
        Self { protocol, lifetime: LIFETIME, rate: RATE }
    }

    fn of_table(
        mut table: Table,
        place: &claviger_policy::document::Location,
        scheme: Scheme,
        hosts: &[HostPattern],
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let key = table.key().to_owned();
        let lifetime = take_lifetime(&mut table, out);
        let rate = table.integer("rate", 1..=100_000, out).and_then(|rate| u32::try_from(rate.value).ok());
        let vault = table.take("vault").map(|item| is_true(item, &key, out));
        let oauth2 = table.table("oauth2", out).map(|paths| OAuth2Paths::take(paths, scheme, hosts, out));
        table.finish(out);
        let protocol = match (vault, oauth2) {
            (Some(vault), None) => vault.then_some(LoginProtocol::Vault)?,
            (None, Some(paths)) => LoginProtocol::OAuth2(paths?),
            (None, None) => {
                out.error(place, key, "this says no login").help(HELP);
                return None;
            }
            (Some(_), Some(_)) => {
                out.error(place, key, "`oauth2` and `vault` are two logins").help("keep one of them");
                return None;
            }
        };
        let settings = Self::of(protocol);
        Some(Self { lifetime: lifetime.unwrap_or(settings.lifetime), rate: rate.unwrap_or(settings.rate), ..settings })
    }
}

fn is_true(item: Item, key: &str, out: &mut Diagnostics) -> bool {
    let is_true = matches!(item.value, Value::Boolean(true));
    if !is_true {
        out.error(&item.location, format!("{key}.vault"), "`vault` can only be `true`").help(HELP);
    }
    is_true
}

fn take_lifetime(table: &mut Table, out: &mut Diagnostics) -> Option<Duration> {
    let lifetime = take_timeout(table, "lifetime", out)?;
    if lifetime.value > LIFETIME_MAX || lifetime.value < Duration::from_secs(1) {
        out.error(&lifetime.location, table.key_of("lifetime"), "a handle lasts from 1 s to 24 h")
            .help("write a shorter time, as `1h`: clients log in anew");
        return None;
    }
    Some(lifetime.value)
}

impl OAuth2Paths {
    fn take(mut table: Table, scheme: Scheme, hosts: &[HostPattern], out: &mut Diagnostics) -> Option<Self> {
        if !table.has("path") {
            table.missing("path", out).help("write the path of the token endpoint, as `path = \"/oauth/token\"`");
        }
        let host = table.parsed("host", out, |text| {
            let host = Authority::parse(text, scheme.default_port()).map_err(|error| format!("`{text}`: {error}"))?;
            match hosts.iter().any(|pattern| pattern.matches(&host)) {
                true => Ok(host),
                false => Err(format!("`{text}` is no host of the service")),
            }
        });
        let [token, revoke, introspect] = ["path", "revoke", "introspect"].map(|key| table.parsed(key, out, endpoint));
        for (key, second, first) in
            [("revoke", &revoke, [&token, &None]), ("introspect", &introspect, [&token, &revoke])]
        {
            let Some(second) = second else { continue };
            if first.into_iter().flatten().any(|first| first.value == second.value) {
                let message = format!("`{}` is another endpoint already", second.value);
                out.error(&second.location, table.key_of(key), message).help("each endpoint has a path of its own");
            }
        }
        table.finish(out);
        let value = |path: Option<Located<String>>| path.map(|path| path.value);
        Some(Self {
            host: host.map(|host| host.value),
            token: value(token)?,
            revoke: value(revoke),
            introspect: value(introspect),
        })
    }
}

/// A path that no two servers read differently, and that needs no escapes.
fn endpoint(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}`: a path begins with `/`"));
    }
    if let Some(odd) = text.chars().find(|sign| matches!(sign, '?' | '#' | '*' | '%') || !sign.is_ascii_graphic()) {
        return Err(format!("`{text}`: an endpoint has no `{}`", odd.escape_default()));
    }
    if text.len() > 1 && text.ends_with('/') {
        return Err(format!("`{text}`: leave the last `/` out, which is not told apart"));
    }
    // The host is not known here, and says nothing about the path.
    let anywhere = Authority::parse("login.invalid", Scheme::Https.default_port());
    let target = anywhere.and_then(|host| Target::parse(Scheme::Https, host, text, PathMode::Strict));
    target.map(|_| text.to_owned()).map_err(|error| format!("`{text}`: {error}"))
}

#[cfg(test)]
mod tests {
    use claviger_policy::document::{SourceFile, parse};

    use super::*;

    fn take(login: &str) -> (Option<LoginSettings>, Vec<String>) {
        let mut out = Diagnostics::default();
        let file = SourceFile::new("test", format!("login = {login}\n"));
        let mut table = parse(&file, &mut out).unwrap();
        let hosts = [HostPattern::parse("api.test", 443).unwrap()];
        let settings = LoginSettings::take(Scheme::Https, &hosts, &mut table, &mut out);
        table.finish(&mut out);
        (settings, out.iter().map(|found| found.message.clone()).collect())
    }

    #[test]
    fn what_is_a_login() {
        let paths = OAuth2Paths { host: None, token: "/oauth/token".to_owned(), revoke: None, introspect: None };
        let of = LoginSettings::of;
        for (text, expected) in [
            ("\"vault\"", of(LoginProtocol::Vault)),
            ("{ vault = true }", of(LoginProtocol::Vault)),
            (
                "{ vault = true, lifetime = \"5m\", rate = 3 }",
                LoginSettings { lifetime: Duration::from_secs(300), rate: 3, ..of(LoginProtocol::Vault) },
            ),
            ("{ oauth2 = { path = \"/oauth/token\" } }", of(LoginProtocol::OAuth2(paths.clone()))),
            (
                "{ oauth2 = { path = \"/oauth/token\", host = \"api.test\", revoke = \"/r\", introspect = \"/i\" } }",
                of(LoginProtocol::OAuth2(OAuth2Paths {
                    host: Some(Authority::parse("api.test", 443).unwrap()),
                    revoke: Some("/r".to_owned()),
                    introspect: Some("/i".to_owned()),
                    ..paths
                })),
            ),
        ] {
            assert_eq!(take(text), (Some(expected), Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for (text, message) in [
            ("\"oauth2\"", "`oauth2` is no login that needs to say nothing more"),
            ("7", "expected `\"vault\"`, or a table"),
            ("{}", "this says no login"),
            ("{ vault = false }", "`vault` can only be `true`"),
            ("{ vault = true, oauth2 = { path = \"/t\" } }", "`oauth2` and `vault` are two logins"),
            ("{ vault = true, lifetime = \"25h\" }", "a handle lasts from 1 s to 24 h"),
            ("{ oauth2 = { path = \"token\" } }", "`token`: a path begins with `/`"),
            ("{ oauth2 = { path = \"/t?x\" } }", "`/t?x`: an endpoint has no `?`"),
            ("{ oauth2 = { path = \"/t%61\" } }", "`/t%61`: an endpoint has no `%`"),
            ("{ oauth2 = { path = \"/t/\" } }", "`/t/`: leave the last `/` out, which is not told apart"),
            ("{ oauth2 = { path = \"/t\", revoke = \"/t\" } }", "`/t` is another endpoint already"),
            ("{ oauth2 = { path = \"/t\", introspect = \"/t\" } }", "`/t` is another endpoint already"),
            ("{ oauth2 = { path = \"/t\", host = \"other.test\" } }", "`other.test` is no host of the service"),
        ] {
            let (_, found) = take(text);
            assert_eq!(found, [message], "{text}");
        }
    }
}
