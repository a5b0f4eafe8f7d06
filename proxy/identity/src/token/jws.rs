//! JWS compact serialisation (RFC 7515 §7.1), read strictly. Nothing here is verified yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;
use crate::IdentityError;

/// The largest token that is looked at, in bytes.
pub(crate) const TOKEN_MAX: usize = 16 * 1024;

/// Which header parameters a kind of token may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Any; what is not understood is ignored unless `crit` says otherwise (RFC 7515 §4).
    Jwt,
    /// `alg`, `kid` and `typ` only (JWT-SVID §2).
    JwtSvid,
}

/// A token in its parts.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    /// What was signed: header and payload as they came.
    pub(crate) signed: &'a [u8],
    /// The signature.
    pub(crate) signature: Vec<u8>,
    payload: Vec<u8>,
    /// The algorithm that the token names. It only selects among those that configuration and key allow.
    pub(crate) algorithm: Algorithm,
    /// Which key, says the token.
    pub(crate) kid: Option<String>,
}

/// Whether bytes have the shape of a JWS in compact serialisation: for slots that may hold an identity token or
/// something else, such as the place of an API key. Says nothing about validity.
pub fn looks_like_token(bytes: &[u8]) -> bool {
    let mut parts = bytes.split(|byte| *byte == b'.');
    let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    bytes.len() <= TOKEN_MAX && decode(header).is_some_and(|text| json::object(&text).is_some())
}

/// The claims of a token that may be anybody's: to see whose it is before it is judged.
pub(crate) fn peek_claims(token: &[u8]) -> Option<Map<String, Value>> {
    if token.len() > TOKEN_MAX {
        return None;
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    json::object(&decode(payload)?)
}

/// When a token says that it ends, in Unix seconds. Says nothing about validity: for whoever shows a token of its own
/// and has it renewed.
pub fn token_end(token: &[u8]) -> Option<i64> {
    peek_claims(token)?.get("exp")?.as_i64()
}

/// Takes a token apart and checks its header.
pub(crate) fn parse(token: &[u8], profile: Profile) -> Result<Jws<'_>, IdentityError> {
    const NOT_COMPACT: IdentityError = IdentityError::Malformed("not a JWS in compact serialisation");
    if token.len() > TOKEN_MAX {
        return Err(IdentityError::Malformed("longer than 16 KiB"));
    }
    let second_dot = token.iter().rposition(|byte| *byte == b'.').ok_or(NOT_COMPACT)?;
    let (signed, signature) = token.split_at_checked(second_dot).ok_or(NOT_COMPACT)?;
    let signature = signature.strip_prefix(b".").ok_or(NOT_COMPACT)?;
    let first_dot = signed.iter().position(|byte| *byte == b'.').ok_or(NOT_COMPACT)?;
    let (header, payload) = signed.split_at_checked(first_dot).ok_or(NOT_COMPACT)?;
    // A third dot would stay in the payload, where base64url refuses it.
    let payload = payload.strip_prefix(b".").ok_or(NOT_COMPACT)?;

    let header = decode(header).ok_or(NOT_COMPACT)?;
    let header = json::object(&header).ok_or(IdentityError::Malformed("the header is not a JSON object"))?;
    let algorithm = check_header(&header, profile)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(IdentityError::Malformed("`kid` is not a string")),
    };
    let signature = decode(signature).ok_or(NOT_COMPACT)?;
    let payload = decode(payload).ok_or(NOT_COMPACT)?;
    Ok(Jws { signed, signature, payload, algorithm, kid })
}

impl Jws<'_> {
    /// The claims. Not verified yet.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, IdentityError> {
        json::object(&self.payload).ok_or(IdentityError::Malformed("the claims are not a JSON object"))
    }
}

fn check_header(header: &Map<String, Value>, profile: Profile) -> Result<Algorithm, IdentityError> {
    let name = header.get("alg").and_then(Value::as_str).ok_or(IdentityError::Malformed("`alg` is not a string"))?;
    let algorithm = Algorithm::named(name).ok_or(IdentityError::Untrusted("`alg` is not a supported algorithm"))?;
    // Extensions that must be understood: none is. `b64` changes what is signed (RFC 7797) and needs `crit`.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(IdentityError::Malformed("`crit` or `b64` in the header"));
    }
    match profile {
        Profile::Jwt => check_typ(header, |typ| {
            let typ = typ.strip_prefix("application/").unwrap_or(typ);
            matches!(typ, "jwt" | "at+jwt" | "jose")
        })?,
        Profile::JwtSvid => {
            if header.keys().any(|name| !matches!(name.as_str(), "alg" | "kid" | "typ")) {
                return Err(IdentityError::Malformed("a JWT-SVID has no header parameters but `alg`, `kid` and `typ`"));
            }
            check_typ(header, |typ| matches!(typ, "jwt" | "jose"))?;
        }
    }
    Ok(algorithm)
}

fn check_typ(header: &Map<String, Value>, known: impl Fn(&str) -> bool) -> Result<(), IdentityError> {
    match header.get("typ") {
        None => Ok(()),
        // Media types compare without case (RFC 7515 §4.1.9).
        Some(Value::String(typ)) if known(&typ.to_ascii_lowercase()) => Ok(()),
        Some(_) => Err(IdentityError::Malformed("`typ` is not that of an identity token")),
    }
}

/// base64url without padding and without stray bits at the end, so that a token has one spelling.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
