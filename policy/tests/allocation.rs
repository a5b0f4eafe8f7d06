//! A decision allocates nothing, whatever it says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "a global allocator that counts can only be written with unsafe")]

#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/load.rs"]
mod load;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use claviger_policy::{Context, Decision};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = COUNT.with(Cell::get);
    let result = black_box(work());
    (result, COUNT.with(Cell::get) - before)
}

#[test]
fn the_counter_counts() {
    assert_eq!(count(|| vec![1_u8]).1, 1);
}

#[test]
fn decisions_allocate_nothing() {
    let fleet = fleet::Fleet::new(40, 250, 60, 80);
    let policy = load::load(&fleet.config());
    let bounds: Vec<_> = fleet.principals().iter().map(|principal| policy.bind(principal)).collect();
    let mut seen = [0_usize; 3];
    for case in fleet.cases(2_000) {
        let bound = &bounds[case.caller];
        let context = Context { source_ip: Some([10, 1, 2, 3].into()), now: 1_790_000_000 };
        let (target, method) = (case.target(&policy), case.method.clone());
        let (decision, allocated) = count(|| policy.decide(bound, target, method, &context));
        assert_eq!(allocated, 0, "{decision:?}");
        seen[match decision {
            Decision::Grant(_) => 0,
            Decision::Denied(_) => 1,
            Decision::Pending(_) => 2,
        }] += 1;
    }
    assert!(seen.iter().all(|count| *count > 50), "every kind of answer was counted: {seen:?}");
}
