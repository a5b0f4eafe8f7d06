//! `check`: the call that shows whether a service takes a credential.

use std::fmt;

use claviger_policy::document::{Diagnostics, Item, Located, Table, Value};
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
            Value::String(value) => Self::told(&Located { value, location: item.location }, &key, out),
            Value::Table(mut table) => {
                if !table.has("call") {
                    table.missing("call", out).help("write `call = \"GET /PATH\"`");
                }
                let call = table.string("call", out);
                let check = call.and_then(|call| Self::told(&call, &table.key_of("call"), out));
                let headers = table.table("headers", out).map(|headers| take_headers(headers, out));
                table.finish(out);
                Some(Self { headers: headers.unwrap_or_default(), ..check? })
            }
            _ => {
                out.error(&item.location, key, "expected a call, or a table with `call` and `headers`")
                    .help("write `check = \"GET /PATH\"`");
                None
            }
        }
    }

    fn told(text: &Located<String>, key: &str, out: &mut Diagnostics) -> Option<Self> {
        let parsed = Self::parse(&text.value);
        parsed
            .map_err(|why| {
                out.error(&text.location, key, format!("`{}`: {why}", text.value))
                    .help("write a method and a path, as `GET /v1/models`");
            })
            .ok()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let Some((method, path)) = text.split_once(' ').filter(|(_, path)| path.starts_with('/')) else {
            return Err("a check is a method and a path".to_owned());
        };
        let method = match method {
            "GET" => Method::GET,
            "HEAD" => Method::HEAD,
            _ => return Err("a check changes nothing, so its method is GET or HEAD".to_owned()),
        };
        if path.contains('*') {
            return Err("a check is one call, so its path has no `*`".to_owned());
        }
        // The host is not known here, and says nothing about the path.
        let anywhere = Authority::parse("check.invalid", Scheme::Https.default_port());
        let target = anywhere.and_then(|host| Target::parse(Scheme::Https, host, path, PathMode::Strict));
        target.map_err(|error| error.to_string())?;
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
            out.error(&name.location, key.clone(), format!("`{}` is no header that a check may have", name.value))
                .help("name a header that the service asks for, as `x-api-version`");
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
        for text in ["/v1/models", "GET", "GET v1", "GET  /v1", "GET https://api.x.com/v1", ""] {
            check(text, Err("a check is a method and a path"));
        }
        for text in ["POST /v1", "get /v1", "GET,HEAD /v1"] {
            check(text, Err("a check changes nothing, so its method is GET or HEAD"));
        }
        check("GET /v1/*", Err("a check is one call, so its path has no `*`"));
        assert!(Check::parse("GET /v1/../admin").is_err());
    }
}
