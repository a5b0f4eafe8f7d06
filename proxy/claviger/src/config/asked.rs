//! What workloads and rules ask of attestors, held against the attestors that there are.

use claviger_identity::Attestors;
use claviger_policy::document::{self, Diagnostics};
use claviger_policy::{Policy, Wanted};

/// An attestor that is not there, or an attribute that none can yield, never matches: a deny that asks for it would
/// be silent.
pub(super) fn check(policy: &Policy, attestors: &Attestors, out: &mut Diagnostics) {
    let known = attestors.attribute_names();
    let is_attestor = |name: &str| known.iter().any(|(attestor, _)| **attestor == *name);
    for asked in policy.asked() {
        let (name, of) = match &asked.wanted {
            Wanted::Attestor(name) if is_attestor(name) => continue,
            Wanted::Attestor(name) => {
                attestors.unknown(name, &asked.location, &asked.key, out);
                continue;
            }
            // That an attestor is not there is reported at its own place.
            Wanted::Attribute { of, .. } if !of.iter().all(|attestor| is_attestor(attestor)) => continue,
            Wanted::Attribute { name, of } => (name, of),
        };
        let may_say = |attestor: &str| of.is_empty() || of.iter().any(|one| one == attestor);
        let yielded: Vec<&str> = known
            .iter()
            .filter(|(attestor, _)| may_say(attestor))
            .flat_map(|(_, names)| names.iter().map(|name| &**name))
            .collect();
        if yielded.contains(&&**name) {
            continue;
        }
        let who = match of.as_slice() {
            [] => "no attestor yields".to_owned(),
            [one] => format!("attestor `{one}` does not yield"),
            several => format!("none of the attestors `{}` yields", several.join("`, `")),
        };
        let elsewhere = known.iter().find(|(_, names)| names.contains(name));
        let help = match (document::nearest(name, yielded.iter().copied()), elsewhere) {
            (_, Some((attestor, _))) => format!("attestor `{attestor}` does; name it in `attested_by`"),
            (Some(near), None) => format!("did you mean `{near}`?"),
            (None, None) => {
                format!(
                    "an attestor of kind `jwt` makes it from a claim with `attributes = {{ \"{name}\" = \"CLAIM\" }}`"
                )
            }
        };
        out.error(&asked.location, &asked.key, format!("{who} the attribute `{name}`")).help(help);
    }
}
