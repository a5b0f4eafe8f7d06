//! Reading a ledger: its records, and whether its chain is whole.
//!
//! A path names a ledger's folder (then its file is `ledger.jsonl`), its current file (the full files
//! beside it belong to it), or one full file (then only that one is read). Reading takes no lock and
//! disturbs no writer. All functions stream: a ledger may be larger than memory.

mod facts;
mod observed;
mod parts;
mod recall;
mod record;
mod select;
mod tail;
mod touched;
mod verify;
mod walk;

use std::path::Path;

use claviger_contract::event::RequestId;

pub(crate) use self::parts::current_of;

pub use self::observed::{ObservedReport, ObservedRow, observed};
pub use self::recall::{Recalled, recall};
pub use self::record::{Exchange, Record};
pub use self::select::{Principals, Select, select};
pub use self::tail::{Follow, follow, tail, tail_with_sessions};
pub use self::touched::{Totals, Touched, TouchedCredential, TouchedOperation, touched};
pub use self::verify::{Break, Position, VerifyError, VerifyReport, verify, verify_anchored};
pub use self::walk::Window;
use crate::chain::Head;
use crate::error::LedgerError;
use crate::files;
use crate::writer::recover;

/// The records of one request, in their order: `decided`, then `finished` if it has ended. Lines that
/// are no records are passed over; [`verify`] finds them.
///
/// # Errors
/// There is no ledger, or it cannot be read.
pub fn find(path: &Path, id: RequestId) -> Result<Vec<Record>, LedgerError> {
    let needle = format!("\"id\":\"{id}\"");
    let mut found = Vec::new();
    for mut part in parts::parts(path)? {
        let Some(mut lines) = part.open()? else { continue };
        while let Some(line) = lines.next_whole()? {
            let Some(line) = std::str::from_utf8(line).ok().filter(|line| line.contains(&needle)) else { continue };
            found.extend(Record::parse(line).filter(|record| record.id() == Some(id)));
        }
    }
    Ok(found)
}

/// The last record, to be kept elsewhere as an anchor for [`verify_anchored`]; `None` if there is none yet.
///
/// # Errors
/// There is no ledger, it cannot be read, or its end is damaged.
pub fn head(path: &Path) -> Result<Option<Head>, LedgerError> {
    let current = parts::current_of(path);
    match recover::last_of(&current) {
        Ok(Some(head)) => return Ok(Some(head)),
        Ok(None) => {}
        Err(LedgerError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match parts::parts(path)?.iter().rev().find(|part| files::rotated_seq(part.path()).is_some()) {
        Some(part) => recover::last_of(part.path()),
        None => Ok(None),
    }
}
