//! Memory that is not needed any more, given back to the system.

/// Gives back what was freed a second ago or longer, of this thread and of what threads have given up. Cheap enough to be
/// done once a second.
#[allow(
    unsafe_code,
    reason = "a call into the allocator, which is linked in; it takes no pointer and may be made at any time"
)]
pub(crate) fn give_back_freed() {
    // SAFETY: it has no preconditions.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

/// Gives back what only starting needed: garbage of the allocator, and the pages of code that starting ran through. Code is
/// read again from the page cache where it is needed.
#[allow(unsafe_code, reason = "as above; and madvise, on pages that are read and run only")]
pub(crate) fn give_back_start() {
    // SAFETY: as above.
    unsafe { libmimalloc_sys::mi_collect(true) }
    #[cfg(target_os = "linux")]
    for (start, length) in own_code() {
        let start = std::ptr::with_exposed_provenance_mut(start);
        // Refused: the pages stay.
        // SAFETY: the pages are of this program's file, mapped to be read and run and never written: what is dropped
        // here comes back from the file, byte for byte.
        let _ = unsafe { rustix::mm::madvise(start, length, rustix::mm::Advice::LinuxDontNeed) };
    }
}

/// Where this program's code lies: start and length of each mapping.
#[cfg(target_os = "linux")]
fn own_code() -> Vec<(usize, usize)> {
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return Vec::new() };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(|line| code(line, program.to_str()?)).collect()
}

/// The range of a line of `/proc/PID/maps` (proc(5)), if it is code of the program.
#[cfg(target_os = "linux")]
fn code(line: &str, program: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, mode) = (fields.next()?, fields.next()?);
    let (_offset, _device, _inode) = (fields.next()?, fields.next()?, fields.next()?);
    if mode != "r-xp" || fields.next()? != program || fields.next().is_some() {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_run_and_never_written() {
        for (line, expected) in [
            ("55d0-65d0 r-xp 00001000 08:01 42   /usr/bin/claviger", Some((0x55d0, 0x1000))),
            ("55d0-65d0 r--p 00001000 08:01 42   /usr/bin/claviger", None),
            ("55d0-65d0 rwxp 00001000 08:01 42   /usr/bin/claviger", None),
            ("55d0-65d0 r-xp 00001000 08:01 42   /usr/lib/libc.so.6", None),
            ("55d0-65d0 r-xp 00001000 08:01 42   /usr/bin/claviger (deleted)", None),
            ("55d0-65d0 r-xp 00001000 00:00 0", None),
            ("65d0-55d0 r-xp 00001000 08:01 42   /usr/bin/claviger", None),
            ("", None),
        ] {
            assert_eq!(code(line, "/usr/bin/claviger"), expected, "{line}");
        }
    }

    #[test]
    fn a_program_goes_on_without_its_pages() {
        assert!(!own_code().is_empty());
        for _ in 0..3 {
            give_back_start();
            give_back_freed();
        }
        assert_eq!((1..=100).map(|n| n.to_string()).collect::<String>().len(), 192);
    }
}
