use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::fixture::{CANARY, text};

fn store() -> (TempDir, SealedStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SealedStore::open(&folder.path().join("state"));
    (folder, store)
}

fn secret(value: &str) -> Secret {
    Secret::from(value.to_owned())
}

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn read(store: &SealedStore, name: &str) -> Result<Stored, StoreError> {
    store.read_now(name).unwrap()
}

#[test]
fn a_value_comes_back_with_its_hosts() {
    let (_folder, store) = store();
    let owner = Some("llm@acme.test".to_owned());
    let set = store.set("openai", secret(CANARY), hosts(&["api.openai.com", "*.x.com:8443", "http://h:80"]), owner);
    let set = set.unwrap();
    assert_eq!(set.version.len(), 16);
    assert_eq!(set.owner.as_deref(), Some("llm@acme.test"));
    let stored = read(&store, "openai").unwrap();
    assert_eq!(text(&stored.value), CANARY);
    let shown: Vec<String> = stored.hosts.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["api.openai.com:443", "*.x.com:8443", "http://h:80"]);
    assert_eq!(stored.version, Some(set.version.clone()));
    assert_eq!(store.list().unwrap(), [set]);
}

#[test]
fn values_of_every_length_and_byte_come_back() {
    let (_folder, store) = store();
    for value in [vec![0], vec![b'\n'; 3], (0..=255).collect(), vec![b'x'; crate::store::VALUE_MAX]] {
        store.set("x", Secret::new(value.clone()), hosts(&["h"]), None).unwrap();
        #[allow(clippy::disallowed_methods, reason = "compared")]
        let read = read(&store, "x").unwrap().value.expose().to_vec();
        assert_eq!(read, value);
    }
    let check = |value: Vec<u8>, error: &str| {
        let refused = store.set("x", Secret::new(value), hosts(&["h"]), None).unwrap_err();
        assert_eq!(refused.to_string(), error);
    };
    check(Vec::new(), "the secret `x` is empty");
    check(vec![b'x'; crate::store::VALUE_MAX + 1], "the secret `x` has more than 65536 bytes");
}

#[test]
fn whose_a_value_is_can_be_asked() {
    let (_folder, store) = store();
    let check = |expected: &[(&str, Option<&str>)]| {
        let values: Vec<Secret> = expected.iter().map(|(value, _)| secret(value)).collect();
        let found = store.holding(&values.iter().collect::<Vec<_>>()).unwrap();
        let found: Vec<_> = found.iter().map(|entry| entry.as_ref().map(|entry| entry.name.as_str())).collect();
        assert_eq!(found, expected.iter().map(|(_, name)| *name).collect::<Vec<_>>());
    };
    check(&[(CANARY, None)]);
    store.set("a", secret("value-of-a-0123"), hosts(&["h"]), None).unwrap();
    store.set("b/c", secret(CANARY), hosts(&["h"]), None).unwrap();
    check(&[(CANARY, Some("b/c")), ("value-of-a-012", None), ("value-of-a-0123", Some("a")), ("", None)]);
    store.rotate("a", secret("value-of-a-4567"), &Rotate::default()).unwrap();
    check(&[("value-of-a-0123", Some("a")), ("value-of-a-4567", Some("a"))]);
    store.finish("a").unwrap();
    check(&[("value-of-a-0123", None), ("value-of-a-4567", Some("a"))]);
}

/// A rotation that keeps nothing.
const AT_ONCE: Rotate = Rotate { expected: None, proven: false, at_once: true };

fn rotate(store: &SealedStore, name: &str, value: &str) -> Result<SealedEntry, StoreError> {
    store.rotate(name, secret(value), &Rotate::default())
}

fn previous_value(store: &SealedStore, name: &str) -> Option<String> {
    read(store, name).unwrap().previous.map(|previous| text(&previous.value))
}

#[test]
fn rotation_keeps_hosts_owner_and_the_former_value() {
    let (_folder, store) = store();
    let first = store.set("a/b", secret("one"), hosts(&["h"]), Some("me".to_owned())).unwrap();
    assert_eq!(previous_value(&store, "a/b"), None);
    let second = rotate(&store, "a/b", "second").unwrap();
    assert_eq!((&second.hosts, &second.owner), (&first.hosts, &first.owner));
    assert_ne!(second.version, first.version);
    let former = FormerVersion { version: first.version.clone(), created: Some(first.created) };
    assert_eq!(second.previous, Some(former));
    assert_eq!(store.entry("a/b").unwrap(), second);
    assert_eq!(text(&read(&store, "a/b").unwrap().value), "second");
    assert_eq!(previous_value(&store, "a/b").as_deref(), Some("one"));
    assert_eq!(rotate(&store, "c", "x").unwrap_err().to_string(), "there is no secret `c`");
}

/// The value that works must not be lost to a second rotation.
#[test]
fn a_rotation_that_is_open_admits_no_other() {
    let (_folder, store) = store();
    let first = store.set("x", secret("one"), hosts(&["h"]), None).unwrap();
    rotate(&store, "x", "two").unwrap();
    assert_eq!(
        rotate(&store, "x", "three").unwrap_err().to_string(),
        format!("a rotation of `x` is open: the previous value, version `{}`, is kept", first.version)
    );
    assert_eq!(previous_value(&store, "x").as_deref(), Some("one"));
    let (finished, dropped) = store.finish("x").unwrap();
    assert_eq!((dropped, finished.previous), (first.version, None));
    assert_eq!((text(&read(&store, "x").unwrap().value).as_str(), previous_value(&store, "x")), ("two", None));
    rotate(&store, "x", "three").unwrap();
    assert_eq!(previous_value(&store, "x").as_deref(), Some("two"));
    // What leaked is not kept, however many values there are.
    let four = store.rotate("x", secret("four"), &AT_ONCE).unwrap();
    assert_eq!((four.previous, previous_value(&store, "x")), (None, None));
}

#[test]
fn a_rotation_is_taken_back_with_its_version() {
    let (_folder, store) = store();
    let first = store.set("x", secret("one"), hosts(&["h"]), None).unwrap();
    let proven = Rotate { proven: true, ..Rotate::default() };
    let second = store.rotate("x", secret("two"), &proven).unwrap();
    assert!(second.proven && read(&store, "x").unwrap().previous.unwrap().proven);
    let (back, dropped) = store.take_back("x").unwrap();
    assert_eq!((back, dropped), (first, second.version));
    assert_eq!((text(&read(&store, "x").unwrap().value).as_str(), previous_value(&store, "x")), ("one", None));
}

#[test]
fn what_a_rotation_refuses_changes_nothing() {
    let (_folder, store) = store();
    let first = store.set("x", secret("one"), hosts(&["h"]), None).unwrap();
    let check = |refused: Result<(), StoreError>, expected: &str| {
        assert_eq!(refused.unwrap_err().to_string(), expected);
        assert_eq!(store.list().unwrap(), std::slice::from_ref(&first));
    };
    check(rotate(&store, "x", "one").map(drop), "the new value of `x` is the one in force");
    check(rotate(&store, "x", "").map(drop), "the secret `x` is empty");
    check(rotate(&store, "../x", "two").map(drop), &store.finish("../x").unwrap_err().to_string());
    let seen = Rotate { expected: Some("another".into()), ..Rotate::default() };
    check(store.rotate("x", secret("two"), &seen).map(drop), "`x` was changed by somebody else meanwhile");
    check(store.finish("x").map(drop), "no rotation of `x` is open");
    check(store.take_back("x").map(drop), "no rotation of `x` is open");
    check(store.finish("y").map(drop), "there is no secret `y`");
    let seen = Rotate { expected: Some(first.version.clone()), ..Rotate::default() };
    assert!(store.rotate("x", secret("two"), &seen).is_ok());
}

/// Of several at once one wins, and the value that all of them wanted to replace is kept.
#[test]
fn of_rotations_at_once_one_wins() {
    let (_folder, store) = store();
    store.set("x", secret("one"), hosts(&["h"]), None).unwrap();
    let won = std::thread::scope(|scope| {
        let try_it = |n: usize| {
            scope.spawn({
                let store = &store;
                move || rotate(store, "x", &format!("new-{n}"))
            })
        };
        let tries: Vec<_> = (0..8).map(try_it).collect();
        let results: Vec<_> = tries.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(
            results.iter().all(|result| matches!(result, Ok(_) | Err(StoreError::RotationOpen { .. }))),
            "{results:?}"
        );
        results.into_iter().filter_map(Result::ok).collect::<Vec<_>>()
    });
    assert_eq!(won.len(), 1);
    assert_eq!(previous_value(&store, "x").as_deref(), Some("one"));
    assert_eq!(store.list().unwrap(), won);
}

#[test]
fn removal_and_listing() {
    let (_folder, store) = store();
    assert!(store.list().unwrap().is_empty());
    assert!(matches!(store.remove("x"), Err(StoreError::NotFound(_))));
    for name in ["b", "a/z", "a.b"] {
        store.set(name, secret("value"), hosts(&["h"]), None).unwrap();
    }
    fs::write(store.folder.join("README.md"), "not a secret").unwrap();
    fs::write(store.folder.join("bad name.age"), "not a secret").unwrap();
    let names = || store.list().unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    assert_eq!(names(), ["a.b", "a/z", "b"]);
    let before = SecretStore::revision(&store, "a.b");
    store.remove("a.b").unwrap();
    assert_eq!(names(), ["a/z", "b"]);
    assert_ne!(SecretStore::revision(&store, "a.b"), before);
    assert!(matches!(read(&store, "a.b"), Err(StoreError::NotFound(name)) if name == "a.b"));
    assert!(matches!(store.remove("a.b"), Err(StoreError::NotFound(_))));
}

#[test]
fn names_and_hosts_are_checked() {
    let (_folder, store) = store();
    for name in ["", "a/", "/a", "../a", "a/../b", "a//b", ".a", "a b", "a.age/b", "x/.lock", "ä", "a/b/c/d/e"] {
        let refused = store.set(name, secret("x"), hosts(&["h"]), None);
        assert!(matches!(refused, Err(StoreError::Name { .. })), "{name}: {refused:?}");
    }
    assert!(matches!(store.set("a", secret("x"), Vec::new(), None), Err(StoreError::NoHosts(_))));
    assert!(matches!(store.set("a", secret("x"), hosts(&["https://h/path"]), None), Err(StoreError::Host(_))));
    assert!(matches!(store.set("a", secret("x"), hosts(&["h"]), Some("a\nb".into())), Err(StoreError::Name { .. })));
    assert!(!store.folder.exists() && !store.key_file.exists(), "nothing is made for what is refused");
}

#[test]
fn files_are_private_and_hold_no_plain_text() {
    let (_folder, store) = store();
    store.set("openai", secret(CANARY), hosts(&["api.openai.com"]), Some("owner@acme.test".to_owned())).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store.key_file), 0o600);
    assert_eq!(mode(store.key_file.parent().unwrap()), 0o700);
    assert_eq!(mode(&store.folder), 0o700);
    let file = store.path("openai").unwrap();
    assert_eq!(mode(&file), 0o600);
    let bytes = fs::read(&file).unwrap();
    for word in [CANARY, "api.openai.com", "owner@acme.test"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    assert!(!store.folder.starts_with(store.key_file.parent().unwrap()), "the folder may be committed without the key");
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let (_folder, store) = store();
    store.set("x", secret("value"), hosts(&["h"]), None).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o620] {
        fs::set_permissions(&store.key_file, fs::Permissions::from_mode(mode)).unwrap();
        let path = store.key_file.display();
        let error = read(&store, "x").unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "the key file `{path}` may be read by others than its owner (mode {mode:04o}); run `chmod 600 {path}`"
            )
        );
        assert!(matches!(rotate(&store, "x", "y"), Err(StoreError::Permissions { .. })));
    }
    // As Kubernetes and systemd hand it over; of anybody else than root it is just a file that others may read.
    fs::set_permissions(&store.key_file, fs::Permissions::from_mode(0o440)).unwrap();
    assert_eq!(store.list().is_ok(), crate::os::is_roots(&fs::metadata(&store.key_file).unwrap()));
    fs::set_permissions(&store.key_file, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(read(&store, "x").is_ok());
}

#[test]
fn a_lost_or_wrong_key_is_named_and_never_replaced() {
    let (_folder, store) = store();
    store.set("x", secret("value"), hosts(&["h"]), None).unwrap();
    let key = fs::read(&store.key_file).unwrap();
    fs::remove_file(&store.key_file).unwrap();
    assert!(matches!(read(&store, "x"), Err(StoreError::KeyMissing(_))));
    assert!(matches!(store.set("y", secret("value"), hosts(&["h"]), None), Err(StoreError::KeyMissing(_))));
    assert!(!store.key_file.exists());
    let other = SealedStore::open(&store.folder.join("other"));
    other.set("x", secret("value"), hosts(&["h"]), None).unwrap();
    fs::copy(&other.key_file, &store.key_file).unwrap();
    assert!(matches!(read(&store, "x"), Err(StoreError::OtherKey(_))));
    fs::write(&store.key_file, "hunter2").unwrap();
    let invalid = read(&store, "x").unwrap_err().to_string();
    assert!(invalid.contains("holds no age identity") && !invalid.contains("hunter2"), "{invalid}");
    fs::write(&store.key_file, key).unwrap();
    assert!(read(&store, "x").is_ok());
}

#[test]
fn every_change_of_a_file_is_noticed() {
    let (_folder, store) = store();
    store.set("x", secret("value-of-x"), hosts(&["h"]), None).unwrap();
    let path = store.path("x").unwrap();
    let sealed = fs::read(&path).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let error = read(&store, "x").unwrap_err();
        assert!(matches!(error, StoreError::Tampered(_) | StoreError::OtherKey(_)), "byte {at}: {error:?}");
    }
    for cut in [0, 1, sealed.len() / 2, sealed.len() - 1] {
        fs::write(&path, &sealed[..cut]).unwrap();
        assert!(matches!(read(&store, "x"), Err(StoreError::Tampered(_))), "cut to {cut}");
    }
    fs::write(&path, &sealed).unwrap();
    assert!(read(&store, "x").is_ok());
}

/// A secret with narrow hosts cannot be had under the hosts of another.
#[test]
fn a_file_under_another_name_is_refused() {
    let (_folder, store) = store();
    store.set("narrow", secret("n"), hosts(&["only.here"]), None).unwrap();
    store.set("wide", secret("w"), hosts(&["*.com"]), None).unwrap();
    fs::copy(store.path("narrow").unwrap(), store.path("wide").unwrap()).unwrap();
    assert!(matches!(read(&store, "wide"), Err(StoreError::Tampered(_))));
    assert!(matches!(store.list(), Err(StoreError::Tampered(path)) if path.ends_with("wide.age")));
    store.remove("wide").unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn writers_exclude_each_other() {
    let (_folder, store) = store();
    store.set("x", secret("0"), hosts(&["h"]), None).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                (0..5).for_each(|n| drop(store.rotate("x", secret(&format!("{writer}-{n}")), &AT_ONCE).unwrap()))
            });
        }
        // A reader never sees a part of a file.
        (0..50).for_each(|_| assert!(read(&store, "x").is_ok()));
    });
    let left: Vec<_> = fs::read_dir(&store.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "x.age" || name == ".lock"), "{left:?}");
}

#[test]
fn nothing_printed_holds_a_value() {
    let (_folder, store) = store();
    let entry = store.set("x", secret(CANARY), hosts(&["h"]), None).unwrap();
    rotate(&store, "x", &format!("{CANARY}-2")).unwrap();
    let envelope = store.unseal("x", &store.path("x").unwrap()).unwrap();
    for shown in
        [format!("{entry:?}"), format!("{envelope:?}"), format!("{:?}", read(&store, "x")), format!("{store:?}")]
    {
        assert!(!shown.contains("canary"), "{shown}");
    }
}

proptest::proptest! {
    /// Whoever holds the key may have written anything: it is read whole or refused.
    #[test]
    fn no_content_makes_an_envelope_panic(tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let plain = [b"claviger-sealed/1\n".as_slice(), &tail].concat();
        proptest::prop_assert!(Envelope::parse(&plain).is_none());
    }
}

#[test]
fn an_envelope_is_read_strictly() {
    let check = |json: &str, values: &str, whole: bool| {
        let plain = format!("claviger-sealed/1\n{json}\n{values}");
        assert_eq!(Envelope::parse(plain.as_bytes()).is_some(), whole, "{plain}");
    };
    let json = r#"{"name":"x","hosts":["h"],"version":"1","created":0,"length":3}"#;
    check(json, "abc", true);
    check(json, "ab", false);
    check(json, "abcd", false);
    check(&json.replace("\"h\"", "\"h/\""), "abc", false);
    check(&json.replace("\"created\"", "\"more\":1,\"created\""), "abc", false);
    check(&json.replace(",\"version\":\"1\"", ""), "abc", false);
    let both = json.replace("3}", r#"3,"previous":{"version":"0","length":2}}"#);
    check(&both, "abcde", true);
    check(&both, "abcd", false);
    check(&both, "abcdef", false);
    check(&both.replace(r#""0","#, r#""0","created":7,"#), "abcde", true);
    check(&both.replace(r#""0","#, r#""0","created":"7","#), "abcde", false);
    check(&both.replace(r#""created":0,"#, r#""created":0,"proven":true,"#), "abcde", true);
}
