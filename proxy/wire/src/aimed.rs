//! Where the last request of a connection went: clients mostly ask for the same again, in the same words.

use std::cell::RefCell;

use claviger_policy::Target;

/// The longest path and `Host` together that are remembered, in bytes.
const WRITTEN_MAX: usize = 256;

/// The target of the last request, by what the client wrote: on one connection that, and the configuration, say where a
/// request goes.
#[derive(Default)]
pub(crate) struct Aimed(RefCell<Option<Last>>);

struct Last {
    generation: u64,
    path: Box<str>,
    host: Box<str>,
    target: Target,
}

impl Aimed {
    /// The target, if the last request was written so, and the configuration is the same.
    pub(crate) fn target(&self, generation: u64, (path, host): (&str, &str)) -> Option<Target> {
        let last = self.0.borrow();
        let last = last.as_ref().filter(|last| last.generation == generation)?;
        (*last.path == *path && *last.host == *host).then(|| last.target.clone())
    }

    /// Remembers this one instead.
    pub(crate) fn keep(&self, generation: u64, (path, host): (&str, &str), target: &Target) {
        if path.len() + host.len() <= WRITTEN_MAX {
            let (path, host, target) = (path.into(), host.into(), target.clone());
            *self.0.borrow_mut() = Some(Last { generation, path, host, target });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use claviger_policy::{Authority, PathMode, Scheme};

    use super::*;

    #[test]
    fn only_the_same_words_in_the_same_configuration_are_known() {
        let target = |path: &str| {
            Target::parse(Scheme::Https, Authority::parse("api.test", 443).unwrap(), path, PathMode::Strict).unwrap()
        };
        let aimed = Aimed::default();
        let known = |generation, path, host| aimed.target(generation, (path, host)).map(|one| one.path().to_owned());
        assert_eq!(known(1, "/api/a", "x"), None);
        aimed.keep(1, ("/api/a", "x"), &target("/a"));
        assert_eq!(known(1, "/api/a", "x").as_deref(), Some("/a"));
        for (generation, path, host) in
            [(2, "/api/a", "x"), (1, "/api/A", "x"), (1, "/api/a", "X"), (1, "/api/", "ax"), (1, "/api/a?", "x")]
        {
            assert_eq!(known(generation, path, host), None, "{generation} {path} {host}");
        }
        // What is too long to be kept does not take another's place.
        let long = format!("/{}", "a".repeat(WRITTEN_MAX));
        aimed.keep(1, (&long, "x"), &target(&long));
        assert_eq!((known(1, &long, "x"), known(1, "/api/a", "x").as_deref()), (None, Some("/a")));
    }
}
