#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn suspension(kind: Suspendable, name: &str, until_ms: Option<i64>) -> Suspension {
    let reason = until_ms.is_some().then(|| "a test".into());
    Suspension { kind, name: name.into(), reason, actor: "alice (uid 7)".into(), since_ms: 1_000, until_ms }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    (folder, file)
}

async fn names(state: &SqliteState) -> Vec<String> {
    state.suspensions().await.unwrap().iter().map(|one| format!("{} {}", one.kind, one.name)).collect()
}

#[tokio::test]
async fn what_is_suspended_outlives_the_process() {
    let (_folder, file) = folder();
    let state = SqliteState::open(&file).await.unwrap();
    let (service, caller) = (
        suspension(Suspendable::Service, "billing", Some(9_000)),
        suspension(Suspendable::Principal, "spiffe://acme.test/**", None),
    );
    assert_eq!(state.suspend(&service).await.unwrap(), None);
    assert_eq!(state.suspend(&caller).await.unwrap(), None);
    drop(state);
    let state = SqliteState::open(&file).await.unwrap();
    assert_eq!(state.suspensions().await.unwrap(), [caller.clone(), service.clone()]);
    // Of one name each kind is another thing.
    assert_eq!(state.resume(Suspendable::Credential, "billing", "bob", 2_000).await.unwrap(), None);
    assert_eq!(state.resume(Suspendable::Service, "billing", "bob", 2_000).await.unwrap(), Some(service));
    assert_eq!(state.resume(Suspendable::Service, "billing", "bob", 2_000).await.unwrap(), None);
    assert_eq!(state.suspensions().await.unwrap(), [caller]);
}

/// As sessions that begin together do.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_file_is_opened_by_many_at_once() {
    for _ in 0..20 {
        let (_folder, file) = folder();
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let file = file.clone();
                tokio::spawn(async move { SqliteState::open(&file).await.map(drop).map_err(|error| error.to_string()) })
            })
            .collect();
        for opened in opening {
            assert_eq!(opened.await.unwrap(), Ok(()));
        }
    }
}

#[tokio::test]
async fn suspending_twice_replaces() {
    let (_folder, file) = folder();
    let state = SqliteState::open(&file).await.unwrap();
    let first = suspension(Suspendable::Service, "billing", None);
    let second = suspension(Suspendable::Service, "billing", Some(5_000));
    assert_eq!(state.suspend(&first).await.unwrap(), None);
    assert_eq!(state.suspend(&second).await.unwrap(), Some(first));
    assert_eq!(state.suspensions().await.unwrap(), [second]);
}

#[tokio::test]
async fn what_has_ended_is_taken_away_once() {
    let (_folder, file) = folder();
    let state = SqliteState::open(&file).await.unwrap();
    for (name, until_ms) in [("a", Some(5_000)), ("b", Some(5_001)), ("c", None)] {
        state.suspend(&suspension(Suspendable::Service, name, until_ms)).await.unwrap();
    }
    let ended = state.expire(5_000).await.unwrap();
    assert_eq!(ended.iter().map(|one| &*one.name).collect::<Vec<_>>(), ["a"]);
    assert_eq!(state.expire(5_000).await.unwrap(), []);
    assert_eq!(names(&state).await, ["service b", "service c"]);
}

#[tokio::test]
async fn every_change_waits_for_a_ledger_that_takes_it() {
    let (_folder, file) = folder();
    let state = SqliteState::open(&file).await.unwrap();
    state.suspend(&suspension(Suspendable::Service, "billing", Some(5_000))).await.unwrap();
    state.suspend(&suspension(Suspendable::Credential, "crm", None)).await.unwrap();
    state.resume(Suspendable::Credential, "crm", "bob", 2_000).await.unwrap();
    state.resume(Suspendable::Credential, "crm", "bob", 2_000).await.unwrap();
    state.expire(6_000).await.unwrap();
    drop(state);
    let state = SqliteState::open(&file).await.unwrap();
    let changes = state.unrecorded().await.unwrap();
    let told: Vec<_> = changes.iter().map(|one| (one.kind.as_str(), &*one.actor, one.at_ms, &*one.detail)).collect();
    assert_eq!(
        told,
        [
            ("suspended", "alice (uid 7)", 1_000, "service `billing` until 1970-01-01T00:00:05Z: a test"),
            ("suspended", "alice (uid 7)", 1_000, "credential `crm`"),
            ("resumed", "bob", 2_000, "credential `crm`, suspended by alice (uid 7) since 1970-01-01T00:00:01Z"),
            (
                "resumed",
                "claviger",
                6_000,
                "service `billing`, suspended by alice (uid 7) since 1970-01-01T00:00:01Z; its time was over"
            ),
        ]
    );
    state.recorded(changes[1].number).await.unwrap();
    assert_eq!(state.unrecorded().await.unwrap(), changes[2..]);
}

#[tokio::test]
async fn only_its_owner_reads_it() {
    let (folder, file) = folder();
    let state = SqliteState::open(&file).await.unwrap();
    state.suspend(&suspension(Suspendable::Service, "billing", None)).await.unwrap();
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        seen.push(entry.file_name());
    }
    assert!(seen.len() >= 2, "the file and its journal: {seen:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error() {
    async fn check(file: &Path, said: &str) {
        let error = SqliteState::open(file).await.unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(file.to_str().unwrap()), "{error}");
    }
    let (folder, file) = folder();
    std::fs::write(&file, "this was a database once, and is long enough to be taken for one. ".repeat(20)).unwrap();
    check(&file, "file is not a database").await;
    std::fs::remove_file(&file).unwrap();
    // A later version has been here.
    drop(SqliteState::open(&file).await.unwrap());
    let mut open = connect(&file).await.unwrap();
    sqlx::query("INSERT INTO migration (version) VALUES (7)").execute(&mut open.connection).await.unwrap();
    drop(open);
    check(&file, "is of version 7, and this Claviger knows versions up to 1").await;
    let below_a_file = folder.path().join("state.db/state.db");
    check(&below_a_file, "failed to open the state").await;
}

#[tokio::test]
async fn a_kind_that_is_not_known_is_no_reason_to_serve() {
    let (_folder, file) = folder();
    let state = SqliteState::open(&file).await.unwrap();
    let mut open = connect(&file).await.unwrap();
    sqlx::query("INSERT INTO suspension VALUES ('team', 'payments', NULL, 'alice', 0, NULL)")
        .execute(&mut open.connection)
        .await
        .unwrap();
    let error = state.suspensions().await.unwrap_err().to_string();
    assert!(error.contains("`team` cannot be suspended"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_gone_is_not_made_anew_and_one_that_is_back_is_read() {
    let (folder, file) = folder();
    let state = SqliteState::open(&file).await.unwrap();
    state.suspend(&suspension(Suspendable::Service, "billing", None)).await.unwrap();
    let aside = folder.path().join("aside");
    std::fs::create_dir(&aside).unwrap();
    let all = ["state.db", "state.db-wal", "state.db-shm"];
    let go = |from: &Path, to: &Path| {
        for name in all {
            // Not each of them is there at all times.
            let _ = std::fs::rename(from.join(name), to.join(name));
        }
    };
    go(folder.path(), &aside);
    for error in [
        state.suspensions().await.unwrap_err(),
        state.suspend(&suspension(Suspendable::Service, "other", None)).await.unwrap_err(),
    ] {
        assert!(matches!(error, StateError::Away { .. }), "{error}");
    }
    assert!(!file.exists());
    go(&aside, folder.path());
    assert_eq!(names(&state).await, ["service billing"]);
}

/// An administrator's command is not to be led to a file of somebody else.
#[tokio::test]
async fn a_file_that_is_another_by_a_link_is_not_touched() {
    let (folder, file) = folder();
    let other = folder.path().join("shadow");
    std::fs::write(&other, "").unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o640)).unwrap();
    for (is_hard, said) in [(false, "it is a link"), (true, "it is not a file of its own")] {
        if is_hard { std::fs::hard_link(&other, &file) } else { std::os::unix::fs::symlink(&other, &file) }.unwrap();
        let error = SqliteState::open(&file).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert_eq!(std::fs::read(&other).unwrap(), b"");
        assert_eq!(std::fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o640);
        std::fs::remove_file(&file).unwrap();
    }
    drop(SqliteState::open(&file).await.unwrap());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(SqliteState::open(&file).await.unwrap());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}
