//! When something happened that only a limit of seconds asks for.

use std::time::Duration;

/// A point of a clock that never goes back, exact to about 10 ms, and a fifth as dear to read as `std::time::Instant`
/// where the system has such a clock (`CLOCK_MONOTONIC_COARSE`, `clock_getres(2)`).
#[derive(Clone, Copy, Debug)]
pub struct Moment(
    #[cfg(target_os = "linux")] rustix::time::Timespec,
    #[cfg(not(target_os = "linux"))] std::time::Instant,
);

impl Moment {
    /// The present one.
    #[cfg(target_os = "linux")]
    pub fn now() -> Self {
        Self(rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse))
    }

    /// The present one.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Self {
        Self(std::time::Instant::now())
    }

    /// How long ago `earlier` was, seen from here; zero if it was later.
    #[cfg(target_os = "linux")]
    pub fn since(self, earlier: Self) -> Duration {
        let nanos = |time: rustix::time::Timespec| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
        let apart = nanos(self.0).saturating_sub(nanos(earlier.0));
        Duration::from_nanos(u64::try_from(apart.max(0)).unwrap_or(u64::MAX))
    }

    /// How long ago `earlier` was, seen from here; zero if it was later.
    #[cfg(not(target_os = "linux"))]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_the_clock() {
        let (exact, first) = (std::time::Instant::now(), Moment::now());
        let mut second = first;
        while second.since(first) < Duration::from_millis(30) {
            second = Moment::now();
        }
        // As exact as the clock's ticks.
        assert!(exact.elapsed() >= Duration::from_millis(15), "{:?}", exact.elapsed());
        assert_eq!(first.since(second), Duration::ZERO);
    }
}
