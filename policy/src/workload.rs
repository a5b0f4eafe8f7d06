//! Selectors of callers: `[workload.NAME]`.

use std::sync::Arc;

use crate::asked::{Asked, Wanted};
use crate::document::{Diagnostics, Item, Located, Location, Table, Value};
use crate::pattern::PathPattern;
use crate::principal::check_segment;
use crate::value::{Literal, Truth, ValueTest};
use crate::{Principal, SpiffeId, Team, TrustDomain};

/// Who a workload is.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) name: Arc<str>,
    pub(crate) location: Location,
    pub(crate) ids: Vec<IdPattern>,
    pub(crate) attributes: Vec<(Arc<str>, ValueTest)>,
    /// Which attestors may have yielded it; empty: any.
    pub(crate) attested_by: Vec<String>,
    /// Whether a session of `claviger exec` may be it.
    pub(crate) exec: bool,
    /// What of this only the attestors can confirm.
    pub(crate) asked: Vec<Asked>,
}

/// A SPIFFE ID in which `*` is one segment and a trailing `**` is the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPattern {
    pub(crate) domain: TrustDomain,
    /// `None`: the ID of the trust domain itself.
    pub(crate) path: Option<PathPattern>,
}

/// Whether a test of the configuration stands in for an attestor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attested {
    /// By the attestor that the principal names.
    Really,
    /// A `[[test]]` that names no attestor: any would do.
    Assumed,
}

impl IdPattern {
    /// Reads `spiffe://DOMAIN/PATH`.
    ///
    /// # Errors
    /// What is wrong with the text, in words for whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("spiffe://") else {
            return Err(format!("`{text}` is not a SPIFFE ID; it starts with `spiffe://`"));
        };
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if domain.contains('*') {
            return Err("the trust domain of a pattern has no `*`; list the domains".into());
        }
        let domain = TrustDomain::parse(domain).map_err(|error| format!("`{text}`: {error}"))?;
        if path.is_empty() {
            return Ok(Self { domain, path: None });
        }
        for segment in path.split('/').skip(1).filter(|segment| !segment.contains('*')) {
            check_segment(segment).map_err(|error| format!("`{text}`: {error}"))?;
        }
        Ok(Self { domain, path: Some(PathPattern::parse(path)?) })
    }

    pub(crate) fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Whether every ID that `other` matches is one of this pattern's.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.domain == other.domain
            && match (&self.path, &other.path) {
                (Some(outer), Some(inner)) => outer.covers(inner),
                // The ID of the trust domain itself.
                (Some(outer), None) => outer.as_str() == "/**",
                (None, inner) => inner.is_none(),
            }
    }

    /// The pattern of every ID of a trust domain.
    pub(crate) fn whole(domain: &TrustDomain) -> Self {
        Self { domain: domain.clone(), path: PathPattern::parse("/**").ok() }
    }

    /// The ID, if the pattern is one and no more.
    pub fn only(&self) -> Option<SpiffeId> {
        let path = self.path.as_ref().map_or("", PathPattern::as_str);
        if path.contains('*') { None } else { SpiffeId::parse(&format!("spiffe://{}{path}", self.domain)).ok() }
    }

    /// Whether an ID is one of the pattern's.
    pub fn matches(&self, id: &SpiffeId) -> bool {
        id.trust_domain() == self.domain.as_str()
            && match &self.path {
                Some(pattern) => pattern.matches(id.path()),
                None => id.path().is_empty(),
            }
    }

    /// An ID that both match; `None` if there is none. Exact.
    pub(crate) fn common(&self, other: &Self) -> Option<SpiffeId> {
        if self.domain != other.domain {
            return None;
        }
        let any = |pattern: &PathPattern| pattern.as_str() == "/**";
        let path = match (&self.path, &other.path) {
            (Some(a), Some(b)) => a.intersect(b)?.witness(),
            (None, None) => String::new(),
            (None, Some(pattern)) | (Some(pattern), None) if any(pattern) => String::new(),
            _ => return None,
        };
        SpiffeId::parse(&format!("spiffe://{}{path}", self.domain)).ok()
    }
}

impl std::fmt::Display for IdPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "spiffe://{}{}", self.domain, self.path.as_ref().map_or("", PathPattern::as_str))
    }
}

impl Workload {
    /// Takes `spiffe`, `foreign`, `match`, `attested_by` and `exec`.
    pub(crate) fn take(
        name: Located<String>,
        mut table: Table,
        trust_domain: &TrustDomain,
        teams: &[Team],
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let foreign = table.boolean("foreign", out).is_some_and(|foreign| foreign.value);
        if !table.has("spiffe") {
            table.missing("spiffe", out);
        }
        let ids = table.strings("spiffe", out).map(|texts| {
            let ids = take_ids(&texts, &table, foreign, trust_domain, out)?;
            let within = within_team(&texts, &ids, &table.key_of("spiffe"), teams, out);
            within.then_some(ids)
        });
        let mut asked = Vec::new();
        let attributes = match table.table("match", out) {
            Some(attributes) => take_attributes(attributes, &mut asked, out),
            None => Some(Vec::new()),
        };
        let attested_by = take_attested_by(&mut table, &mut asked, out);
        let exec = take_exec(&mut table, &attested_by, out);
        table.finish(out);
        Some(Self {
            name: name.value.into(),
            location: name.location,
            ids: ids??,
            attributes: attributes?,
            attested_by,
            exec,
            asked,
        })
    }

    /// How much there is to compare in it: IDs, and the bytes of the values that it names.
    pub(crate) fn size(&self) -> usize {
        let attributes = self.attributes.iter().map(|(_, test)| test.size()).sum::<usize>();
        self.ids.len() + self.attested_by.len() + attributes
    }

    /// Whether an ID is one of its IDs, whatever else it asks for.
    pub(crate) fn has(&self, id: &SpiffeId) -> bool {
        self.ids.iter().any(|pattern| pattern.matches(id))
    }

    /// Whether a principal is this workload. A missing attribute is unknown, never a mismatch: a deny
    /// of this workload holds for it, an allow does not.
    pub(crate) fn selects(&self, principal: &Principal, attested: Attested) -> Truth {
        let by_attestor = attested == Attested::Assumed
            || self.attested_by.is_empty()
            || self.attested_by.iter().any(|name| **name == *principal.attested_by);
        if !by_attestor || !self.ids.iter().any(|id| id.matches(&principal.id)) {
            return Truth::False;
        }
        // Who a session is was chosen by whoever started it: an allow wants to have been asked, a deny holds anyway.
        let permitted = match attested == Attested::Assumed || self.exec || !principal.is_of_exec_session() {
            true => Truth::True,
            false => Truth::Unknown,
        };
        let holds = |(name, test): &(Arc<str>, ValueTest)| {
            principal.attributes.get(name).map_or(Truth::Unknown, |value| test.holds(value))
        };
        self.attributes.iter().map(holds).fold(permitted, Truth::min)
    }
}

fn take_ids(
    texts: &[Located<String>],
    table: &Table,
    foreign: bool,
    trust_domain: &TrustDomain,
    out: &mut Diagnostics,
) -> Option<Vec<IdPattern>> {
    let key = table.key_of("spiffe");
    if texts.is_empty() {
        out.error(table.location(), key, "the list is empty").help("name at least one SPIFFE ID");
        return None;
    }
    let mut parse = |text: &Located<String>| match IdPattern::parse(&text.value) {
        Ok(id) if id.domain != *trust_domain && !foreign => {
            let message = format!("`{}` is of another trust domain than `{trust_domain}`", text.value);
            out.error(&text.location, key.clone(), message)
                .help("if workloads of that domain are meant, say so with `foreign = true`");
            None
        }
        Ok(id) => Some(id),
        Err(message) => {
            out.error(&text.location, key.clone(), message);
            None
        }
    };
    // All are parsed before any failure counts, so that every error is reported.
    let parsed: Vec<Option<IdPattern>> = texts.iter().map(&mut parse).collect();
    parsed.into_iter().collect()
}

/// Whether every ID is one of the team in whose file it stands.
fn within_team(texts: &[Located<String>], ids: &[IdPattern], key: &str, teams: &[Team], out: &mut Diagnostics) -> bool {
    let mut within = true;
    for (text, id) in texts.iter().zip(ids) {
        let Some(name) = text.location.team() else { continue };
        // A team whose own table is wrong is reported there.
        let Some(team) = teams.iter().find(|team| team.name() == name) else { return false };
        if !team.covers(id) {
            let message = format!("`{}` is beyond the identities of team `{name}`", text.value);
            out.error(&text.location, key, message).help(format!(
                "they are {}: the platform says so at {}",
                team.identities_text(),
                team.location()
            ));
            within = false;
        }
    }
    within
}

/// Takes `attested_by`, and narrows what was asked so far to these attestors.
fn take_attested_by(table: &mut Table, asked: &mut Vec<Asked>, out: &mut Diagnostics) -> Vec<String> {
    let key = table.key_of("attested_by");
    let written = table.has("attested_by").then(|| table.location().clone());
    let names = table.strings("attested_by", out);
    if let (Some(location), Some([])) = (&written, names.as_deref()) {
        out.error(location, key.clone(), "the list is empty").help("leave the key out for any attestor");
    }
    let names = names.unwrap_or_default();
    let texts: Vec<String> = names.iter().map(|name| name.value.clone()).collect();
    for asked in asked.iter_mut() {
        if let Wanted::Attribute { of, .. } = &mut asked.wanted {
            of.clone_from(&texts);
        }
    }
    asked.extend(names.into_iter().map(|name| Asked {
        key: key.clone(),
        location: name.location,
        wanted: Wanted::Attestor(name.value.into()),
    }));
    texts
}

/// Takes `exec`.
fn take_exec(table: &mut Table, attested_by: &[String], out: &mut Diagnostics) -> bool {
    let Some(exec) = table.boolean("exec", out) else { return false };
    if exec.value && !attested_by.is_empty() {
        let message = "with `attested_by` no session of `claviger exec` is this workload: nobody attests what it is";
        out.error(&exec.location, table.key_of("exec"), message)
            .help("leave one of the two out, or define a workload of its own for sessions");
    }
    exec.value
}

fn take_attributes(table: Table, asked: &mut Vec<Asked>, out: &mut Diagnostics) -> Option<Vec<(Arc<str>, ValueTest)>> {
    let mut attributes = Vec::new();
    let mut right = true;
    for (name, item) in table.into_entries() {
        asked.push(Asked {
            key: item.key.clone(),
            location: name.location.clone(),
            wanted: Wanted::Attribute { name: name.value.as_str().into(), of: Vec::new() },
        });
        let (location, key) = (item.location.clone(), item.key.clone());
        let literals = match item.value {
            Value::Array(items) if items.is_empty() => {
                out.error(&location, key, "the list is empty, so that nothing matches").help("name at least one value");
                None
            }
            Value::Array(items) => items.into_iter().map(|item| take_literal(item, out)).collect::<Option<Vec<_>>>(),
            _ => take_literal(item, out).map(|literal| vec![literal]),
        };
        match literals {
            Some(any) => attributes.push((name.value.into(), ValueTest::In { any: any.into(), negated: false })),
            None => right = false,
        }
    }
    right.then_some(attributes)
}

fn take_literal(item: Item, out: &mut Diagnostics) -> Option<Literal> {
    match item.value {
        Value::String(text) => Some(Literal::listed(&text)),
        Value::Integer(value) => Some(Literal::Integer(value)),
        Value::Boolean(value) => Some(Literal::Boolean(value)),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            let help = "nested keys are quoted, as in `match = { \"github.ref\" = \"refs/heads/main\" }`";
            out.error(&item.location, item.key, "expected a string, an integer, a boolean, or a list of them")
                .help(help);
            None
        }
    }
}
