//! Tells when a file that the configuration was made of has changed, and nobody is at it any more.
//!
//! A file that is written in place can be read while half of it is there, and the first half of a configuration may be
//! a valid one that lacks a deny. So a change counts when nothing has happened for a while, nobody has a file of the
//! configuration open for writing (as far as the system tells), and two readings, one after the other, said the same.
//! What is loaded is compared with that once more ([`Watcher::is_settled`]). What this cannot see is a writer that closes
//! the file in the middle: only files that are replaced by renaming are never half there.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Pattern;
use crate::os;

/// Editors and config maps change files in several steps; wait until they are through.
const SETTLE: Duration = Duration::from_millis(150);

/// In a folder where something happens all the time, no change waits longer than this for a quiet moment.
const LATEST: Duration = Duration::from_secs(2);

/// After so much unrest files are taken as they are: no writer holds up what others changed for ever. A file into which
/// nothing was written for so long is not being written, though somebody holds it open.
const UNREST: Duration = Duration::from_secs(30);

/// Whether the system tells when a file that was written is closed.
const TELLS_OF_CLOSING: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// How many files are remembered as being written.
const WRITING_MAX: usize = 4_096;

/// No file that is watched is longer, in bytes.
const FILE_MAX: u64 = 64 << 20;

/// How many files of a pattern are looked at: more than a configuration may have.
const MATCHED_MAX: usize = 1_000;

/// Watches files by the folders that hold them, since most changes replace the file.
pub(crate) struct Watcher {
    watcher: Option<RecommendedWatcher>,
    signs: Arc<Signs>,
    files: Files,
    /// Since when something has happened that was not dealt with yet. Kept here, for whoever waits for a change may give
    /// up waiting.
    stirred: Option<Instant>,
}

#[derive(Default)]
struct Files {
    paths: Vec<PathBuf>,
    /// Where more files may come to lie.
    patterns: Vec<Pattern>,
    /// What each said when it was looked at last, before what is in force was made of them.
    seen: Seen,
    /// When that was begun to be made.
    begun: Option<SystemTime>,
}

/// A digest of each file's content. [`None`]: not what is there now, whatever that is.
type Seen = BTreeMap<PathBuf, Option<u64>>;

/// What the system tells, from another thread.
#[derive(Default)]
struct Signs {
    happened: Notify,
    /// Files that were written and not closed, and when they were written last.
    writing: Mutex<HashMap<PathBuf, Instant>>,
}

impl Signs {
    fn take(&self, event: &Event) {
        match event.kind {
            // Whoever reads, this process too, changes nothing.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.closed(event),
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Data(_)) if TELLS_OF_CLOSING => self.written(event),
            EventKind::Create(_) if TELLS_OF_CLOSING && event.paths.iter().all(|path| is_new(path)) => {
                self.written(event)
            }
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => {}
            // Another file stands there now, or none.
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(_) => self.closed(event),
            // Perhaps that something was missed.
            EventKind::Any | EventKind::Other => self.writing().clear(),
        }
        self.happened.notify_one();
    }

    fn written(&self, event: &Event) {
        let mut writing = self.writing();
        if writing.len() >= WRITING_MAX {
            writing.clear();
        }
        writing.extend(event.paths.iter().map(|path| (path.clone(), Instant::now())));
    }

    fn closed(&self, event: &Event) {
        let mut writing = self.writing();
        for path in &event.paths {
            writing.remove(path);
        }
    }

    fn writing(&self) -> MutexGuard<'_, HashMap<PathBuf, Instant>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is a file that somebody opened to write it, and not a link or a folder.
fn is_new(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}

impl Watcher {
    /// A watcher that watches nothing yet, made before files are read. Where the system has no notifications, only SIGHUP
    /// reloads.
    pub(crate) fn new() -> Self {
        let signs = Arc::new(Signs::default());
        let seen = signs.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event {
                seen.take(&event);
            }
        });
        let files = Files { begun: Some(SystemTime::now()), ..Files::default() };
        Self { watcher: watcher.ok(), signs, files, stirred: None }
    }

    /// Watches these files from now on, and those that match. They have been read already: what has changed since that
    /// was begun ([`mark`](Self::mark), [`changed`](Self::changed)) is told.
    pub(crate) fn watch(&mut self, mut paths: Vec<PathBuf>, patterns: Vec<Pattern>) {
        paths.sort();
        paths.dedup();
        let before = std::mem::replace(&mut self.files.patterns, patterns);
        self.files.paths = paths;
        self.watch_folders();
        let now = self.files.look();
        let seen: Seen =
            now.iter().map(|(path, digest)| (path.clone(), self.files.as_read(path, *digest, &before))).collect();
        if seen != now {
            // Before its folder was watched, perhaps.
            self.signs.happened.notify_one();
        }
        self.files.seen = seen;
    }

    /// From here on changes count: called before the files are read for another reason than a change.
    pub(crate) fn mark(&mut self) {
        self.files.begun = Some(SystemTime::now());
        self.files.seen = self.files.look();
    }

    /// Whether the files still say what they said when a change was [told](Self::changed). Asked after they were read: if
    /// not, what was read may be half of something, and the change is told again.
    pub(crate) fn is_settled(&mut self) -> bool {
        let now = self.files.look();
        let is_same = now == self.files.seen;
        if self.is_overdue() || (is_same && !self.is_written()) {
            self.files.seen = now;
            self.stirred = None;
            return true;
        }
        // What is there now was not told: whatever it settles to is a change.
        self.files.seen.clear();
        false
    }

    /// Watches every folder that is there. One that a pattern names may come later, or be put in the place of another:
    /// the nearest folder above tells.
    fn watch_folders(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut folders: BTreeSet<&Path> = self.files.paths.iter().filter_map(|path| path.parent()).collect();
        for pattern in &self.files.patterns {
            folders.insert(pattern.folder());
            folders.extend(
                pattern.folder().ancestors().skip(1).find(|above| above.is_dir() || above.as_os_str().is_empty()),
            );
        }
        for folder in folders {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            // A folder that cannot be watched leaves SIGHUP.
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
    }

    /// Resolves when the content of a watched file has changed and settled; [`is_settled`](Self::is_settled) is to be asked
    /// once it was read. May be dropped while it waits: the next call goes on.
    pub(crate) async fn changed(&mut self) {
        loop {
            if self.stirred.is_none() {
                self.signs.happened.notified().await;
                self.stirred = Some(Instant::now());
            }
            self.quiet().await;
            // First, so that nothing is put into a new folder unseen.
            self.watch_folders();
            let begun = SystemTime::now();
            let now = self.files.look();
            if now == self.files.seen {
                // What is on its way to say something else will give another sign.
                self.stirred = None;
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            if self.is_overdue() || (!self.is_written() && self.files.look() == now) {
                self.files.seen = now;
                self.files.begun = Some(begun);
                return;
            }
        }
    }

    fn is_overdue(&self) -> bool {
        self.stirred.is_some_and(|since| since.elapsed() >= UNREST)
    }

    /// Waits until nothing happens for a while.
    async fn quiet(&self) {
        let latest = Instant::now() + LATEST;
        while let Ok(Ok(())) =
            tokio::time::timeout_at(latest, tokio::time::timeout(SETTLE, self.signs.happened.notified())).await
        {
        }
    }

    /// Whether somebody is in the middle of writing one of the files.
    fn is_written(&self) -> bool {
        let mut writing = self.signs.writing();
        writing.retain(|_, last| last.elapsed() < UNREST);
        writing.keys().any(|path| self.files.may_be(path))
    }
}

impl Files {
    /// Whether a file that is told of may be one of these: by its name alone, for folders have several.
    fn may_be(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return false };
        self.paths.iter().any(|watched| watched.file_name() == Some(name))
            || self.patterns.iter().any(|pattern| pattern.is_name(name))
    }

    /// All contents, of what is named and of what matches. A file may have become a pipe since it was read, so that it
    /// is read with the same care.
    fn look(&self) -> Seen {
        let mut matched: BTreeMap<PathBuf, u64> = BTreeMap::new();
        for pattern in &self.patterns {
            let files = pattern.files().unwrap_or_default();
            matched.extend(files.into_iter().take(MATCHED_MAX).map(|file| (file, pattern.file_max())));
        }
        for path in &self.paths {
            matched.entry(path.clone()).or_insert(FILE_MAX);
        }
        let digest = |path: &Path, max: u64| {
            let mut hasher = DefaultHasher::new();
            os::read_regular(path, max).ok().hash(&mut hasher);
            hasher.finish()
        };
        let looked = matched.into_iter().map(|(path, max)| {
            let digest = digest(&path, max);
            (path, Some(digest))
        });
        looked.collect()
    }

    /// What a file said when it was read, as far as that is known; `now` is what it says since. It was looked at before
    /// that, or is new in the folder of a pattern, or is watched only since it was read: then it tells by its time.
    fn as_read(&self, path: &Path, now: Option<u64>, before: &[Pattern]) -> Option<u64> {
        if let Some(seen) = self.seen.get(path) {
            return *seen;
        }
        let is_match = |pattern: &Pattern| {
            path.parent() == Some(pattern.folder()) && path.file_name().is_some_and(|name| pattern.is_name(name))
        };
        if before.iter().any(is_match) || self.begun.is_some_and(|begun| has_changed_since(path, begun)) {
            return None;
        }
        now
    }
}

/// Whether a file was changed since then, or put there, by the time that the system keeps of it. That time ticks with the
/// kernel: of the first milliseconds nothing is known. What is read after a [change](Watcher::changed) is read later.
fn has_changed_since(path: &Path, then: SystemTime) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(since) = then.duration_since(SystemTime::UNIX_EPOCH) else { return false };
    let since = (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), i64::from(since.subsec_nanos()));
    let changed = |metadata: std::fs::Metadata| (metadata.ctime(), metadata.ctime_nsec()) > since;
    // Of a link both count.
    path.symlink_metadata().is_ok_and(changed) || path.metadata().is_ok_and(changed)
}

#[cfg(test)]
mod tests;
