//! What presets say of themselves, by which their traces are recognised.

use claviger_contract::Secret;
use claviger_wire::ClientSettings;
use claviger_wire::preset;

use super::value;

/// One preset.
#[derive(Debug)]
pub(super) struct Known {
    /// Its name.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: String,
    /// Where it leads.
    pub(super) hosts: Vec<String>,
    /// Whether that is done in clear text.
    pub(super) cleartext: bool,
    /// The fields of its credential, where it wants several keys at once.
    pub(super) fields: Vec<String>,
    /// Its named sets, with what is in them.
    pub(super) operations: Vec<(String, Vec<String>)>,
    /// Of its clients.
    pub(super) client: ClientSettings,
}

/// All of them, by name.
#[derive(Debug)]
pub(super) struct Presets(Vec<Known>);

impl Presets {
    /// The bundled ones.
    pub(super) fn bundled() -> Self {
        let known = |preset: preset::Preset| {
            let about = preset.about();
            let title = if about.title.is_empty() { preset.name().to_owned() } else { about.title };
            let text = preset.text().parse::<toml::Table>().unwrap_or_default();
            let cleartext = text.get("cleartext").and_then(toml::Value::as_bool).unwrap_or(false);
            let fields = fields(text.get("inject"));
            let (hosts, operations, client) = (about.hosts, about.operations, about.client);
            Known { name: preset.name(), title, hosts, cleartext, fields, operations, client }
        };
        Self(preset::all().map(known).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.0.iter()
    }

    /// The one of that name.
    pub(super) fn named(&self, name: &str) -> Option<&Known> {
        self.0.iter().find(|known| known.name == name)
    }

    /// The one whose packages this is among: `npm:openai`.
    pub(super) fn of_package(&self, package: &str) -> impl Iterator<Item = &Known> {
        self.0.iter().filter(move |known| known.client.packages.iter().any(|one| one.eq_ignore_ascii_case(package)))
    }

    /// The one that has the host.
    pub(super) fn of_host(&self, host: &str) -> Option<&Known> {
        let host = host.to_ascii_lowercase();
        let serves = |pattern: &String| match pattern.strip_prefix("*.") {
            Some(suffix) => host.strip_suffix(suffix).is_some_and(|sub| sub.ends_with('.')),
            None => *pattern == host,
        };
        self.0.iter().find(|known| known.hosts.iter().any(serves))
    }

    /// Whose key a value is by how it begins, and by which prefix: the longest decides.
    pub(super) fn of_value(&self, value: &Secret) -> Option<(&Known, &str)> {
        let prefixes = self.prefixes().filter(|(_, prefix)| value::is_key_of(value, prefix));
        prefixes.max_by_key(|(_, prefix)| prefix.len())
    }

    /// The one that asks for the variable. Several may: then the value's prefix decides, then the one in whose list it
    /// stands first.
    pub(super) fn of_variable(&self, name: &str, value: Option<&Secret>) -> Option<&Known> {
        let place = |known: &Known| known.client.secrets.iter().position(|one| one == name);
        let fits = |known: &&Known| {
            let begins = |prefix: &String| value.is_some_and(|value| value::begins_with(value, prefix));
            known.client.prefixes.iter().any(begins)
        };
        let asking: Vec<(&Known, usize)> = self.0.iter().filter_map(|known| Some((known, place(known)?))).collect();
        let by_value = asking.iter().map(|(known, _)| *known).find(fits);
        by_value.or_else(|| asking.iter().min_by_key(|(_, place)| *place).map(|(known, _)| *known))
    }

    /// Every prefix, with whose it is.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (&Known, &str)> {
        self.0.iter().flat_map(|known| known.client.prefixes.iter().map(move |prefix| (known, prefix.as_str())))
    }

    /// Whether the value is what a preset puts in a key's place.
    pub(super) fn is_placeholder(&self, value: &Secret) -> bool {
        self.0.iter().filter_map(|known| known.client.placeholder.as_ref()).any(|text| value::is_text(value, text))
            || value::is_canary(value)
    }
}

impl Known {
    /// The longest of its prefixes that the value has.
    pub(super) fn prefix_of(&self, value: &Secret) -> Option<&str> {
        let prefixes = self.client.prefixes.iter().filter(|prefix| value::begins_with(value, prefix));
        prefixes.max_by_key(|prefix| prefix.len()).map(String::as_str)
    }
}

/// What its injections take `from`.
fn fields(inject: Option<&toml::Value>) -> Vec<String> {
    let all = inject.and_then(toml::Value::as_array).into_iter().flatten();
    all.filter_map(|one| Some(one.get("from")?.as_str()?.to_owned())).collect()
}
