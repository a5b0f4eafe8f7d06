//! What is asked of the operating system about this process itself.

/// Keeps secrets in memory out of core files and away from other processes of the same user.
///
/// Not dumpable: no core file, and `ptrace` and `/proc/PID/mem` need privileges. Called before
/// anything is read. A kernel that refuses is not an error: the proxy is still better than no proxy.
pub(crate) fn harden() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
}

/// One data core per CPU that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
