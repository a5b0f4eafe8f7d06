//! What a thread of its own makes while something else is done: at a start, what does not depend on the configuration's
//! rules while they are compiled.

use std::sync::LazyLock;

/// A value that may still be in the making. Whoever asks first waits for it.
pub(crate) struct Ahead<T>(LazyLock<Option<T>, Box<dyn FnOnce() -> Option<T> + Send>>);

impl<T: Send + 'static> Ahead<T> {
    /// Begins to make it. Where there is no thread to be had it is made when it is asked for.
    pub(crate) fn begin(name: &str, make: impl FnOnce() -> Option<T> + Send + Clone + 'static) -> Self {
        let later = make.clone();
        Self(LazyLock::new(match std::thread::Builder::new().name(name.to_owned()).spawn(make) {
            Ok(thread) => Box::new(move || thread.join().ok().flatten()),
            Err(_) => Box::new(later),
        }))
    }

    /// The value; `None` if none could be made.
    pub(crate) fn get(&self) -> Option<&T> {
        LazyLock::force(&self.0).as_ref()
    }
}

impl<T> Drop for Ahead<T> {
    /// A process that refuses to start does not end while one of its files is half written.
    fn drop(&mut self) {
        LazyLock::force(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;

    #[test]
    fn who_asks_waits_and_all_get_the_same() {
        let (go, wait) = mpsc::channel();
        let wait = Arc::new(Mutex::new(wait));
        let ahead = Arc::new(Ahead::begin("test", move || wait.lock().unwrap().recv().ok()));
        let asking = std::thread::spawn({
            let ahead = ahead.clone();
            move || ahead.get().copied()
        });
        go.send(7).unwrap();
        assert_eq!(asking.join().unwrap(), Some(7));
        assert_eq!(ahead.get(), Some(&7));
        // Nobody waits for ever for what fails.
        assert_eq!(Ahead::<u8>::begin("test", || panic!("on purpose")).get(), None);
    }
}
