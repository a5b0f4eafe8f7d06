//! `check`: the call that shows whether a service takes a credential.

use std::fmt;

use claviger_policy::document::{Diagnostics, Item, Table, Value};
use claviger_policy::{Authority, PathMode, Scheme, Target};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A request that changes nothing, and that is answered well only to whoever has a credential that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// GET or HEAD.
    pub method: Method,
    /// The path, and the query if there is one.
    pub path: String,
    /// Headers that the service wants besides the credential's.
    pub headers: HeaderMap,
}

/// What belongs to a connection or to where a request goes is not for a check to say.
const REFUSED: [&str; 8] =
    ["host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect"];

impl Check {
    /// Takes the key `check` of a service: `"GET /v1/models"`, or `{ call = "GET /v1/models", headers = { … } }`.
    pub(super) fn take(table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let key = table.key_of("check");
        let item = table.take("check")?;
        match item.value {
            Value::String(text) => match Self::parse(&text) {
                Ok(check) => Some(check),
                Err(why) => {
                    out.error(&item.location, key, why);
                    None
                }
            },
            Value::Table(mut table) => {
                if !table.has("call") {
                    table.missing("call", out).help("write `call = \"GET /PATH\"`");
                }
                let check = table.parsed("call", out, Self::parse);
                let headers = table.table("headers", out).map(|headers| take_headers(headers, out));
                table.finish(out);
                Some(Self { headers: headers.unwrap_or_default(), ..check?.value })
            }
            _ => {
                out.error(&item.location, key, "expected a call or a table")
                    .help("write `check = \"GET /PATH\"`, or `check = { call = \"GET /PATH\", headers = { NAME = \"VALUE\" } }`");
                None
            }
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let shape = || format!("`{text}`: write a method and a path, as `GET /v1/models`");
        let (method, path) = text.split_once(' ').ok_or_else(shape)?;
        let method = match method {
            "GET" => Method::GET,
            "HEAD" => Method::HEAD,
            _ => return Err(format!("`{text}`: a check changes nothing; its method is GET or HEAD")),
        };
        if !path.starts_with('/') {
            return Err(shape());
        }
        if path.contains('*') {
            return Err(format!("`{text}`: a check is one call; write its path without `*`"));
        }
        // The host is not known here, and says nothing about the path.
        let anywhere = Authority::parse("check.invalid", Scheme::Https.default_port());
        let target = anywhere.and_then(|host| Target::parse(Scheme::Https, host, path, PathMode::Strict));
        target.map_err(|error| format!("`{text}`: {error}"))?;
        Ok(Self { method, path: path.to_owned(), headers: HeaderMap::new() })
    }
}

fn take_headers(table: Table, out: &mut Diagnostics) -> HeaderMap {
    let (key, mut headers) = (table.key().to_owned(), HeaderMap::new());
    for (name, item) in table.into_entries() {
        let Item { location, .. } = &item;
        let location = location.clone();
        let parsed =
            HeaderName::from_bytes(name.value.as_bytes()).ok().filter(|name| !REFUSED.contains(&name.as_str()));
        let Some(header) = parsed else {
            out.error(&name.location, key.clone(), format!("`{}` is no header that a check may have", name.value));
            continue;
        };
        let Some(text) = item.into_string(out) else { continue };
        match HeaderValue::from_str(&text.value) {
            Ok(value) => drop(headers.insert(header, value)),
            Err(_) => drop(out.error(&location, format!("{key}.{header}"), "a header's value is one line of text")),
        }
    }
    headers
}

impl fmt::Display for Check {
    /// As written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_check() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let parsed = Check::parse(text).map(|check| check.to_string());
            assert_eq!(parsed.as_deref().map_err(|error| error.as_str()), expected, "{text}");
        };
        check("GET /v1/models", Ok("GET /v1/models"));
        check("HEAD /", Ok("HEAD /"));
        check("GET /v1/models?limit=1", Ok("GET /v1/models?limit=1"));
        check("/v1/models", Err("`/v1/models`: write a method and a path, as `GET /v1/models`"));
        check("GET", Err("`GET`: write a method and a path, as `GET /v1/models`"));
        check("GET v1", Err("`GET v1`: write a method and a path, as `GET /v1/models`"));
        check("GET  /v1", Err("`GET  /v1`: write a method and a path, as `GET /v1/models`"));
        check(
            "GET https://api.x.com/v1",
            Err("`GET https://api.x.com/v1`: write a method and a path, as `GET /v1/models`"),
        );
        check("POST /v1", Err("`POST /v1`: a check changes nothing; its method is GET or HEAD"));
        check("get /v1", Err("`get /v1`: a check changes nothing; its method is GET or HEAD"));
        check("GET /v1/*", Err("`GET /v1/*`: a check is one call; write its path without `*`"));
        assert!(Check::parse("GET /v1/../admin").is_err());
    }
}
