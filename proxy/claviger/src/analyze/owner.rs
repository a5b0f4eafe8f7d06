//! To whom a host name belongs, as far as the name says.

use claviger_policy::HostPattern;
use psl::Psl;

/// The registrable domain (`x.co.uk`), by the Public Suffix List; of a name under no public suffix, such as
/// `billing.internal`, the last label. `None`: an address.
pub(super) fn owner(host: &HostPattern) -> Option<String> {
    if host.host().is_ip().is_some() {
        return None;
    }
    let name = host.host().as_str();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match psl::List.domain(name.as_bytes()) {
        Some(domain) if domain.suffix().is_known() => Some(text(domain.as_bytes())),
        Some(_) | None => name.rsplit('.').next().map(str::to_owned),
    }
}

/// Whether anyone can register names directly below it.
pub(super) fn is_public_suffix(host: &HostPattern) -> bool {
    let name = host.host().as_str().as_bytes();
    psl::List.suffix(name).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn owners_of_names() {
        for (name, expected, public) in [
            ("api.openai.com", Some("openai.com"), false),
            ("*.eu.crm.co.uk", Some("crm.co.uk"), false),
            ("*.co.uk", None, true),
            ("*.com", None, true),
            ("*.github.io", None, true),
            ("me.github.io", Some("me.github.io"), false),
            ("*.openai.com", Some("openai.com"), false),
            ("billing.internal", Some("internal"), false),
            ("*.internal", Some("internal"), false),
            ("10.0.0.1", None, false),
        ] {
            let host = HostPattern::parse(name, 443).unwrap();
            assert_eq!(is_public_suffix(&host), public, "{name}");
            if !public {
                assert_eq!(owner(&host).as_deref(), expected, "{name}");
            }
        }
    }
}
