//! `enforce` of a listener: the one way in which a denial of policy may be left unapplied.

use crate::document::{Diagnostics, Table};

/// Says that a listener's table has `enforce = false`.
///
/// It is read from such a table and made nowhere else, and there is no grant without an allow unless one is
/// shown ([`Policy::decide_unenforced`](crate::Policy::decide_unenforced)): code that has none cannot waive a denial.
#[derive(Debug)]
pub struct Unenforced {
    /// Not public: nobody else makes one.
    _read: (),
}

impl Unenforced {
    /// Takes `enforce` from a `[listener.X]` table; `None` unless it says `false`, which is warned about.
    pub fn take(listener: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let enforce = listener.boolean("enforce", out)?;
        if enforce.value {
            return None;
        }
        let key = listener.key_of("enforce");
        if !listener.key().starts_with("listener.") {
            out.error(&enforce.location, key, "only a listener can leave denials unapplied");
            return None;
        }
        out.warning(&enforce.location, key, "denials of policy are recorded at this listener, and not applied")
            .code(crate::analyze::Code::ListenerNotEnforced)
            .help("read `claviger ledger observed`, add the rules that are missing, then write `enforce = true`");
        Some(Self { _read: () })
    }
}
