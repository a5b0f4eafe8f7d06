//! Two values while a rotation is open: which of them a request gets.

use claviger_contract::SystemClock;
use http::StatusCode;

use super::*;
use crate::cache::RETRY_MS;

const OLD: &str = "the-old-value-of-c";
const NEW: &str = "the-new-value-of-c";

/// A credential whose rotation has just been begun, and a world whose clock is that of the store.
fn rotated(proven: bool) -> (World, Credentials) {
    let world = World::new();
    world.clock.advance_ms(SystemClock.now_ms() - world.clock.now_ms());
    world.seal("c", OLD, &["c.test"]);
    world.rotate("c", NEW, proven);
    let credentials = world.load("[credential.c]\nkind = \"static\"\nvalue = \"secret://sealed/c\"\n");
    assert_eq!(world.events.take(), ["minted"]);
    (world, credentials)
}

impl Credentials {
    async fn get(&self, replayable: bool) -> Arc<Lease> {
        settle(self.lease_for("c", &caller(None), replayable)).await.1.unwrap()
    }

    /// Sends a request as the pipeline does; `takes` is what upstream takes. Whether it was answered well.
    async fn send(&self, takes: &[&str], replayable: bool) -> bool {
        let lease = self.get(replayable).await;
        let status = |lease: &Lease| match takes.contains(&value(lease).as_str()) {
            true => StatusCode::OK,
            false => StatusCode::UNAUTHORIZED,
        };
        let other = (status(&lease) != StatusCode::OK).then(|| self.other(&lease)).flatten();
        let Some(other) = other.filter(|_| replayable) else {
            self.answered(&lease, false, status(&lease));
            return status(&lease) == StatusCode::OK;
        };
        self.answered(&other, true, status(&other));
        status(&other) == StatusCode::OK
    }

    async fn serving(&self) -> String {
        value(&*self.get(false).await)
    }
}

impl World {
    /// What happened since the last call, `count` events at least; told by the control runtime, when it comes to it.
    async fn told(&self, count: usize) -> Vec<&'static str> {
        let mut all = Vec::new();
        for turn in 0..10_000 {
            tokio::task::yield_now().await;
            all.extend(self.events.take());
            if turn > 50 && all.len() >= count {
                break;
            }
        }
        all
    }
}

#[tokio::test]
async fn a_value_that_a_probe_showed_to_work_serves_at_once() {
    let (world, credentials) = rotated(true);
    assert_eq!(credentials.serving().await, NEW);
    assert!(credentials.send(&[NEW], false).await && credentials.may_be_exchanged("c"));
    assert!(world.told(0).await.is_empty());
}

/// Upstream takes both: one request tries the new value, then it serves everyone.
#[tokio::test]
async fn a_value_that_nobody_has_seen_taken_is_tried_by_one_request_that_can_be_repeated() {
    let (world, credentials) = rotated(false);
    assert_eq!(credentials.serving().await, OLD, "a body that streams by cannot be repeated");
    let first = credentials.get(true).await;
    assert_eq!(value(&first), NEW);
    assert_eq!(value(&*credentials.get(true).await), OLD, "one at a time");
    credentials.answered(&first, false, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(credentials.serving().await, OLD, "that says nothing of the value");
    credentials.answered(&first, false, StatusCode::OK);
    assert_eq!(credentials.serving().await, NEW);
    assert_eq!(world.told(1).await, ["accepted"]);
}

/// Upstream does not take the new value yet: no request is lost, one in 30 seconds pays twice.
#[tokio::test]
async fn a_refused_value_gives_way_and_is_tried_again() {
    for proven in [false, true] {
        let (world, credentials) = rotated(proven);
        assert!(credentials.send(&[OLD], true).await);
        assert_eq!(world.told(1).await, ["fell_back"]);
        for replayable in [true, false, true] {
            assert!(credentials.send(&[OLD], replayable).await);
            assert_eq!(credentials.serving().await, OLD);
        }
        world.clock.advance_ms(RETRY_MS);
        assert!(credentials.send(&[OLD], false).await && credentials.send(&[OLD], true).await);
        assert_eq!(world.told(1).await, ["fell_back"], "once per try");
        world.clock.advance_ms(RETRY_MS - 1);
        assert_eq!(value(&*credentials.get(true).await), OLD);
        world.clock.advance_ms(1);
        // Now it does.
        assert!(credentials.send(&[OLD, NEW], true).await);
        assert_eq!((credentials.serving().await.as_str(), world.told(1).await), (NEW, vec!["accepted"]));
        assert!(credentials.send(&[NEW], true).await && credentials.send(&[NEW], false).await);
    }
}

/// Many are refused together: each is sent once more, and one of them is told of.
#[tokio::test]
async fn requests_that_are_refused_together_make_one_record() {
    let (world, credentials) = rotated(true);
    let sent = [credentials.get(true).await, credentials.get(true).await, credentials.get(true).await];
    for lease in &sent {
        assert_eq!(value(lease), NEW);
        let other = credentials.other(lease).unwrap();
        assert_eq!(value(&other), OLD);
        credentials.answered(&other, true, StatusCode::OK);
    }
    assert_eq!(world.told(1).await, ["fell_back"]);
    assert!(world.told(0).await.is_empty());
}

/// Upstream revokes the old value while it serves: the new one takes over before its time.
#[tokio::test]
async fn a_previous_value_that_is_refused_gives_way_too() {
    let (world, credentials) = rotated(true);
    assert!(credentials.send(&[OLD], true).await);
    assert_eq!(world.told(1).await, ["fell_back"]);
    assert!(credentials.send(&[NEW], true).await);
    assert_eq!((credentials.serving().await.as_str(), world.told(1).await), (NEW, vec!["accepted"]));
    // By a request that cannot be repeated: it is lost, and the next one is not.
    assert!(credentials.send(&[OLD], true).await);
    assert!(!credentials.send(&[NEW], false).await && credentials.send(&[NEW], false).await);
    assert_eq!(world.told(2).await, ["fell_back", "accepted"]);
}

/// Upstream minds something else: it is not asked twice for ever.
#[tokio::test]
async fn an_upstream_that_takes_neither_value_is_not_asked_twice_for_ever() {
    let (world, credentials) = rotated(true);
    let worth_it = async || credentials.other(&*credentials.get(true).await).is_some();
    for _ in 0..16 {
        assert!(worth_it().await);
        assert!(!credentials.send(&[], true).await);
    }
    assert!(!worth_it().await);
    assert_eq!(credentials.serving().await, NEW, "nothing speaks for the other value");
    world.clock.advance_ms(RETRY_MS);
    assert!(worth_it().await);
    assert!(credentials.send(&[OLD], true).await && worth_it().await);
}

/// A rotation that was left open long ago is no reason to send the former value.
#[tokio::test]
async fn caution_ends() {
    let (world, credentials) = rotated(false);
    world.clock.advance_ms(600_000);
    assert_eq!(credentials.serving().await, OLD, "it was loaded before");
    let credentials = world.load("[credential.c]\nkind = \"static\"\nvalue = \"secret://sealed/c\"\n");
    assert_eq!(credentials.serving().await, NEW);
}

/// What is known of the two values outlives a reload and a look at the file.
#[tokio::test]
async fn a_reload_and_a_touched_file_forget_nothing() {
    let text = "[credential.c]\nkind = \"static\"\nvalue = \"secret://sealed/c\"\n";
    let (world, credentials) = rotated(true);
    assert!(credentials.send(&[OLD], true).await);
    assert_eq!(world.told(1).await, ["fell_back"]);
    let (reloaded, _) = world.load_after(text, Some(&credentials));
    assert_eq!(reloaded.serving().await, OLD);
    let file = world.path().join("state/sealed/c.age");
    let content = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, content).unwrap();
    let (reread, _) = world.load_after(text, Some(&reloaded));
    assert_eq!(reread.serving().await, OLD);
    assert_eq!(world.told(1).await, ["refreshed"]);
}

#[tokio::test]
async fn after_the_end_of_a_rotation_no_former_value_is_sent() {
    for back in [false, true] {
        let (world, credentials) = rotated(true);
        let tick = || credentials.keepers.values().for_each(|entry| entry.keeper.tick());
        let (kept, gone) = if back { (OLD, NEW) } else { (NEW, OLD) };
        // Both are under way.
        let new = credentials.get(true).await;
        let old = credentials.other(&new).unwrap();
        assert!(credentials.send(&[OLD], true).await, "the old one serves");
        match back {
            false => drop(world.sealed().finish("c").unwrap()),
            true => drop(world.sealed().take_back("c").unwrap()),
        }
        tick();
        until(|| async { (!credentials.may_be_exchanged("c")).then_some(()) }).await;
        for replayable in [true, false] {
            assert_eq!(value(&*credentials.get(replayable).await), kept);
        }
        let late = if back { &new } else { &old };
        assert_eq!(value(late), gone);
        // Refused late: the value that is kept. A refusal of that one is final.
        assert_eq!(value(&credentials.other(late).unwrap()), kept);
        assert!(credentials.other(&*credentials.get(true).await).is_none());
        credentials.answered(late, false, StatusCode::UNAUTHORIZED);
    }
}

/// While both values are about, answers are searched for both, whichever was sent.
#[tokio::test]
async fn the_echo_guard_knows_both_values() {
    let (_world, credentials) = rotated(true);
    let new = credentials.get(true).await;
    let previous = credentials.other(&new).unwrap();
    assert_eq!((value(&new), value(&previous)), (NEW.to_owned(), OLD.to_owned()));
    for lease in [&new, &previous] {
        let guard = lease.guard().unwrap();
        let shown = http::HeaderValue::from_str(&format!("{OLD} {NEW}")).unwrap();
        let masked = guard.mask_header(&shown).unwrap();
        assert_eq!(masked.to_str().unwrap(), format!("{} {}", "*".repeat(OLD.len()), "*".repeat(NEW.len())));
    }
    assert!(!format!("{credentials:?} {new:?}").contains("value-of-c"));
}

/// Fields that are not rotated stay as they are in both leases.
#[tokio::test]
async fn several_fields_are_replaced_together() {
    let world = World::new();
    world.seal("api", "the-old-api-key", &["c.test"]);
    world.seal("app", "the-only-app-key", &["c.test"]);
    world.rotate("api", "the-new-api-key", true);
    let value = "{ api = \"secret://sealed/api\", app = \"secret://sealed/app\" }";
    let credentials = world.load(&format!("[credential.c]\nkind = \"static\"\nvalue = {value}\n"));
    let new = credentials.get(true).await;
    let previous = credentials.other(&new).unwrap();
    let field = |lease: &Lease, name| crate::fixture::text(lease.field(Some(name)).unwrap());
    assert_eq!((field(&new, "api"), field(&new, "app")), ("the-new-api-key".into(), "the-only-app-key".into()));
    assert_eq!(
        (field(&previous, "api"), field(&previous, "app")),
        ("the-old-api-key".into(), "the-only-app-key".into())
    );
    let entry = world.sealed().entry("api").unwrap();
    let app = world.sealed().entry("app").unwrap().version;
    assert_eq!(*new.stamp().version, format!("{}.{app}", entry.version));
    assert_eq!(*previous.stamp().version, format!("{}.{app}", entry.previous.unwrap().version));
}

/// Whoever changed it does not wait for the next look: neither for a read that began before the change.
#[tokio::test]
async fn a_change_that_is_told_of_is_read_at_once() {
    let world = World::new();
    world.seal("c", OLD, &["c.test"]);
    let credentials = world.load("[credential.c]\nkind = \"static\"\nvalue = \"secret://sealed/c\"\n");
    assert_eq!(credentials.reading("sealed", "c"), ["c".into()]);
    assert!(credentials.reading("sealed", "d").is_empty() && credentials.reading("other", "c").is_empty());
    let before = world.sealed().entry("c").unwrap().version;
    world.rotate("c", NEW, true);
    let after = world.sealed().entry("c").unwrap().version;
    let read = crate::Reread { version: after.clone(), previous: Some(before) };
    let (one, two) = tokio::join!(credentials.reread("c"), credentials.reread("c"));
    assert_eq!((one.unwrap(), two.unwrap()), (read.clone(), read));
    assert_eq!(credentials.serving().await, NEW);
    world.sealed().finish("c").unwrap();
    assert_eq!(credentials.reread("c").await.unwrap(), crate::Reread { version: after, previous: None });
    world.sealed().remove("c").unwrap();
    assert_eq!(credentials.reread("c").await.unwrap_err().code(), "secret_missing");
    assert_eq!(credentials.reread("d").await.unwrap_err().code(), "credential_unknown");
}
