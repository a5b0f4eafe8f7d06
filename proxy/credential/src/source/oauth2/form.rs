//! Form bodies (`application/x-www-form-urlencoded`) that hold secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claviger_contract::Secret;
use http::HeaderValue;
use zeroize::Zeroizing;

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) enum Value<'a> {
    Text(&'a str),
    Secret(&'a Secret),
}

impl Value<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            #[allow(clippy::disallowed_methods, reason = "secrets of a source are sent to its own endpoint")]
            Self::Secret(secret) => secret.expose(),
        }
    }
}

/// A text that never grows beyond its room, so that no copy of a secret is left behind.
struct Form(Zeroizing<String>);

impl Form {
    fn with_room_for(bytes: usize) -> Self {
        // Each byte takes three at most.
        Self(Zeroizing::new(String::with_capacity(3 * bytes)))
    }

    fn encoded(&mut self, value: &[u8]) {
        url::form_urlencoded::byte_serialize(value).for_each(|part| self.0.push_str(part));
    }
}

/// The fields, in this order.
pub(in crate::source) fn body(fields: &[(&str, Value<'_>)]) -> Secret {
    let room = fields.iter().map(|(name, value)| name.len() + value.bytes().len() + 2).sum();
    let mut form = Form::with_room_for(room);
    for (name, value) in fields {
        if !form.0.is_empty() {
            form.0.push('&');
        }
        form.encoded(name.as_bytes());
        form.0.push('=');
        form.encoded(value.bytes());
    }
    Secret::new(form.0.as_bytes().to_vec())
}

/// `Basic base64(form(id) ":" form(secret))`: RFC 6749 §2.3.1 encodes both before they are joined.
pub(super) fn basic(client_id: &str, secret: &Secret) -> HeaderValue {
    let mut pair = Form::with_room_for(client_id.len() + secret.len() + 1);
    pair.encoded(client_id.as_bytes());
    pair.0.push(':');
    pair.encoded(Value::Secret(secret).bytes());
    let mut text = Zeroizing::new(String::with_capacity(6 + pair.0.len().div_ceil(3) * 4));
    text.push_str("Basic ");
    STANDARD.encode_string(pair.0.as_bytes(), &mut text);
    // Base64 is always a header value. (Its copy inside of `http` cannot be wiped.)
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
