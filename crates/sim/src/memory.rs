//! Hints to the processor and the kernel about the memory of a large world. They change no result.
//!
//! A world of 100,000 nodes does not fit the cache, and events hit it at random: without hints most of the
//! time is spent waiting for memory and for the translation of its addresses.
#![expect(unsafe_code, reason = "prefetch and madvise have no safe interface")]

/// Bytes that come together.
const LINE: usize = 64;

/// Starts to fetch all of `item` into the cache; does not wait for it. Nothing on processors other than
/// x86-64.
#[inline]
pub(crate) fn prefetch<T>(item: &T) {
    let start = std::ptr::from_ref(item).cast::<i8>();
    for offset in (0..size_of::<T>()).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch is a hint: it reads nothing into the program and cannot fault, whatever the
        // address; and this one lies inside `item`.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (start, offset);
    }
}

/// The same for all of a slice.
#[inline]
pub(crate) fn prefetch_all<T>(items: &[T]) {
    let each = (LINE / size_of::<T>().max(1)).max(1);
    items.iter().step_by(each).for_each(prefetch);
}

/// A vector with room for `capacity` items, on huge pages where Linux has some: address translation is then
/// nearly free. Only what is used becomes resident.
pub(crate) fn vec_on_huge_pages<T>(capacity: usize) -> Vec<T> {
    let vec: Vec<T> = Vec::with_capacity(capacity);
    #[cfg(target_os = "linux")]
    advise(vec.as_ptr() as usize, capacity * size_of::<T>());
    vec
}

#[cfg(target_os = "linux")]
fn advise(start: usize, len: usize) {
    use nix::sys::mman::{MmapAdvise, madvise};
    /// The kernel rounds the length up itself; the start has to lie on a page.
    const PAGE: usize = 4_096;
    let first = start.next_multiple_of(PAGE);
    let len = (start + len).saturating_sub(first) / PAGE * PAGE;
    if let Some(place) = std::ptr::NonNull::new(first as *mut std::ffi::c_void).filter(|_| len > 0) {
        // SAFETY: the range lies inside an allocation of ours, and this advice changes no content and no
        // right. Where it is refused the pages stay small.
        let _ = unsafe { madvise(place, len, MmapAdvise::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_all_sizes_work_as_others_do() {
        for len in [0, 1, 500, 5_000, 3_000_000u32] {
            let mut vec = vec_on_huge_pages(len as usize);
            vec.extend(0..len);
            vec.iter().for_each(prefetch);
            assert!(vec.into_iter().eq(0..len));
        }
    }
}
