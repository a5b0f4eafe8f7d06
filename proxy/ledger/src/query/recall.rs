//! One request, and the configuration that judged it.

use std::collections::HashMap;
use std::path::Path;

use claviger_contract::event::RequestId;

use super::parts;
use super::record::Record;
use crate::error::LedgerError;

/// What the ledger knows of one request.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// Its records in their order: `decided`, then `finished` if it has ended.
    pub records: Vec<Record>,
    /// The digest of the configuration that judged it; `None` if the ledger does not say.
    pub configuration: Option<String>,
}

/// As [`find`](super::find), with the configuration that was in force; the ledgers of sessions are looked through too.
///
/// # Errors
/// There is no ledger, or it cannot be read.
pub fn recall(path: &Path, id: RequestId) -> Result<Recalled, LedgerError> {
    let mut recalled = Recalled { records: Vec::new(), configuration: None };
    for ledger in parts::with_sessions(path)? {
        recalled = recall_in(&ledger, id)?;
        if !recalled.records.is_empty() {
            break;
        }
    }
    Ok(recalled)
}

fn recall_in(path: &Path, id: RequestId) -> Result<Recalled, LedgerError> {
    let needle = format!("\"id\":\"{id}\"");
    let mut records: Vec<Record> = Vec::new();
    // By generation; numbers start anew with each process.
    let mut digests: HashMap<u64, String> = HashMap::new();
    let mut is_its_process = true;
    for mut part in parts::parts(path)? {
        let Some(mut lines) = part.open()? else { continue };
        while let Some(line) = lines.next_whole()? {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            if line.contains(&needle) {
                records.extend(Record::parse(line).filter(|record| record.id() == Some(id)));
            } else if is_its_process
                && line.contains("\"type\":\"system\"")
                && let Some(record) = Record::parse(line)
            {
                if record.text("kind") == Some("started") {
                    is_its_process = records.is_empty();
                    if !is_its_process {
                        continue;
                    }
                    digests.clear();
                }
                if let (Some(generation), Some(digest)) = (record.number("generation"), record.text("configuration")) {
                    digests.insert(generation, digest.to_owned());
                }
            }
        }
    }
    let generation = records.first().and_then(|decided| decided.number("generation"));
    let configuration = generation.and_then(|generation| digests.remove(&generation));
    Ok(Recalled { records, configuration })
}
