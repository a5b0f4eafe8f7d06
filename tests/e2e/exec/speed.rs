//! What a session costs, printed and not judged: machines differ.

use std::time::{Duration, Instant};

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn how_long_exec_true_takes() {
    let stage = Stage::new().await;
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let timed = |run: &dyn Fn() -> Option<i32>| {
        let start = Instant::now();
        assert_eq!(run(), Some(0));
        start.elapsed()
    };
    let plain = || std::process::Command::new("true").status().unwrap().code();
    let session = || stage.command(&["--quiet", "--", "true"]).output().unwrap().status.code();
    let (mut alone, mut with) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        alone.push(timed(&plain));
        with.push(timed(&session));
    }
    println!("true: {:?}, claviger exec -- true: {:?} (median of 20)", median(alone), median(with));
    assert!(stage.left_behind().is_empty());
}
