//! From what was seen to what is proposed: services, what may be done there, and where each key comes from.

use claviger_contract::Secret;

use super::known::{Known, Presets};
use super::look::{Found, Place, Seen};
use super::value;
use crate::command::Failure;

/// One service.
#[derive(Debug)]
pub(super) struct Service<'a> {
    /// In the configuration.
    pub(super) name: String,
    pub(super) preset: &'a Known,
    /// Instead of the preset's.
    pub(super) hosts: Vec<String>,
    /// Its traces, for people.
    pub(super) because: Vec<String>,
    /// Where the name of its secret is to be, and where the value comes from.
    pub(super) secret: String,
    pub(super) key: Key,
}

/// Where a service's key comes from.
#[derive(Debug)]
pub(super) enum Key {
    /// It was found, or given, and may be sealed.
    Here { value: Secret, places: Vec<Place> },
    /// It is sealed already.
    Sealed { places: Vec<Place> },
    /// It is to be sealed later.
    Later { places: Vec<Place> },
    /// Nobody has one here.
    Missing,
}

impl Key {
    /// Where the value stands in plain text.
    pub(super) fn places(&self) -> &[Place] {
        match self {
            Self::Here { places, .. } | Self::Sealed { places } | Self::Later { places } => places,
            Self::Missing => &[],
        }
    }
}

/// What was asked for by name: `NAME`, or `NAME=PRESET`.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(super) name: String,
    pub(super) preset: String,
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, preset) = text.split_once('=').unwrap_or((text, text));
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_part) {
            return Err(format!("`{name}` is not a name: it has letters, digits, `-` and `_`, and at most 64 of them"));
        }
        Ok(Self { name: name.to_owned(), preset: preset.to_owned() })
    }
}

/// What is proposed. Without names, it is what was seen.
pub(super) fn services<'a>(
    presets: &'a Presets,
    seen: &mut Seen,
    wanted: &[Wanted],
) -> Result<Vec<Service<'a>>, Failure> {
    follow_base_urls(presets, seen);
    let all: Vec<(String, &Known)> = if wanted.is_empty() {
        let is_seen = |known: &&Known| seen.traces.iter().any(|(preset, _)| *preset == known.name);
        presets.iter().filter(is_seen).map(|known| (known.name.to_owned(), known)).collect()
    } else {
        wanted.iter().map(|wanted| of_name(presets, wanted)).collect::<Result<_, _>>()?
    };
    let mut services = Vec::new();
    for (name, preset) in all {
        let hosts: Vec<String> = seen
            .elsewhere
            .iter()
            .filter(|(of, ..)| *of == preset.name)
            .map(|(_, host, _)| host.clone())
            .take(1)
            .collect();
        if hosts.is_empty() && preset.hosts.is_empty() {
            let variables: Vec<&str> = preset.client.base_urls.keys().map(String::as_str).collect();
            let why = format!("the host of {} is your own, and nothing here names it", preset.title);
            let advice = match variables.is_empty() {
                true => format!("write `[service.{name}]` yourself, with `preset = \"{}\"` and `hosts`", preset.name),
                false => format!("set {} to its URL, and type it again", variables.join(" or ")),
            };
            if !wanted.is_empty() {
                return Err(Failure::Call(format!("{why}; {advice}")));
            }
            seen.notes.push(format!("`{name}` is not proposed: {why}; {advice}"));
            continue;
        }
        if !preset.fields.is_empty() {
            let fields: Vec<String> =
                preset.fields.iter().map(|field| format!("{field} = \"secret://sealed/{name}-{field}\"")).collect();
            let why = format!("{} wants several keys at once, which `init` does not seal", preset.title);
            let advice = format!(
                "seal each by `claviger secret set`, and write `[credential.{name}]` with `value = {{ {} }}`",
                fields.join(", ")
            );
            if !wanted.is_empty() {
                return Err(Failure::Call(format!("{why}; {advice}")));
            }
            seen.notes.push(format!("`{name}` is not proposed: {why}; {advice}"));
            continue;
        }
        let mut because: Vec<String> = Vec::new();
        because.extend(seen.traces.iter().filter(|(of, _)| *of == preset.name).map(|(_, trace)| trace.clone()));
        let key = match take_key(seen, preset) {
            Some(Found { value, places, .. }) => Key::Here { value, places },
            None => Key::Missing,
        };
        services.push(Service { secret: name.clone(), name, preset, hosts, because, key });
    }
    Ok(services)
}

fn of_name<'a>(presets: &'a Presets, wanted: &Wanted) -> Result<(String, &'a Known), Failure> {
    let known = presets.named(&wanted.preset).ok_or_else(|| {
        let names: Vec<&str> = presets.iter().map(|known| known.name).collect();
        let near = claviger_policy::document::nearest(&wanted.preset, names.iter().copied());
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", names.join(", ")),
        };
        Failure::Call(format!("`{}` is no preset; {help}", wanted.preset))
    })?;
    Ok((wanted.name.clone(), known))
}

/// The first value that fits: what programs read from their environment goes before files.
fn take_key(seen: &mut Seen, preset: &Known) -> Option<Found> {
    let mine = |found: &Found| found.preset == preset.name && found.unfit.is_none();
    let at = seen.found.iter().position(mine)?;
    Some(seen.found.remove(at))
}

/// Clients that are told to go to another known service send their key there: it is that service's, unless it looks like
/// one of their own.
fn follow_base_urls(presets: &Presets, seen: &mut Seen) {
    let (to_known, unknown): (Vec<_>, Vec<_>) =
        std::mem::take(&mut seen.elsewhere).into_iter().partition(|(_, host, _)| presets.of_host(host).is_some());
    for (preset, host, place) in to_known {
        let Some(other) = presets.of_host(&host) else { continue };
        let is_guess = |found: &&mut Found| {
            let own = presets.named(found.preset).and_then(|known| known.prefix_of(&found.value));
            found.preset == preset && own.is_none()
        };
        for found in seen.found.iter_mut().filter(is_guess) {
            found.preset = other.name;
            seen.traces.extend(found.places.iter().map(|place| (other.name, place.to_string())));
        }
        seen.traces.push((other.name, place.to_string()));
        if !seen.found.iter().any(|found| found.preset == preset) {
            seen.traces.retain(|(of, _)| *of != preset);
        }
    }
    seen.elsewhere = unknown;
}

impl Service<'_> {
    /// The sets of operations that a rule begins with: asking and reading. All of a preset's sets are safe to allow by
    /// their name; these are what most programs need.
    pub(super) fn ops(&self) -> Vec<String> {
        const USUAL: [&str; 6] = ["chat", "read", "clone", "fetch", "pull", "install"];
        let names = self.preset.operations.iter().map(|(name, _)| name.as_str());
        let usual: Vec<String> =
            names.clone().filter(|name| USUAL.contains(name)).map(|name| format!("@{name}")).collect();
        if usual.is_empty() { names.take(1).map(|name| format!("@{name}")).collect() } else { usual }
    }

    /// The hosts, as written.
    pub(super) fn leads_to(&self) -> &[String] {
        if self.hosts.is_empty() { &self.preset.hosts } else { &self.hosts }
    }

    /// What may be said of its key.
    pub(super) fn describe(&self) -> Option<String> {
        match &self.key {
            Key::Here { value, .. } => Some(value::describe(value, self.preset.prefix_of(value))),
            Key::Sealed { .. } | Key::Later { .. } | Key::Missing => None,
        }
    }

    /// What its presets' keys usually begin with, and this one does not.
    pub(super) fn doubt(&self) -> Option<String> {
        let Key::Here { value, .. } = &self.key else { return None };
        let prefixes = &self.preset.client.prefixes;
        let is_odd = !prefixes.is_empty() && self.preset.prefix_of(value).is_none();
        is_odd.then(|| format!("not as keys of {} usually begin", self.preset.title))
    }
}
