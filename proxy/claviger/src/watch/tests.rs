use std::fs::File;
use std::io::Write;

use super::*;

/// Longer than any file takes to settle.
const LONG: Duration = Duration::from_millis(1_200);

fn watched() -> (tempfile::TempDir, PathBuf, Watcher) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "a = 1\nb = 1\n").unwrap();
    let mut watcher = Watcher::new();
    watcher.watch(vec![file.clone()], Vec::new());
    (folder, file, watcher)
}

async fn told(watcher: &mut Watcher) -> bool {
    tokio::time::timeout(LONG, watcher.changed()).await.is_ok()
}

async fn until_told(watcher: &mut Watcher) {
    tokio::time::timeout(Duration::from_secs(60), watcher.changed()).await.unwrap();
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_file_that_is_being_written_is_waited_for() {
    let (folder, file, mut watcher) = watched();
    for name in ["c.toml", "new.toml"] {
        let file = file.with_file_name(name);
        watcher.watch(vec![file.clone()], Vec::new());
        let mut open = File::create(&file).unwrap();
        assert!(!told(&mut watcher).await, "{name}: it is empty, and open");
        open.write_all(b"a = 2\n").unwrap();
        assert!(!told(&mut watcher).await, "{name}: half of it is there");
        open.write_all(b"b = 2\n").unwrap();
        drop(open);
        until_told(&mut watcher).await;
        assert!(watcher.is_settled(), "{name}");
    }
    // Of no file that counts.
    let mut other = File::create(folder.path().join("other.log")).unwrap();
    other.write_all(b"x").unwrap();
    std::fs::write(folder.path().join("new.toml"), "a = 3\n").unwrap();
    until_told(&mut watcher).await;
}

#[tokio::test]
async fn what_is_read_while_it_changes_again_is_not_settled() {
    let (_folder, file, mut watcher) = watched();
    std::fs::write(&file, "a = 2\n").unwrap();
    until_told(&mut watcher).await;
    File::options().append(true).open(&file).unwrap().write_all(b"b = 2\n").unwrap();
    assert!(!watcher.is_settled());
    until_told(&mut watcher).await;
    assert!(watcher.is_settled());
    // Back to what was told before: that was never taken up.
    std::fs::write(&file, "a = 3\n").unwrap();
    until_told(&mut watcher).await;
    std::fs::write(&file, "a = 2\nb = 2\n").unwrap();
    assert!(!watcher.is_settled());
    until_told(&mut watcher).await;
    assert!(watcher.is_settled());
}

#[tokio::test]
async fn whoever_gives_up_waiting_loses_no_change() {
    let (_folder, file, mut watcher) = watched();
    std::fs::write(&file, "a = 2\n").unwrap();
    // The sign is taken, and what it is about has not settled yet.
    while watcher.stirred.is_none() {
        let _ = tokio::time::timeout(Duration::from_millis(10), watcher.changed()).await;
    }
    until_told(&mut watcher).await;
}

#[tokio::test]
async fn reading_is_no_sign() {
    let (_folder, file, mut watcher) = watched();
    std::fs::write(&file, "a = 2\n").unwrap();
    until_told(&mut watcher).await;
    assert!(watcher.is_settled());
    // What came of the writing is over.
    while tokio::time::timeout(LONG, watcher.signs.happened.notified()).await.is_ok() {}
    for _ in 0..10 {
        std::fs::read(&file).unwrap();
    }
    assert!(tokio::time::timeout(LONG, watcher.signs.happened.notified()).await.is_err());
}

/// Whatever was read before it was watched may have changed since, and no folder told of it.
#[tokio::test]
async fn what_changes_between_reading_and_watching_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (file, named) = (folder.path().join("c.toml"), folder.path().join("keys/named.pem"));
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    std::fs::write(&named, "old").unwrap();
    std::fs::write(&file, "a = 1\n").unwrap();
    // At the start.
    let mut watcher = Watcher::new();
    let is_later = || has_changed_since(&file, watcher.files.begun.unwrap());
    while !is_later() {
        std::fs::write(&file, "a = 2\n").unwrap();
    }
    watcher.watch(vec![file.clone()], Vec::new());
    until_told(&mut watcher).await;
    assert!(watcher.is_settled());
    watcher.watch(vec![file.clone()], Vec::new());
    assert!(!told(&mut watcher).await, "it was taken up");
    // A file that is named for the first time by what was read.
    std::fs::write(&file, "a = 3\n").unwrap();
    until_told(&mut watcher).await;
    std::fs::write(&named, "new").unwrap();
    assert!(watcher.is_settled());
    watcher.watch(vec![file.clone(), named.clone()], Vec::new());
    until_told(&mut watcher).await;
    assert!(watcher.is_settled());
    watcher.watch(vec![file, named], Vec::new());
    assert!(!told(&mut watcher).await, "it was taken up");
}

/// The list of what is read changes with it, and what was not read is not lost.
#[tokio::test]
async fn what_comes_back_while_its_absence_is_taken_up_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (main, part) = (folder.path().join("c.toml"), folder.path().join("team/a.toml"));
    let text = "files = \"team/*.toml\"\n";
    let source = claviger_policy::document::SourceFile::new(main.display().to_string(), text);
    let mut found = claviger_policy::document::Diagnostics::default();
    let mut root = claviger_policy::document::parse(&source, &mut found).unwrap();
    let located = root.required_string("files", &mut found).unwrap();
    let pattern = || Pattern::parse(&located, 1_000).unwrap();
    std::fs::create_dir(folder.path().join("team")).unwrap();
    std::fs::write(&main, "a = 1\n").unwrap();
    std::fs::write(&part, "b = 1\n").unwrap();
    let mut watcher = Watcher::new();
    watcher.watch(vec![main.clone(), part.clone()], vec![pattern()]);
    assert!(watcher.files.seen.values().all(Option::is_some), "nothing changed: {:?}", watcher.files.seen);
    std::fs::remove_file(&part).unwrap();
    until_told(&mut watcher).await;
    assert!(watcher.is_settled());
    std::fs::remove_dir(folder.path().join("team")).unwrap();
    std::fs::create_dir(folder.path().join("team")).unwrap();
    std::fs::write(&part, "b = 1\n").unwrap();
    watcher.watch(vec![main], vec![pattern()]);
    until_told(&mut watcher).await;
}
