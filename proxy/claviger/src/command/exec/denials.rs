//! What was refused, on the command's own stderr: what, why, and what to type next.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use claviger_wire::Refused;

use crate::console;

/// Refusals that wait to be shown; beyond, they are counted only.
const WAITING_MAX: usize = 256;
/// So many are shown at once, and one more each second.
const BURST: u32 = 8;
const REFILL: Duration = Duration::from_secs(1);
/// The same refusal is shown again after this time.
const AGAIN: Duration = Duration::from_secs(30);

/// Shows refusals, not more than anybody reads.
pub(crate) struct Denials {
    sender: Option<SyncSender<Refused>>,
    thread: Option<JoinHandle<()>>,
}

impl Denials {
    /// `next` yields the command to type about a refusal; `quiet`: nothing is shown.
    pub(crate) fn start(next: NextCommand, quiet: bool) -> std::io::Result<Self> {
        if quiet {
            return Ok(Self { sender: None, thread: None });
        }
        Self::show(next, console::aside)
    }

    /// As [`start`](Self::start), where nobody looks at stderr.
    pub(crate) fn into_file(next: NextCommand, mut log: std::fs::File) -> std::io::Result<Self> {
        Self::show(next, move |text| super::detach::append(&mut log, text))
    }

    fn show(next: NextCommand, mut show: impl FnMut(&str) + Send + 'static) -> std::io::Result<Self> {
        let (sender, refused) = sync_channel(WAITING_MAX);
        let show = move || show_all(&refused, &next, &mut show);
        let thread = std::thread::Builder::new().name("denials".to_owned()).spawn(show)?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// What the proxy tells. It never waits: a terminal that is stopped must not hold up requests.
    pub(crate) fn teller(&self) -> Arc<dyn Fn(Refused) + Send + Sync> {
        let sender = self.sender.clone();
        Arc::new(move |refused: Refused| {
            // Clients ask without a proof first where they wait to be asked for it (407): git does.
            if let Some(sender) = sender.as_ref().filter(|_| refused.code != "no_identity") {
                let _ = sender.try_send(refused);
            }
        })
    }

    /// Shows what is left. The proxy must have ended.
    pub(crate) fn finish(mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What to type about a refusal.
#[derive(Clone, Debug, Default)]
pub(crate) struct NextCommand {
    /// ` --config FILE`, if the session was started with one.
    pub(crate) config: String,
    /// Whether the decision was made here, so that this machine's ledger has it.
    pub(crate) is_here: bool,
}

impl NextCommand {
    fn of(&self, refused: &Refused) -> String {
        let (id, config) = (&refused.request_id, &self.config);
        match refused.code.as_str() {
            "outside_session" => "start the command with `--service` for this one too".to_owned(),
            "denied" if self.is_here => format!("claviger suggest{config} {id}"),
            _ if self.is_here => format!("claviger explain{config} {id}"),
            // The gateway was not asked, or did not answer.
            _ if refused.detail.is_some() => "claviger doctor".to_owned(),
            _ => format!("ask whoever runs the gateway about request {id}"),
        }
    }
}

fn text_of(refused: &Refused, next: &NextCommand) -> String {
    let Refused { method, url, code, detail, .. } = refused;
    let detail = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let what = if url.is_empty() { method.clone() } else { format!("{method} {url}") };
    format!("claviger: refused {what}: {code}{detail}\n  next: {}", next.of(refused))
}

/// Shows until all senders are gone.
fn show_all(refused: &Receiver<Refused>, next: &NextCommand, show: &mut dyn FnMut(&str)) {
    let mut allowance = Allowance::new(Instant::now());
    let mut hidden = 0_u32;
    loop {
        // What was held back is told when it is quiet again, and at the end.
        let timeout = if hidden > 0 { REFILL } else { Duration::from_secs(3_600) };
        let told = match refused.recv_timeout(timeout) {
            Ok(one) if allowance.takes(&one, Instant::now()) => {
                show(&text_of(&one, next));
                continue;
            }
            Ok(_) => {
                hidden = hidden.saturating_add(1);
                continue;
            }
            Err(told) => told,
        };
        if hidden > 0 {
            let config = &next.config;
            let requests = if hidden == 1 { "1 more request".to_owned() } else { format!("{hidden} more requests") };
            match next.is_here {
                true => show(&format!(
                    "claviger: {requests} refused\n  next: claviger ledger{config} query --decision deny"
                )),
                false => show(&format!("claviger: {requests} refused")),
            }
            hidden = 0;
        }
        if told == RecvTimeoutError::Disconnected {
            return;
        }
    }
}

/// Which refusals are shown, and which are only counted.
struct Allowance {
    left: u32,
    since: Instant,
    shown: HashMap<(String, String, String), Instant>,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, shown: HashMap::new() }
    }

    fn takes(&mut self, refused: &Refused, now: Instant) -> bool {
        while self.left < BURST && now.duration_since(self.since) >= REFILL {
            self.left += 1;
            self.since += REFILL;
        }
        if self.left == BURST {
            self.since = now;
        }
        self.shown.retain(|_, shown| now.duration_since(*shown) < AGAIN);
        let key = (refused.method.clone(), refused.url.clone(), refused.code.clone());
        if self.left == 0 || self.shown.contains_key(&key) {
            return false;
        }
        self.left -= 1;
        self.shown.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, code: &str) -> Refused {
        Refused {
            method: "GET".to_owned(),
            url: format!("https://api.test{path}"),
            code: code.to_owned(),
            request_id: "0123".to_owned(),
            detail: Some("no rule allows it".to_owned()),
        }
    }

    #[test]
    fn a_refusal_says_what_to_type_next() {
        for (code, config, is_here, expected) in [
            ("denied", "", true, "claviger suggest 0123"),
            ("denied", " --config c.toml", true, "claviger suggest --config c.toml 0123"),
            ("suspended", "", true, "claviger explain 0123"),
            ("outside_session", "", true, "start the command with `--service` for this one too"),
            ("upstream_untrusted", "", false, "claviger doctor"),
        ] {
            let next = NextCommand { config: config.to_owned(), is_here };
            let shown =
                format!("claviger: refused GET https://api.test/a: {code} (no rule allows it)\n  next: {expected}");
            assert_eq!(text_of(&refused("/a", code), &next), shown);
        }
    }

    #[test]
    fn a_flood_is_counted_and_repetitions_are_not_shown() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(allowance.takes(&refused("/a", "denied"), at(0)));
        assert!(!allowance.takes(&refused("/a", "denied"), at(0)), "the same");
        assert!(allowance.takes(&refused("/a", "suspended"), at(0)), "another reason");
        let shown = (0..100).filter(|n| allowance.takes(&refused(&format!("/{n}"), "denied"), at(0))).count();
        assert_eq!(shown, 6, "the rest of eight");
        assert!(allowance.takes(&refused("/b", "denied"), at(2)) && allowance.takes(&refused("/c", "denied"), at(2)));
        assert!(!allowance.takes(&refused("/d", "denied"), at(2)));
        assert!(allowance.takes(&refused("/a", "denied"), at(40)), "after a while, again");
    }

    #[test]
    fn what_was_held_back_is_counted_at_the_end() {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        (0..20).for_each(|_| drop(sender.send(refused("/a", "denied"))));
        drop(sender);
        let mut shown = Vec::new();
        show_all(&receiver, &NextCommand { config: String::new(), is_here: true }, &mut |text| {
            shown.push(text.to_owned())
        });
        let expected = "claviger: 19 more requests refused\n  next: claviger ledger query --decision deny";
        assert_eq!(shown.get(1..), Some([expected.to_owned()].as_slice()));
    }
}
