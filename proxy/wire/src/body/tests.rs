use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{BEAT, TICK, next_look};

#[test]
fn many_streams_look_at_few_moments_and_each_once_a_second() {
    let first = Instant::now();
    let mut moments = BTreeSet::new();
    for stream in 0..10_000 {
        let now = first + Duration::from_micros(100) * stream;
        let look = next_look(now);
        assert!(look <= now + TICK && look > now + TICK - BEAT, "{stream}: {:?}", look - now);
        moments.insert((look - first).as_millis());
    }
    assert!(moments.len() <= 18, "{moments:?}");
}
