//! Phantom tokens: clients that insist on logging in are answered here, with a handle in place of a token.
//!
//! ```text
//! login   ─ attest ─ decide ─ lease ─ a handle that ends with the lease      nothing goes upstream
//! request ─ attest ─ the handle is the caller's ─ decide ─ lease ─ inject    as any request; the handle is taken out
//! ```
//!
//! A handle adds nothing to what its owner may do, and is of no use to anybody else: policy judges each request by the
//! workload's own proof, as ever. It is there for the client's sake, and to notice when it turns up elsewhere.

mod found;
mod handle;
mod oauth2;
mod rate;
mod vault;

use std::sync::Arc;

use claviger_contract::Attested;
use claviger_contract::event::RequestId;
use claviger_policy::{Grant, SpiffeId, Target};
use http::header::{CONTENT_TYPE, COOKIE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use self::found::{InHeader, found_in, in_headers};
use self::handle::{Handle, Name, Owner, PREFIX};
pub use self::handle::{HandleKey, HandleKeyError};
use self::rate::Rate;
use self::vault::{About, Call, Whose};
use crate::generation::{Generation, Service};
use crate::refusal::{Dialect, Refusal, RefusalCode};
use crate::settings::{LoginProtocol, LoginSettings};

/// The longest body of a login, in bytes.
pub(crate) const BODY_MAX: usize = 65_536;

/// How the clients of one service log in.
#[derive(Debug)]
pub(crate) struct Login {
    settings: LoginSettings,
    key: HandleKey,
    service: Name,
    rate: Arc<Rate>,
}

/// A request to a service whose clients log in.
pub(crate) struct Asked<'a> {
    login: &'a Login,
    about: Asking,
    /// The handle that the client showed, once it was found to be the caller's.
    shown: Option<Shown>,
}

struct Shown {
    text: String,
    handle: Handle,
}

/// What it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asking {
    OAuth2(oauth2::Endpoint),
    Vault(vault::Call),
    /// Nothing of a login: it goes upstream.
    Other,
}

/// Who asks, where and when.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) attested: &'a Attested,
    pub(crate) service: &'a str,
    pub(crate) listener: &'a str,
    /// Seconds since the Unix epoch.
    pub(crate) now: i64,
}

impl Caller<'_> {
    fn id(&self) -> &SpiffeId {
        &self.attested.principal.id
    }
}

/// What Claviger answers by itself.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `None`: no body.
    pub(crate) body: Option<Value>,
    /// For the record.
    pub(crate) detail: String,
}

/// A request that is answered here, as it was understood.
pub(crate) enum Question {
    /// A login: it takes a lease, with which the handle ends.
    Login(Form),
    /// About a token that the client has, or says that it has.
    OwnToken(About, Option<(String, Handle)>),
    Introspect(Option<Handle>),
    /// RFC 7009.
    Revoke,
}

impl Question {
    /// Whether it takes a lease to answer.
    pub(crate) fn is_login(&self) -> bool {
        matches!(self, Self::Login(_))
    }
}

/// What the login looked like, for the form of its answer.
pub(crate) enum Form {
    OAuth2(oauth2::Form),
    Vault,
}

impl Login {
    /// Logins to a service. The count of logins outlives a reload that leaves their rate.
    pub(crate) fn new(service: &str, settings: LoginSettings, key: HandleKey, previous: Option<&Generation>) -> Self {
        let before = previous.and_then(|generation| generation.services.get(service)?.login.as_ref());
        let kept = before.map(|login| &login.rate).filter(|rate| rate.per_minute() == settings.rate);
        let rate = kept.cloned().unwrap_or_else(|| Arc::new(Rate::new(settings.rate)));
        Self { settings, key, service: Name::of(service), rate }
    }

    /// What a request asks of this service, before anybody knows who sends it.
    pub(crate) fn asked<'a>(service: &'a Service, target: &Target, method: &Method) -> Option<Asked<'a>> {
        let login = service.login.as_deref()?;
        let about = match &login.settings.protocol {
            LoginProtocol::OAuth2(paths) => oauth2::Endpoint::of(paths, target).map_or(Asking::Other, Asking::OAuth2),
            LoginProtocol::Vault => Asking::Vault(vault::call(method, target.path())),
        };
        Some(Asked { login, about, shown: None })
    }

    /// A new handle, and how many seconds it lasts.
    fn handle(&self, caller: Caller<'_>, lease_ends: Option<i64>) -> Result<(String, i64), Refusal> {
        let unavailable = |why| Refusal::new(RefusalCode::CredentialUnavailable, why);
        let lifetime = i64::try_from(self.settings.lifetime.as_secs()).unwrap_or(i64::MAX);
        let longest = caller.now.saturating_add(lifetime);
        let expires = lease_ends.map_or(longest, |ends| ends.min(longest));
        if expires <= caller.now {
            return Err(unavailable("the lease ends at this moment"));
        }
        let handle = Handle {
            issued: caller.now,
            expires,
            service: self.service,
            listener: Name::of(caller.listener),
            owner: Owner::of(caller.id()),
        };
        let text = self.key.seal(&handle).ok_or_else(|| unavailable("no randomness for a handle"))?;
        Ok((text, expires - caller.now))
    }

    /// Whether a handle is the caller's, for this service and listener, and has not ended.
    fn verify(&self, text: &[u8], caller: Caller<'_>, place: &str) -> Result<Handle, Refusal> {
        let invalid = |reason, detail: String| Err(Refusal::because(RefusalCode::HandleInvalid, reason, detail));
        let Some(handle) = self.key.open(text) else {
            return invalid("handle_unknown", format!("{place} holds no handle of this Claviger"));
        };
        if handle.owner != Owner::of(caller.id()) {
            let detail = format!("{place} holds a handle that was given to `{}`", handle.owner);
            return Err(Refusal::new(RefusalCode::HandleStolen, detail).stolen(
                &handle.owner.to_string(),
                caller.service,
                place,
            ));
        }
        if handle.service != self.service {
            return invalid("handle_elsewhere", format!("{place} holds a handle for another service"));
        }
        if handle.listener != Name::of(caller.listener) {
            return invalid("handle_elsewhere", format!("{place} holds a handle from another listener"));
        }
        if handle.expires <= caller.now {
            return invalid("handle_expired", format!("the handle in {place} ended at {}", handle.expires));
        }
        Ok(handle)
    }
}

impl Asked<'_> {
    /// How refusals are to be worded.
    pub(crate) fn dialect(&self) -> Dialect {
        match &self.about {
            Asking::OAuth2(_) => Dialect::OAuth2,
            Asking::Vault(_) => Dialect::Vault,
            Asking::Other => Dialect::Claviger,
        }
    }

    /// Every handle in the head must be the caller's. They are taken out: none goes upstream.
    pub(crate) fn check(
        &mut self,
        service: &Service,
        target: &Target,
        head: &mut Parts,
        caller: Caller<'_>,
    ) -> Result<(), Refusal> {
        if let LoginProtocol::OAuth2(_) = self.login.settings.protocol
            && let Some(query) = target.query()
            && url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token")
        {
            let detail = "a token in the URL, as `access_token`, comes to stand in logs (RFC 6750 §2.3)";
            return Err(Refusal::because(RefusalCode::LoginRefused, "invalid_request", detail));
        }
        let mut in_url = found_in(target.path_and_query().as_bytes()).peekable();
        if in_url.peek().is_some() {
            in_url.try_for_each(|found| self.login.verify(found, caller, "the URL").map(drop))?;
            let detail = "a handle in the URL comes to stand in logs";
            return Err(Refusal::because(RefusalCode::LoginRefused, "invalid_request", detail));
        }
        // Those in the credential's own places may be encoded, as in Basic.
        let slots: Vec<Vec<u8>> = service.plan.presented_tokens(target.authority(), head).map(Into::into).collect();
        for found in slots.iter().filter(|token| token.starts_with(PREFIX.as_bytes())) {
            self.take(found, caller, "the place of the credential")?;
        }
        for InHeader { name, texts, is_encoded } in in_headers(&head.headers) {
            for text in &texts {
                self.take(text, caller, &format!("the header `{name}`"))?;
            }
            // These slots are emptied by themselves: other cookies stay, and so does the user that a password is for.
            let is_password = is_encoded && texts.iter().all(|text| slots.contains(text));
            if name != COOKIE && !is_password {
                head.headers.remove(name);
            }
        }
        if let LoginProtocol::Vault = self.login.settings.protocol {
            vault::strip_inline_logins(&mut head.headers);
        }
        Ok(())
    }

    /// As `refusal`, with an alert where somebody without any proof shows a handle: its owner would have one.
    pub(crate) fn shown_by_nobody(&self, refusal: Refusal, service: &Service, head: &Parts) -> Refusal {
        if refusal.code != RefusalCode::NoIdentity {
            return refusal;
        }
        let opens = |found: &InHeader| found.texts.iter().find_map(|text| self.login.key.open(text));
        match in_headers(&head.headers).iter().find_map(|found| Some((&found.name, opens(found)?))) {
            Some((name, handle)) => {
                refusal.stolen(&handle.owner.to_string(), &service.name, &format!("the header `{name}`"))
            }
            None => refusal,
        }
    }

    fn take(&mut self, text: &[u8], caller: Caller<'_>, place: &str) -> Result<(), Refusal> {
        let handle = match self.login.verify(text, caller, place) {
            Ok(handle) => handle,
            // Whoever logs in may still hold the handle of last time.
            Err(refusal) if refusal.code == RefusalCode::HandleInvalid && self.is_login() => return Ok(()),
            Err(refusal) => return Err(refusal),
        };
        let text = || String::from_utf8_lossy(text).into_owned();
        self.shown.get_or_insert_with(|| Shown { text: text(), handle });
        Ok(())
    }

    fn is_login(&self) -> bool {
        matches!(self.about, Asking::OAuth2(_) | Asking::Vault(Call::Login))
    }

    /// Whether it is answered here. An operation that would hand out a token is refused, unless the rule names it.
    pub(crate) fn is_answered_here(&self, grant: &Grant, headers: &HeaderMap) -> Result<bool, Refusal> {
        // No rule allows it, and the listener does not enforce: what the client shows goes on as it is.
        if grant.is_as_sent() {
            return Ok(false);
        }
        let withheld = |detail: String| Err(Refusal::new(RefusalCode::TokenWithheld, detail));
        let Asking::Vault(call) = &self.about else { return Ok(matches!(self.about, Asking::OAuth2(_))) };
        if let Some(name) = vault::WRAPS.iter().find(|name| headers.contains_key(**name)) {
            return withheld(format!("`{name}` asks for a token that anybody could open the answer with"));
        }
        match call {
            Call::Login | Call::OwnToken(..) => Ok(true),
            Call::Other => Ok(false),
            Call::HandsOut(words) => {
                let pattern = grant.path_pattern().map_or("", |pattern| pattern);
                match vault::is_named_by(pattern, grant.target().path(), words) {
                    true => Ok(false),
                    false => withheld(format!(
                        "`{pattern}` covers an operation that hands out a token, but does not name it"
                    )),
                }
            }
        }
    }

    /// Reads what is asked. Handles in it must be the caller's, as those in the head.
    pub(crate) fn read(&self, head: &Parts, body: &[u8], caller: Caller<'_>) -> Result<Question, Refusal> {
        match &self.about {
            Asking::OAuth2(endpoint) => self.read_form(*endpoint, head, body, caller),
            Asking::Vault(Call::Login) => Ok(Question::Login(Form::Vault)),
            Asking::Vault(Call::OwnToken(about, whose)) => {
                let token = match whose {
                    Whose::Shown => self.shown.as_ref().map(|shown| (shown.text.clone(), shown.handle.clone())),
                    Whose::Named => match vault::named(body) {
                        Some(text) => {
                            let handle = self.login.verify(text.as_bytes(), caller, "the body")?;
                            Some((text, handle))
                        }
                        None => None,
                    },
                };
                Ok(Question::OwnToken(*about, token))
            }
            Asking::Vault(Call::HandsOut(_) | Call::Other) | Asking::Other => {
                Err(Refusal::because(RefusalCode::LoginRefused, "invalid_request", "this is no login"))
            }
        }
    }

    fn read_form(
        &self,
        endpoint: oauth2::Endpoint,
        head: &Parts,
        body: &[u8],
        caller: Caller<'_>,
    ) -> Result<Question, Refusal> {
        let refused = |reason| {
            let detail = format!("the {endpoint:?} endpoint was asked in a way that it does not answer");
            Refusal::because(RefusalCode::LoginRefused, reason, detail.to_lowercase())
        };
        if head.method != Method::POST {
            return Err(refused("invalid_request"));
        }
        let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let json = kind.to_ascii_lowercase().starts_with(b"application/json");
        let form = oauth2::Form::read(json, body).map_err(refused)?;
        let about = form.get("token").map(|text| self.login.verify(text.as_bytes(), caller, "the form"));
        if let Some(Err(refusal)) = &about
            && refusal.code == RefusalCode::HandleStolen
        {
            return Err(about.and_then(Result::err).unwrap_or_else(|| refused("invalid_request")));
        }
        match endpoint {
            // A token that is none, or has ended, is no error to either (RFC 7009 §2.2, RFC 7662 §2.2).
            oauth2::Endpoint::Revoke if about.is_some() => Ok(Question::Revoke),
            oauth2::Endpoint::Introspect if about.is_some() => Ok(Question::Introspect(about.and_then(Result::ok))),
            oauth2::Endpoint::Revoke | oauth2::Endpoint::Introspect => Err(refused("invalid_request")),
            oauth2::Endpoint::Token => {
                form.grant().map_err(refused)?;
                for text in form.values().filter(|text| text.starts_with(PREFIX)) {
                    self.login.verify(text.as_bytes(), caller, "the form")?;
                }
                Ok(Question::Login(Form::OAuth2(form)))
            }
        }
    }

    /// Refuses a caller that logs in all the time.
    pub(crate) fn count(&self, caller: Caller<'_>) -> Result<(), Refusal> {
        match self.login.rate.admits(caller.id(), caller.now.saturating_mul(1_000)) {
            true => Ok(()),
            false => {
                let detail = format!("more than {} logins in a minute", self.login.rate.per_minute());
                Err(Refusal::new(RefusalCode::LoginLimited, detail))
            }
        }
    }

    /// What is answered. `lease_ends` is for a login: its handle ends with the lease (seconds since the Unix epoch), or before.
    pub(crate) fn answer(
        &self,
        question: Question,
        lease_ends: Option<i64>,
        caller: Caller<'_>,
        id: RequestId,
    ) -> Result<Answer, Refusal> {
        let (who, request_id) = (caller.id().as_str(), id.to_string());
        let mut detail = "answered here".to_owned();
        let body = match question {
            Question::Login(form) => {
                let (text, left) = self.login.handle(caller, lease_ends)?;
                detail = format!("answered here, by a handle for {left} s");
                Some(match form {
                    Form::OAuth2(form) => form.token(&text, left),
                    Form::Vault => vault::framed(&request_id, Some(vault::auth(&text, who, left)), None, None),
                })
            }
            Question::Revoke | Question::OwnToken(About::Revoke, Some(_)) => None,
            Question::Introspect(handle) => Some(oauth2::introspection(who, handle.as_ref())),
            Question::OwnToken(About::Lookup, Some((text, handle))) => {
                let data = vault::data(&text, who, &handle, caller.now);
                Some(vault::framed(&request_id, None, Some(data), None))
            }
            Question::OwnToken(About::Renew, Some((text, handle))) => {
                let left = handle.expires.saturating_sub(caller.now);
                let warning = "a handle of Claviger ends with the lease behind it: log in again then";
                Some(vault::framed(&request_id, Some(vault::auth(&text, who, left)), None, Some(warning)))
            }
            Question::OwnToken(_, None) => {
                let why = "the client has not logged in: it shows no handle";
                return Err(Refusal::because(RefusalCode::HandleInvalid, "handle_absent", why));
            }
        };
        // Vault says that there is nothing to say; RFC 7009 §2.2 has an empty answer.
        let status = match (&body, &self.about) {
            (None, Asking::Vault(_)) => StatusCode::NO_CONTENT,
            (_, Asking::OAuth2(_) | Asking::Vault(_) | Asking::Other) => StatusCode::OK,
        };
        Ok(Answer { status, body, detail })
    }
}

#[cfg(test)]
mod tests;
