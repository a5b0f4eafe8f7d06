//! The process's allocator.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

/// mimalloc: many small allocations on few threads.
///
/// What needs no more than the usual alignment takes its plain functions. The `mimalloc` crate asks for an alignment each
/// time, which costs three times as many instructions, and sometimes a larger block.
pub(crate) struct Allocator;

/// Blocks of at least this size have it as their alignment.
const USUAL: usize = 16;

const fn is_usual(layout: Layout) -> bool {
    layout.align() <= USUAL && layout.align() <= layout.size()
}

// SAFETY: mimalloc's functions keep the contract of the trait: what they yield is as large as was asked for, and aligned to
// `USUAL`, or to its own size where that is smaller, by the plain ones (`MI_MAX_ALIGN_SIZE`), and as asked for by the others;
// null stands for no memory; and `mi_free` and `mi_realloc` take blocks of both.
#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two may be asked for.
        unsafe {
            if is_usual(layout) {
                mi::mi_malloc(layout.size()).cast()
            } else {
                mi::mi_malloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if is_usual(layout) {
                mi::mi_zalloc(layout.size()).cast()
            } else {
                mi::mi_zalloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller gives back what it was given here.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above, for the block and for the size.
        unsafe {
            if layout.align() <= USUAL && layout.align() <= size {
                mi::mi_realloc(block.cast(), size).cast()
            } else {
                mi::mi_realloc_aligned(block.cast(), size, layout.align()).cast()
            }
        }
    }
}

#[cfg(test)]
#[allow(unsafe_code, clippy::unwrap_used, reason = "what the allocator gives is looked at as it is")]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_keep_their_bytes() {
        for size in [1, 2, 3, 8, 9, 16, 17, 24, 48, 100, 1_000, 4_096, 70_000] {
            for align in [1, 2, 4, 8, 16, 32, 64, 4_096] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: each block is written within its size, and given back once.
                unsafe {
                    // Several at a time: the first of a page would be aligned by itself.
                    let blocks: Vec<*mut u8> = (0..8)
                        .map(|n| if n % 2 == 0 { Allocator.alloc(layout) } else { Allocator.alloc_zeroed(layout) })
                        .collect();
                    for block in blocks {
                        assert!(!block.is_null());
                        assert_eq!(block.addr() % align, 0, "{layout:?}");
                        block.write_bytes(7, size);
                        let grown = Allocator.realloc(block, layout, size * 3);
                        assert_eq!(grown.addr() % align, 0, "{layout:?} grown");
                        assert!(std::slice::from_raw_parts(grown, size).iter().all(|byte| *byte == 7));
                        Allocator.dealloc(grown, Layout::from_size_align(size * 3, align).unwrap());
                    }
                }
            }
        }
    }
}
