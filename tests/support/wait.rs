//! Waiting for what comes in its own time.

use std::time::{Duration, Instant};

use crate::PATIENCE;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks again and again until it is so; fails the test when that takes too long.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + 2 * PATIENCE;
    while !look().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
