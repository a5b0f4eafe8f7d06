//! The endpoints of an authorization server, as clients speak to them: RFC 6749, 7009 and 7662.

use claviger_policy::Target;
use serde_json::{Value, json};

use super::handle::Handle;
use crate::settings::OAuth2Paths;

/// Which endpoint a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Token,
    Revoke,
    Introspect,
}

impl Endpoint {
    /// The endpoint at this target, as a server reads its path.
    pub(super) fn of(paths: &OAuth2Paths, target: &Target) -> Option<Self> {
        if paths.host.as_ref().is_some_and(|host| host != target.authority()) {
            return None;
        }
        let asked = super::vault::segments(target.path());
        let is = |path: &str| super::vault::segments(path) == asked;
        if is(&paths.token) {
            Some(Self::Token)
        } else if paths.revoke.as_deref().is_some_and(is) {
            Some(Self::Revoke)
        } else if paths.introspect.as_deref().is_some_and(is) {
            Some(Self::Introspect)
        } else {
            None
        }
    }
}

/// How a client may ask for a token: without a person, and without a code that somebody else gave it. What it shows for
/// itself is not looked at, for the workload's own proof says who it is.
const GRANTS: [&str; 6] = [
    "client_credentials",
    "refresh_token",
    "password",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:ietf:params:oauth:grant-type:saml2-bearer",
    EXCHANGE,
];

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The parameters of a request.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form, or the JSON object that some SDKs send; `Err`: what RFC 6749 §5.2 calls it.
    pub(super) fn read(json: bool, body: &[u8]) -> Result<Self, &'static str> {
        let pairs: Vec<(String, String)> = match json {
            false => url::form_urlencoded::parse(body).into_owned().collect(),
            true => match serde_json::from_slice(body) {
                Ok(Value::Object(members)) => {
                    let text = |(name, value): (String, Value)| match value {
                        Value::String(text) => Some((name, text)),
                        _ => None,
                    };
                    members.into_iter().filter_map(text).collect()
                }
                Ok(_) | Err(_) => return Err("invalid_request"),
            },
        };
        // RFC 6749 §3.2: none more than once. (Several `resource` and `audience` are RFC 8693's and 8707's.)
        let once = |(at, (name, _)): (usize, &(String, String))| {
            matches!(name.as_str(), "resource" | "audience") || pairs.iter().take(at).all(|(other, _)| other != name)
        };
        match pairs.iter().enumerate().all(once) {
            true => Ok(Self(pairs)),
            false => Err("invalid_request"),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, value)| value.as_str())
    }

    /// Whether the way that the client asks in is one of ours.
    pub(super) fn grant(&self) -> Result<(), &'static str> {
        match self.get("grant_type") {
            None => Err("invalid_request"),
            Some(grant) if GRANTS.contains(&grant) => Ok(()),
            Some(_) => Err("unsupported_grant_type"),
        }
    }

    /// RFC 6749 §5.1. No `scope`: what the credential allows is not for the client to know.
    pub(super) fn token(&self, text: &str, left: i64) -> Value {
        let mut answer = json!({ "access_token": text, "token_type": "Bearer", "expires_in": left });
        if self.get("grant_type") == Some(EXCHANGE)
            && let Some(answer) = answer.as_object_mut()
        {
            // RFC 8693 §2.2.1.
            let kind = "urn:ietf:params:oauth:token-type:access_token";
            answer.insert("issued_token_type".to_owned(), kind.into());
        }
        answer
    }
}

/// RFC 7662 §2.2; without a handle, of a token that is none or has ended.
pub(super) fn introspection(id: &str, handle: Option<&Handle>) -> Value {
    match handle {
        Some(handle) => json!({
            "active": true,
            "sub": id,
            "token_type": "Bearer",
            "iat": handle.issued,
            "exp": handle.expires,
        }),
        None => json!({ "active": false }),
    }
}

#[cfg(test)]
mod tests {
    use claviger_policy::{Authority, PathMode, Scheme};
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> Result<Form, &'static str> {
        Form::read(false, text.as_bytes())
    }

    #[test]
    fn which_endpoint() {
        let host = Authority::parse("login.test", 443).unwrap();
        let paths = OAuth2Paths {
            host: Some(host),
            token: "/oauth/token".to_owned(),
            revoke: Some("/oauth/revoke".to_owned()),
            introspect: None,
        };
        for (host, path, expected) in [
            ("login.test", "/oauth/token", Some(Endpoint::Token)),
            ("login.test", "/oauth/tok%65n", Some(Endpoint::Token)),
            ("login.test", "/oauth/token/", Some(Endpoint::Token)),
            ("login.test", "/oauth/token?audience=x", Some(Endpoint::Token)),
            ("login.test", "/oauth/revoke", Some(Endpoint::Revoke)),
            // Near misses.
            ("login.test", "/oauth/Token", None),
            ("login.test", "/oauth/token/x", None),
            ("login.test", "/oauth", None),
            ("api.test", "/oauth/token", None),
        ] {
            let host = Authority::parse(host, 443).unwrap();
            let target = Target::parse(Scheme::Https, host, path, PathMode::Strict).unwrap();
            assert_eq!(Endpoint::of(&paths, &target), expected, "{path}");
        }
    }

    #[test]
    fn how_one_may_ask() {
        for (text, expected) in [
            ("grant_type=client_credentials", Ok(())),
            ("grant_type=client_credentials&client_id=a&client_secret=b&scope=read", Ok(())),
            ("grant_type=refresh_token&refresh_token=placeholder", Ok(())),
            ("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=x", Ok(())),
            ("grant_type=token-exchange", Err("unsupported_grant_type")),
            ("grant_type=authorization_code&code=x", Err("unsupported_grant_type")),
            ("grant_type=urn:ietf:params:oauth:grant-type:device_code", Err("unsupported_grant_type")),
            ("grant_type=Client_credentials", Err("unsupported_grant_type")),
            ("", Err("invalid_request")),
            ("grant_type=", Err("invalid_request")),
            ("grant_type=client_credentials&grant_type=client_credentials", Err("invalid_request")),
            ("grant_type=client_credentials&resource=a&resource=b", Ok(())),
        ] {
            assert_eq!(form(text).and_then(|form| form.grant()), expected, "{text}");
        }
        let json = |text: &str| Form::read(true, text.as_bytes()).and_then(|form| form.grant());
        assert_eq!(json(r#"{"grant_type":"client_credentials","client_id":"x"}"#), Ok(()));
        assert_eq!(json(r#"["grant_type"]"#), Err("invalid_request"));
        assert_eq!(json("grant_type=client_credentials"), Err("invalid_request"));
    }

    #[test]
    fn an_exchange_says_what_was_issued() {
        let exchange = form(&format!("grant_type={EXCHANGE}&subject_token=x")).ok().unwrap().token("clvh_x", 60);
        assert_eq!(exchange["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
        let plain = form("grant_type=client_credentials").ok().unwrap().token("clvh_x", 60);
        assert_eq!(plain, json!({ "access_token": "clvh_x", "token_type": "Bearer", "expires_in": 60 }));
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_a_panic(json: bool, body in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(form) = Form::read(json, &body) {
                let _ = form.grant();
            }
        }
    }
}
