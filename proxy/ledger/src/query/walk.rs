//! Requests of a window of time, each with its end, in one pass and constant memory.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use claviger_contract::event::RequestId;

use super::facts::Start;
use super::parts::{self, Part};
use crate::error::LedgerError;

/// A record is written after the moment that it names, by less than this: files are chosen by it.
const SLACK_MS: i64 = 3_600_000;

/// A window of time: from `since` on, and before `until`. In milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first moment within; `None`: as far back as the ledger goes.
    pub since_ms: Option<i64>,
    /// The first moment behind; `None`: up to now.
    pub until_ms: Option<i64>,
}

/// The window in the words of the ledger.
struct Bounds {
    since: Option<String>,
    until: Option<String>,
    /// Files that end before this hold nothing of the window.
    from: Option<String>,
    /// Behind this nothing begins that is within.
    to: Option<String>,
}

impl Bounds {
    fn of(window: Window) -> Self {
        Self {
            since: window.since_ms.map(stamp),
            until: window.until_ms.map(stamp),
            from: window.since_ms.map(|since| stamp(since.saturating_sub(SLACK_MS))),
            to: window.until_ms.map(|until| stamp(until.saturating_add(SLACK_MS))),
        }
    }

    fn holds(&self, at: &str) -> bool {
        self.since.as_deref().is_none_or(|since| at >= since) && self.until.as_deref().is_none_or(|until| at < until)
    }
}

/// A moment as records write it.
fn stamp(ms: i64) -> String {
    let second = jiff::Timestamp::from_second(ms.div_euclid(1_000)).unwrap_or_default().to_string();
    format!("{}.{:03}Z", second.trim_end_matches('Z'), ms.rem_euclid(1_000))
}

/// What a walk asks of each request.
pub(crate) trait Visit {
    /// What is kept of a request between its two records.
    type Open;

    /// A `decided` record of the window; `None` if the request is of no interest.
    fn decided(&mut self, start: &Start<'_>, line: &str) -> Option<Self::Open>;

    /// The request's end; no line if it has none: it is under way, or was cut off by a crash.
    fn ended(&mut self, open: Self::Open, finished: Option<&str>) -> ControlFlow<()>;
}

/// Reads a ledger from its oldest file on, and then those of the sessions beside it. What is no record, and an
/// unfinished last line, is passed over.
pub(crate) fn walk<V: Visit>(path: &Path, window: Window, visit: &mut V) -> Result<(), LedgerError> {
    let bounds = Bounds::of(window);
    for ledger in parts::with_sessions(path)? {
        if walk_one(&ledger, &bounds, visit)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn walk_one<V: Visit>(path: &Path, bounds: &Bounds, visit: &mut V) -> Result<ControlFlow<()>, LedgerError> {
    let parts = within(parts::parts(path)?, bounds)?;
    let mut open: HashMap<RequestId, V::Open> = HashMap::new();
    'files: for mut part in parts {
        let Some(mut lines) = part.open()? else { continue };
        while let Some(line) = lines.next_whole()? {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let Some(start) = Start::read(line) else { continue };
            match start.kind {
                "decided" if bounds.holds(start.at) => {
                    if let Some(id) = start.id()
                        && let Some(kept) = visit.decided(&start, line)
                    {
                        open.insert(id, kept);
                    }
                }
                "finished" => {
                    if let Some(kept) = start.id().and_then(|id| open.remove(&id))
                        && visit.ended(kept, Some(line)).is_break()
                    {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                // A new process: what the one before had open has no end.
                "system" if line.contains("\"kind\":\"started\"") => {
                    for (_, kept) in open.drain() {
                        if visit.ended(kept, None).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
                _ => {}
            }
            if open.is_empty() && bounds.to.as_deref().is_some_and(|to| start.at >= to) {
                break 'files;
            }
        }
    }
    for (_, kept) in open {
        if visit.ended(kept, None).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The files that may hold something of the window: those that end before it are not opened.
fn within(parts: Vec<Part>, bounds: &Bounds) -> Result<Vec<Part>, LedgerError> {
    let Some(from) = &bounds.from else { return Ok(parts) };
    let mut first = 0;
    for (at, part) in parts.iter().enumerate() {
        match part.first_line()?.as_deref().and_then(Start::read) {
            // All of the files before it was written before this.
            Some(start) if start.at < from.as_str() => first = at,
            Some(_) => break,
            None => {}
        }
    }
    Ok(parts.into_iter().skip(first).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_sort_as_their_texts() {
        let moments = [0, 999, 1_000, 1_795_341_600_000, 1_795_341_600_001, 1_795_341_659_999, 1_795_341_660_000];
        let texts: Vec<String> = moments.iter().map(|ms| stamp(*ms)).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(texts.get(3).map(String::as_str), Some("2026-11-22T10:00:00.000Z"));
    }
}
