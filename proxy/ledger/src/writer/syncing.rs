//! Full files are made durable beside the writer: a disk that takes its time over 64 MiB holds up no record, and so
//! refuses no request.

use std::thread::JoinHandle;

/// The file that is made durable at the moment, at most one.
#[derive(Debug, Default)]
pub(super) struct Syncing(Option<JoinHandle<()>>);

impl Syncing {
    /// Begins to make a file durable. Waits for the one before it: where files fill faster than the disk takes them, the
    /// writer is held up after all, and what waits for the disk stays bounded.
    pub(super) fn begin(&mut self, sync: impl FnOnce() + Send + 'static) {
        self.finish();
        // Without a thread, what is dropped here is written by the system in its own time.
        self.0 = std::thread::Builder::new().name("ledger-sync".to_owned()).spawn(sync).ok();
    }

    /// Waits until all that was begun is durable.
    pub(super) fn finish(&mut self) {
        if let Some(thread) = self.0.take() {
            // It has nothing that panics, and there is nobody to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_slow_disk_holds_up_the_next_file_but_one() {
        let (allow, allowed) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        let mut syncing = Syncing::default();
        // Returns although the disk has not answered.
        syncing.begin(move || {
            allowed.recv().unwrap();
            done.send("first").unwrap();
        });
        assert!(is_done.try_recv().is_err());
        allow.send(()).unwrap();
        syncing.begin(|| {});
        assert_eq!(is_done.try_recv(), Ok("first"), "the second waited for the first");
    }

    #[test]
    fn the_end_waits_for_all() {
        let (done, is_done) = mpsc::channel();
        let mut syncing = Syncing::default();
        for number in 0..3 {
            let done = done.clone();
            syncing.begin(move || done.send(number).unwrap());
        }
        syncing.finish();
        assert_eq!(is_done.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
        syncing.finish();
    }
}
