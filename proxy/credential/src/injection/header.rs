//! Headers: bearer, basic, any header with a prefix, and placeholders in headers.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger_policy::Target;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::InjectError;
use super::slots::Slots;
use super::value::{self, Field, Place};
use crate::lease::Lease;

/// Which half of `user:password` the credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Username,
    Password,
}

/// How the value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Behind a text that may be empty: `Bearer `, `token `.
    Prefix(Box<str>),
    /// RFC 7617: `other` is the half that is no secret.
    Basic { other: Box<str>, credential: Half },
    /// The credential is the password of the user that the client names: an account, an address, no secret.
    BasicOfClient,
}

/// What makes a header's value out of a lease: equal recipes make equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) field: Field,
    pub(super) form: Form,
}

impl Recipe {
    /// `user`: whom the client named, for [`Form::BasicOfClient`].
    fn render(&self, value: &[u8], user: Option<&[u8]>, place: Place<'_>) -> Result<HeaderValue, InjectError> {
        let text = match &self.form {
            Form::Prefix(prefix) => {
                value::check_header(value, place)?;
                join([prefix.as_bytes(), b"", value])
            }
            Form::Basic { other, credential } => {
                let pair = match credential {
                    Half::Username if value.contains(&b':') => return Err(place.invalid("a username has no colon")),
                    Half::Username => join([value, b":", other.as_bytes()]),
                    Half::Password => join([other.as_bytes(), b":", value]),
                };
                basic(&pair)
            }
            Form::BasicOfClient => {
                let user = user.ok_or(InjectError::UserAbsent)?;
                basic(&join([user, b":", value]))
            }
        };
        value::header_value(text, place)
    }

    /// The token in what a client wrote into this header.
    pub(super) fn presented<'a>(&self, written: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match &self.form {
            Form::Prefix(prefix) => without_prefix(written, prefix.as_bytes()).map(Cow::Borrowed),
            Form::Basic { credential, .. } => {
                let (user, password) = halves(written)?;
                Some(Cow::Owned(match credential {
                    Half::Username => user,
                    Half::Password => password,
                }))
            }
            Form::BasicOfClient => halves(written).map(|(_, password)| Cow::Owned(password)),
        }
    }
}

/// User and password of `Basic …`, as a client wrote it.
fn halves(written: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut user = STANDARD.decode(without_prefix(written, b"Basic ")?).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

fn basic(pair: &[u8]) -> Zeroizing<Vec<u8>> {
    let encoded = Zeroizing::new(STANDARD.encode(pair).into_bytes());
    join([b"Basic ", b"", &encoded])
}

/// Whom the client names, where a slot leaves that to it; to be asked before [`strip`] empties the slot.
///
/// `None` where the client names nobody, or in a way that servers could read differently: twice, with control characters.
pub(super) fn user(plan: &Slots, headers: &HeaderMap) -> Option<Vec<u8>> {
    let slot = plan.headers.iter().find(|slot| slot.recipe.form == Form::BasicOfClient)?;
    let mut sent = headers.get_all(&slot.name).iter();
    let (user, _) = halves(sent.next()?.as_bytes())?;
    let is_plain = !user.is_empty() && std::str::from_utf8(&user).is_ok_and(|text| !text.chars().any(char::is_control));
    (is_plain && sent.next().is_none()).then_some(user)
}

/// Schemes have no case (RFC 9110 §11.1), and any number of spaces may follow them.
pub(super) fn without_prefix<'a>(written: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = written.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| rest.trim_ascii())
}

/// Joins in a buffer that never grows, so that no unwiped copy is left behind.
fn join(parts: [&[u8]; 3]) -> Zeroizing<Vec<u8>> {
    let mut joined = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| joined.extend_from_slice(part));
    joined
}

/// Header values that were made from one lease, so that a cached lease costs a reference count per request.
///
/// Found by recipe, not by plan: a reload makes new plans, and the leases live on.
#[derive(Default)]
pub(crate) struct RenderedCache([OnceLock<(Arc<Recipe>, HeaderValue)>; 4]);

impl RenderedCache {
    fn get(
        &self,
        recipe: &Arc<Recipe>,
        make: impl FnOnce() -> Result<HeaderValue, InjectError>,
    ) -> Result<HeaderValue, InjectError> {
        for place in &self.0 {
            match place.get() {
                Some((known, value)) if Arc::ptr_eq(known, recipe) || known == recipe => return Ok(value.clone()),
                Some(_) => {}
                None => {
                    let value = make()?;
                    // Another core may have filled the place meanwhile; then this one is made again next time.
                    let _ = place.set((recipe.clone(), value.clone()));
                    return Ok(value);
                }
            }
        }
        make()
    }
}

impl fmt::Debug for RenderedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RenderedCache(…)")
    }
}

/// `Host` is the grant's, whatever the client sent.
pub(super) fn set_host(target: &Target, headers: &mut HeaderMap) {
    headers.insert(HOST, target.host_value().clone());
}

/// Removes what the client wrote into slots, what `strip` names, and what is meant for the proxy.
pub(super) fn strip(plan: &Slots, headers: &mut HeaderMap) {
    for name in &plan.removed {
        headers.remove(name);
    }
    // CGI and WSGI servers read `x_api_key` as `x-api-key`: the client would fill the slot after all.
    let fenced = || plan.removed.iter().chain(plan.placeholders.iter().flat_map(|placeholder| &placeholder.headers));
    let is_twin = |name: &&HeaderName| name.as_str().contains('_') && fenced().any(|fenced| is_twin(name, fenced));
    let twins: Vec<HeaderName> = headers.keys().filter(is_twin).cloned().collect();
    for name in twins {
        headers.remove(name);
    }
}

/// Whether two names differ only in `_` for `-`.
fn is_twin(written: &HeaderName, fenced: &HeaderName) -> bool {
    let (written, fenced) = (written.as_str(), fenced.as_str());
    written.len() == fenced.len()
        && written.bytes().zip(fenced.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
}

/// Fills the header slots, which [`strip`] has emptied.
pub(super) fn fill(
    plan: &Slots,
    lease: Option<&Lease>,
    user: Option<&[u8]>,
    headers: &mut HeaderMap,
) -> Result<(), InjectError> {
    let Some(lease) = lease else { return Ok(()) };
    for slot in &plan.headers {
        let place = Place::Header(&slot.name);
        let value = value::find(lease, &slot.recipe.field, plan.guard, place)?;
        let render = |user| value::check(value, place).and_then(|()| slot.recipe.render(value, user, place));
        let rendered = match slot.recipe.form {
            // Another one for each user, so it cannot be kept with the lease.
            Form::BasicOfClient => render(user)?,
            Form::Prefix(_) | Form::Basic { .. } => lease.rendered.get(&slot.recipe, || render(None))?,
        };
        headers.insert(slot.name.clone(), rendered);
    }
    Ok(())
}

/// Adds what the lease's kind of value asks for to lists that the client may have begun (RFC 9110 §5.6.1).
pub(super) fn add_members(lease: Option<&Lease>, headers: &mut HeaderMap) -> Result<(), InjectError> {
    for (name, member) in lease.map_or(&[][..], |lease| &lease.headers) {
        let written: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let mut members = written.iter().flat_map(|line| line.split(|byte| *byte == b','));
        if members.any(|one| one.trim_ascii() == member.as_bytes()) {
            continue;
        }
        // One line: not every server joins several.
        let mut all = written.join(&b", "[..]);
        if !all.is_empty() {
            all.extend_from_slice(b", ");
        }
        all.extend_from_slice(member.as_bytes());
        let all = HeaderValue::from_bytes(&all).map_err(|_| Place::Header(name).invalid("it cannot be joined"))?;
        headers.insert(name.clone(), all);
    }
    Ok(())
}

/// Replaces placeholders, and says whether there were any, in the headers that may hold them; such a header without one does not pass.
pub(super) fn fill_placeholders(
    plan: &Slots,
    lease: Option<&Lease>,
    headers: &mut HeaderMap,
) -> Result<bool, InjectError> {
    let mut found = false;
    for placeholder in &plan.placeholders {
        for name in &placeholder.headers {
            let http::header::Entry::Occupied(entry) = headers.entry(name) else { continue };
            let sent: Vec<HeaderValue> = entry.remove_entry_mult().1.collect();
            let Some(lease) = lease else { continue };
            let (text, place) = (placeholder.text.as_bytes(), Place::Header(name));
            for written in sent.iter().filter(|sent| memchr::memmem::find(sent.as_bytes(), text).is_some()) {
                let value = value::get(lease, &placeholder.field, plan.guard, place)?;
                value::check_header(value, place)?;
                let with = [(text, value)];
                let mut filled = value::buffer_for(written.as_bytes(), &with);
                found |= value::replace(written.as_bytes(), &with, &mut filled);
                headers.append(name, value::header_value(filled, place)?);
            }
        }
    }
    Ok(found)
}
