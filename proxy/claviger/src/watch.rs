//! Tells when a file that the configuration was made of has changed.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Editors and config maps change files in several steps; wait until they are through.
const SETTLE: Duration = Duration::from_millis(150);

/// No change waits longer than this.
const LATEST: Duration = Duration::from_secs(2);

/// Watches files by the folders that hold them, since most changes replace the file.
pub(crate) struct Watcher {
    watcher: Option<RecommendedWatcher>,
    events: mpsc::UnboundedReceiver<()>,
    files: Arc<Mutex<Files>>,
}

#[derive(Default)]
struct Files {
    paths: Vec<PathBuf>,
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
        Self { watcher: watcher.ok(), events, files: Arc::default() }
    }

    /// Watches these files from now on.
    pub(crate) fn watch(&mut self, mut paths: Vec<PathBuf>) {
        paths.sort();
        paths.dedup();
        let mut folders: Vec<_> = paths.iter().filter_map(|path| path.parent()).collect();
        folders.dedup();
        for folder in folders {
            let folder = if folder.as_os_str().is_empty() { std::path::Path::new(".") } else { folder };
            if let Some(watcher) = &mut self.watcher {
                // A folder that cannot be watched leaves SIGHUP.
                let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
            }
        }
        let digest = digest(&paths);
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = Files { paths, digest };
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
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            let now = digest(&files.paths);
            if now != files.digest {
                files.digest = now;
                return;
            }
        }
    }
}

fn digest(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        std::fs::read(path).ok().hash(&mut hasher);
    }
    hasher.finish()
}
