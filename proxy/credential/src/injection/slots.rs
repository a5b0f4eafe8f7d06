//! The places of a request that hold the credential, as they are at one host.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderName;
use http::header::PROXY_AUTHORIZATION;
use http::request::Parts;

use super::encode::{self, Plus};
use super::header::{Recipe, without_prefix};
use super::path::PathSlot;
use super::value::Field;
use super::{cookie, query};
use crate::certificate::{CERTIFICATE, PRIVATE_KEY};

/// A header that holds the credential and nothing else.
#[derive(Clone, Debug)]
pub(super) struct HeaderSlot {
    pub(super) name: HeaderName,
    pub(super) recipe: Arc<Recipe>,
}

/// A query parameter or a cookie.
#[derive(Clone, Debug)]
pub(super) struct NamedSlot {
    pub(super) name: Box<str>,
    pub(super) field: Field,
    /// Whether the credential goes there. If not, what the client wrote there is removed all the same: it is the slot
    /// at another host of the service, or one that `strip` names.
    pub(super) fill: bool,
}

/// A text that the client writes in place of the credential.
#[derive(Clone, Debug)]
pub(super) struct Placeholder {
    pub(super) text: Box<str>,
    pub(super) field: Field,
    pub(super) headers: Vec<HeaderName>,
    pub(super) query: bool,
    pub(super) body: bool,
}

/// What is emptied and filled in a request to one host.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    pub(super) headers: Vec<HeaderSlot>,
    pub(super) query: Vec<NamedSlot>,
    pub(super) cookies: Vec<NamedSlot>,
    pub(super) paths: Vec<PathSlot>,
    pub(super) placeholders: Vec<Placeholder>,
    /// Whether the credential is a certificate that is shown in TLS.
    pub(super) certificate: bool,
    /// Every header that does not pass as the client wrote it: slots, also those at other hosts, `strip`, the proxy's own.
    pub(super) removed: Vec<HeaderName>,
    pub(super) guard: bool,
}

impl Slots {
    /// Nothing is injected, and what is meant for the proxy does not pass.
    pub(super) fn none(guard: bool) -> Self {
        Self {
            headers: Vec::new(),
            query: Vec::new(),
            cookies: Vec::new(),
            paths: Vec::new(),
            placeholders: Vec::new(),
            certificate: false,
            removed: vec![PROXY_AUTHORIZATION],
            guard,
        }
    }

    /// Whether nothing is injected.
    pub(super) fn is_empty(&self) -> bool {
        !self.always_applies() && self.paths.is_empty() && self.placeholders.is_empty()
    }

    /// Whether there is an injection that needs no placeholder.
    pub(super) fn always_applies(&self) -> bool {
        self.certificate || !self.headers.is_empty() || self.query.iter().chain(&self.cookies).any(|slot| slot.fill)
    }

    /// The fields of a credential that are injected; `None` is its only or main one.
    pub(super) fn fields(&self) -> impl Iterator<Item = Option<&str>> {
        let headers = self.headers.iter().map(|slot| &slot.recipe.field);
        let named = self.query.iter().chain(&self.cookies).filter(|slot| slot.fill).map(|slot| &slot.field);
        let paths = self.paths.iter().map(PathSlot::field);
        let placeholders = self.placeholders.iter().map(|placeholder| &placeholder.field);
        let certificate = [CERTIFICATE, PRIVATE_KEY].into_iter().filter(|_| self.certificate).map(Some);
        headers.chain(named).chain(paths).chain(placeholders).map(Option::as_deref).chain(certificate)
    }

    pub(super) fn in_url(&self) -> bool {
        self.query.iter().any(|slot| slot.fill)
            || !self.paths.is_empty()
            || self.placeholders.iter().any(|placeholder| placeholder.query)
    }

    pub(super) fn in_body(&self) -> bool {
        self.placeholders.iter().any(|placeholder| placeholder.body)
    }

    /// What the client wrote where the credential goes, in the order of the plan: the API-key slot that may hold its
    /// identity token. Last come the headers that `strip` names, for some clients show a key in another place than the
    /// service wants it. Placeholders and paths hold none.
    pub(super) fn presented_tokens<'a>(&'a self, head: &'a Parts) -> impl Iterator<Item = Cow<'a, [u8]>> {
        let headers = self.headers.iter().flat_map(|slot| {
            head.headers.get_all(&slot.name).iter().filter_map(|value| slot.recipe.presented(value.as_bytes()))
        });
        let query = self.query.iter().flat_map(|slot| {
            query::pairs(head.uri.query().unwrap_or_default())
                .filter(|pair| *encode::decode(pair.name, Plus::Space) == *slot.name.as_bytes())
                .map(|pair| encode::decode(pair.value.unwrap_or_default(), Plus::Space))
        });
        let cookies = self.cookies.iter().flat_map(|slot| {
            cookie::pairs(&head.headers)
                .filter(|(name, _)| *name == slot.name.as_bytes())
                .map(|(_, value)| Cow::Borrowed(value))
        });
        let is_slot = |name: &HeaderName| self.headers.iter().any(|slot| slot.name == *name);
        let stripped = self.removed.iter().filter(move |name| **name != PROXY_AUTHORIZATION && !is_slot(name));
        let stripped = stripped.flat_map(|name| head.headers.get_all(name)).map(|value| {
            let written = value.as_bytes();
            Cow::Borrowed(without_prefix(written, b"Bearer ").unwrap_or(written))
        });
        headers.chain(query).chain(cookies).chain(stripped).filter(|token| !token.is_empty())
    }
}
