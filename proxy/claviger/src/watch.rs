//! Tells when a file that the configuration was made of has changed.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::config::Pattern;
use crate::os;

/// Editors and config maps change files in several steps; wait until they are through.
const SETTLE: Duration = Duration::from_millis(150);

/// No change waits longer than this.
const LATEST: Duration = Duration::from_secs(2);

/// No file that is watched is longer, in bytes.
const FILE_MAX: u64 = 64 << 20;

/// How many files of a pattern are looked at: more than a configuration may have.
const MATCHED_MAX: usize = 1_000;

/// Watches files by the folders that hold them, since most changes replace the file.
pub(crate) struct Watcher {
    watcher: Option<RecommendedWatcher>,
    events: mpsc::UnboundedReceiver<()>,
    files: Files,
}

#[derive(Default)]
struct Files {
    paths: Vec<PathBuf>,
    /// Where more files may come to lie.
    patterns: Vec<Pattern>,
    digest: u64,
}

impl Watcher {
    /// A watcher that watches nothing yet. Where the system has no notifications, only SIGHUP reloads.
    pub(crate) fn new() -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok() {
                // The receiver lives as long as the process.
                let _ = sender.send(());
            }
        });
        Self { watcher: watcher.ok(), events, files: Files::default() }
    }

    /// Watches these files from now on, and those that match.
    pub(crate) fn watch(&mut self, mut paths: Vec<PathBuf>, patterns: Vec<Pattern>) {
        paths.sort();
        paths.dedup();
        let is_same = paths == self.files.paths && patterns == self.files.patterns;
        self.files.paths = paths;
        self.files.patterns = patterns;
        self.watch_folders();
        // Of the same files it was taken before they were read: what changed since then is yet to be noticed.
        if !is_same {
            self.mark();
        }
    }

    /// From here on changes count: called before the files are read.
    pub(crate) fn mark(&mut self) {
        self.files.digest = self.files.digest_now();
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

    /// Resolves when the content of a watched file has changed and settled.
    pub(crate) async fn changed(&mut self) {
        loop {
            if self.events.recv().await.is_none() {
                return std::future::pending().await;
            }
            // A folder where something happens all the time never settles; then it is looked at all the same.
            let latest = tokio::time::Instant::now() + LATEST;
            while let Ok(Ok(Some(()))) =
                tokio::time::timeout_at(latest, tokio::time::timeout(SETTLE, self.events.recv())).await
            {}
            // First, so that nothing is put into a new folder unseen.
            self.watch_folders();
            let now = self.files.digest_now();
            if now != self.files.digest {
                self.files.digest = now;
                return;
            }
        }
    }
}

impl Files {
    /// Of all contents, and of what matches. A file may have become a pipe since it was read, so that it is read with
    /// the same care.
    fn digest_now(&self) -> u64 {
        let mut matched: BTreeMap<PathBuf, u64> = BTreeMap::new();
        for pattern in &self.patterns {
            let files = pattern.files().unwrap_or_default();
            matched.extend(files.into_iter().take(MATCHED_MAX).map(|file| (file, pattern.file_max())));
        }
        for path in &self.paths {
            matched.entry(path.clone()).or_insert(FILE_MAX);
        }
        let mut hasher = DefaultHasher::new();
        for (path, max) in matched {
            os::read_regular(&path, max).ok().hash(&mut hasher);
            path.hash(&mut hasher);
        }
        hasher.finish()
    }
}
