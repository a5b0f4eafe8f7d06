//! The stores that are meant, whatever kind they are of.

use std::path::{Path, PathBuf};

use super::certificate::{Certificate, Entry};
use super::java::JavaStore;
use super::system::SystemStore;
use super::{java, system};

/// Which stores were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    pub(super) system: bool,
    pub(super) java: bool,
    pub(super) root: Option<PathBuf>,
}

/// How a store stands to the authority that counts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It holds it.
    Installed,
    /// It holds it, or one before it, and that has expired.
    Expired,
    /// It holds another one that `install` has added.
    Other,
    /// It holds none.
    Absent,
}

impl Standing {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Expired => "expired",
            Self::Other => "other",
            Self::Absent => "absent",
        }
    }
}

/// One store.
#[derive(Debug)]
pub(super) enum Store {
    System(SystemStore),
    Java(JavaStore),
}

/// The stores that are meant, and what is to be said of others. `all`: where none is named, all of them.
pub(super) fn stores(choice: &Choice, all: bool) -> (Vec<Store>, Vec<String>) {
    let (mut stores, mut notes) = (Vec::new(), Vec::new());
    let root = choice.root.as_deref().unwrap_or(Path::new("/"));
    let unnamed = !choice.system && !choice.java;
    if choice.system || unnamed {
        match system::find(root) {
            Ok(store) => stores.push(Store::System(store)),
            Err(why) => notes.push(why),
        }
    }
    if choice.java || (unnamed && all) {
        let (found, unusable) = java::find(choice.root.as_deref());
        if found.is_empty() && unusable.is_empty() && choice.java {
            notes.push("no Java machine was found: JAVA_HOME, `java` on PATH, /usr/lib/jvm, /opt/java".to_owned());
        }
        stores.extend(found.into_iter().map(Store::Java));
        notes.extend(unusable);
    } else if unnamed && !java::places(choice.root.as_deref()).is_empty() {
        notes.push("Java has stores of its own: `--java` means them".to_owned());
    }
    (stores, notes)
}

impl Store {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::System(_) => "system",
            Self::Java(_) => "java",
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::System(store) => format!("the system's store ({})", store.anchors.display()),
            Self::Java(store) => format!("Java's store {}", store.cacerts.display()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::System(store) => &store.anchors,
            Self::Java(store) => &store.cacerts,
        }
    }

    /// What `install` has put there.
    pub(super) fn ours(&self) -> Vec<Entry> {
        match self {
            Self::System(store) => store.ours(),
            Self::Java(store) => store.ours(),
        }
    }

    pub(super) fn holds(&self, certificate: &Certificate) -> bool {
        self.ours().iter().any(|entry| entry.fingerprint == certificate.fingerprint())
    }

    pub(super) fn standing(&self, authority: Option<&Certificate>) -> Standing {
        let ours = self.ours();
        let current = authority.and_then(|one| ours.iter().find(|entry| entry.fingerprint == one.fingerprint()));
        match (current, ours.first()) {
            (Some(entry), _) if entry.is_expired() || authority.is_some_and(Certificate::is_expired) => {
                Standing::Expired
            }
            (Some(_), _) => Standing::Installed,
            (None, Some(_)) if ours.iter().all(Entry::is_expired) => Standing::Expired,
            (None, Some(_)) => Standing::Other,
            (None, None) => Standing::Absent,
        }
    }

    pub(super) fn is_writable(&self) -> bool {
        match self {
            Self::System(store) => store.is_writable(),
            Self::Java(store) => store.is_writable(),
        }
    }

    /// The commands that would do the same.
    pub(super) fn to_install(&self, certificate: &Certificate) -> Vec<String> {
        match self {
            Self::System(store) => store.to_install(certificate),
            Self::Java(store) => vec![store.to_install(certificate)],
        }
    }

    pub(super) fn to_remove(&self) -> Vec<String> {
        match self {
            Self::System(store) => store.to_remove(),
            Self::Java(store) => store.to_remove(),
        }
    }

    /// Yields what was changed.
    pub(super) fn install(&self, certificate: &Certificate) -> Result<Vec<String>, String> {
        match self {
            Self::System(store) => store.install(certificate),
            Self::Java(store) => store.install(certificate),
        }
    }

    pub(super) fn remove(&self) -> Result<Vec<String>, String> {
        match self {
            Self::System(store) => store.remove(),
            Self::Java(store) => store.remove(),
        }
    }
}
