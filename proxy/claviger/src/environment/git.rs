//! git: `http.proxy` of a user's configuration goes before the variables, so ours is written after it, by the numbered
//! variables that extend a configuration (`GIT_CONFIG_COUNT`, git 2.31).

use super::family::Values;
use super::{Endpoint, Environment, Inherited};

/// Adds the proxy for all URLs, and for each host of a service: what a configuration says of a URL goes before what it
/// says of all.
pub(super) fn configure(endpoint: &Endpoint, values: &Values, inherited: Inherited<'_>, made: &mut Environment) {
    let count = |value: std::ffi::OsString| value.to_str()?.trim().parse::<usize>().ok();
    let mut next = inherited("GIT_CONFIG_COUNT").and_then(count).unwrap_or(0);
    let mut add = |key: String, value: &str| {
        made.set(&format!("GIT_CONFIG_KEY_{next}"), key);
        made.set(&format!("GIT_CONFIG_VALUE_{next}"), value);
        next += 1;
    };
    add("http.proxy".to_owned(), &values.proxy);
    for host in endpoint.services.iter().flat_map(|service| &service.hosts).filter(|host| !host.contains('*')) {
        add(format!("http.https://{host}.proxy"), &values.proxy);
    }
    made.set("GIT_CONFIG_COUNT", next.to_string());
}
