//! What happened: the append-only, hash-chained record of decisions and credential events.
//!
//! Requests write through slots that they reserve before anything is sent ([`CoreLedger::reserve`]),
//! one bounded ring per data core; all else comes in through `EventSink`. One thread drains the
//! rings, chains the records by SHA-256 and writes them in batches, so that no request ever waits for
//! the disk, except where `ledger.required` says that it must.
//!
//! One line is one record, a JSON object:
//! `{"seq":N,"at":"…","type":"decided",…,"prev":"<hex>","hash":"<hex>"}`, where `hash` is the SHA-256
//! of the line's bytes up to `,"hash":`, and `prev` is the `hash` of the line before (64 zeros for the
//! first). [`query`] reads and verifies it.
//!
//! Deliberately absent: query strings, path keys, header values and bodies. No record can hold them.

mod chain;
mod commit;
mod encode;
mod error;
mod files;
mod gate;
mod ledger;
mod os;
mod producer;
pub mod query;
pub mod sessions;
mod settings;
mod writer;

pub use chain::Head;
pub use commit::{Commit, CommitError};
pub use error::LedgerError;
pub use ledger::{Ledger, Stats};
pub use producer::{CoreLedger, Open, Reservation};
pub use settings::{LedgerSettings, Sink};
