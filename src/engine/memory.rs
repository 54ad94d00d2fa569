//! Memory of the tables: growable arrays in mappings of their own, and prefetching.
//!
//! Why not a `Vec`: it doubles by copying, which stops the pings of a large partition for seconds
//! and for a while needs the memory twice; and its pages are small, so that nearly every random
//! access misses the translation cache. A [`Region`] reserves address space in steps of 16 times
//! what it had and lets the kernel move page tables instead of bytes (`mremap`); only what was
//! touched is resident. From 16 MiB on it lies on 2 MiB borders and asks for pages of that size.
//!
//! Invariant: elements below `len` are initialised, those that were never written are zero.

#![expect(unsafe_code, reason = "maps memory; outside this file only `ahead` knows where it lies")]

use std::ffi::c_void;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::{self, NonNull};

use rustix::mm::{self, Advice, MapFlags, MremapFlags, ProtFlags};
use zerocopy::FromBytes;

use super::ahead::{self, Ahead};

/// First mapping, bytes.
const BYTES_FIRST: usize = 64 << 10;
/// A mapping's successor is so many times as large.
const STEP: usize = 16;
/// Size and border of a huge page.
const HUGE: usize = ahead::STEP;
/// Mappings from this size on use huge pages: below, a half-used one would weigh too much.
const HUGE_FROM: usize = 16 << 20;

/// A growable array of plain values, zero until written.
pub(super) struct Region<T> {
    start: NonNull<T>,
    len: usize,
    /// Bytes mapped.
    bytes: usize,
    /// Bytes that [`touch_ahead`](Self::touch_ahead) has seen to.
    touched: usize,
    ahead: Ahead,
}

// SAFETY: a region owns its memory like a Vec; T is plain data.
unsafe impl<T: Send> Send for Region<T> {}
// SAFETY: likewise; shared access only reads.
unsafe impl<T: Sync> Sync for Region<T> {}

impl<T> std::fmt::Debug for Region<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region").field("len", &self.len).field("bytes", &self.bytes).finish()
    }
}

impl<T: FromBytes> Default for Region<T> {
    fn default() -> Self {
        Self { start: NonNull::dangling(), len: 0, bytes: 0, touched: 0, ahead: Ahead::default() }
    }
}

impl<T: FromBytes> Region<T> {
    /// `len` zero elements.
    pub(super) fn zeroed(len: usize) -> Self {
        let mut region = Self::default();
        region.grow_to(len);
        region
    }

    /// Makes it `len` long; new elements are zero.
    pub(super) fn grow_to(&mut self, len: usize) {
        debug_assert!(len >= self.len);
        let needed = len.saturating_mul(size_of::<T>());
        if needed > self.bytes {
            self.map(needed);
        }
        self.len = len;
    }

    /// Adds an element at the end.
    pub(super) fn push(&mut self, element: T) {
        self.grow_to(self.len + 1);
        if let Some(last) = self.last_mut() {
            *last = element;
        }
    }

    /// The first `elements` will soon be used: asks for their memory, where it was not asked for yet. Where nobody gives
    /// it ([`ahead`]), touches one more huge page and says so: a first touch may cost milliseconds, so whoever
    /// owns several regions has one of them touch one at a time.
    pub(super) fn touch_ahead(&mut self, elements: usize) -> bool {
        let soon = elements.saturating_mul(size_of::<T>());
        if self.bytes < HUGE_FROM || soon <= self.touched {
            return false;
        }
        if soon > self.bytes {
            // Now, so that the first page behind the old end is there in time, too.
            self.map(soon);
        }
        if self.ask(soon.next_multiple_of(HUGE).min(self.bytes)) {
            return false;
        }
        let page = self.byte_at(self.touched).cast::<u8>();
        // SAFETY: in our mapping, and the borrow is exclusive; what is there stays as it is.
        unsafe { ptr::write_volatile(page, ptr::read_volatile(page)) };
        self.touched += HUGE;
        true
    }

    /// Asks for the first bytes of the mapping, a multiple of a huge page; says whether somebody gives them.
    fn ask(&mut self, wanted: usize) -> bool {
        let given = self.ahead.want(self.start.as_ptr().expose_provenance(), self.touched, wanted);
        if given {
            self.touched = wanted;
        }
        given
    }

    /// Nothing is given any more, so that the mapping may change.
    fn ask_no_more(&mut self) {
        if let Some(given) = self.ahead.end() {
            self.touched = given;
        }
    }

    /// Makes it `len` long; what is cut off is zero when it grows again, and whole pages of it go
    /// back to the system.
    pub(super) fn shrink_to(&mut self, len: usize) {
        debug_assert!(len <= self.len);
        self.ask_no_more();
        let old = std::mem::replace(&mut self.len, len);
        self.touched = self.touched.min(len * size_of::<T>() / HUGE * HUGE);
        // Beyond the old end all is zero, so the page that holds it may go too.
        let end = (old * size_of::<T>()).next_multiple_of(self.page()).min(self.bytes);
        self.release_bytes(len * size_of::<T>()..end);
    }

    /// Size of the pages that can be given back.
    fn page(&self) -> usize {
        if self.bytes >= HUGE_FROM { HUGE } else { 4 << 10 }
    }

    /// Zeroes elements and gives their pages back to the system, as far as they are whole.
    pub(super) fn release(&mut self, range: Range<usize>) {
        self.release_bytes(range.start * size_of::<T>()..range.end * size_of::<T>());
    }

    fn release_bytes(&mut self, bytes: Range<usize>) {
        let (page, from, to) = (self.page(), bytes.start, bytes.end);
        debug_assert!(from <= to && to <= self.bytes);
        let (whole_from, whole_to) = (from.next_multiple_of(page).min(to), (to & !(page - 1)).max(from));
        if whole_from >= whole_to {
            self.zero(from..to);
            return;
        }
        self.zero(from..whole_from);
        self.zero(whole_to..to);
        // SAFETY: the range lies in our mapping, on page borders; private anonymous pages read as
        // zero afterwards.
        let given =
            unsafe { mm::madvise(self.byte_at(whole_from), whole_to - whole_from, Advice::LinuxDontNeed) };
        if given.is_err() {
            self.zero(whole_from..whole_to);
        }
    }

    fn zero(&mut self, bytes: Range<usize>) {
        // SAFETY: in our mapping (callers check); all-zero is a value of T.
        unsafe { ptr::write_bytes(self.byte_at(bytes.start).cast::<u8>(), 0, bytes.len()) };
    }

    fn byte_at(&self, at: usize) -> *mut c_void {
        // SAFETY: at most one past the end of the mapping.
        unsafe { self.start.as_ptr().cast::<u8>().add(at).cast() }
    }

    #[cold]
    fn map(&mut self, needed: usize) {
        self.ask_no_more();
        let mut bytes = self.bytes.max(BYTES_FIRST / STEP).saturating_mul(STEP);
        while bytes < needed {
            bytes = bytes.saturating_mul(STEP);
        }
        // Where the system refuses to reserve that much, what is needed must do.
        let exact = needed.next_multiple_of(HUGE);
        if self.try_map(bytes).or_else(|_| self.try_map(exact)).is_err() {
            let layout = std::alloc::Layout::array::<T>(needed / size_of::<T>());
            std::alloc::handle_alloc_error(layout.unwrap_or(std::alloc::Layout::new::<T>()));
        }
    }

    fn try_map(&mut self, bytes: usize) -> rustix::io::Result<()> {
        let huge = bytes >= HUGE_FROM;
        let slack = if huge { HUGE } else { 0 };
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping wherever the kernel likes; nobody else has pointers into it. It is
        // cut to the aligned part that is kept; the old mapping, whose only pointer is ours, is
        // moved over that part and grows to its size.
        unsafe {
            let base = mm::mmap_anonymous(
                ptr::null_mut(),
                bytes.checked_add(slack).ok_or(rustix::io::Errno::NOMEM)?,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )?;
            let skip = if huge { base.addr().wrapping_neg() % HUGE } else { 0 };
            let kept = base.cast::<u8>().add(skip).cast::<c_void>();
            if skip > 0 {
                mm::munmap(base, skip)?;
            }
            if slack > skip {
                mm::munmap(kept.cast::<u8>().add(bytes).cast(), slack - skip)?;
            }
            if self.bytes > 0 {
                let old = self.byte_at(0);
                if let Err(why) = mm::mremap_fixed(old, self.bytes, bytes, MremapFlags::MAYMOVE, kept) {
                    mm::munmap(kept, bytes)?;
                    return Err(why);
                }
            }
            if huge {
                // Without huge pages it is slower, not wrong.
                let _ = mm::madvise(kept, bytes, Advice::LinuxHugepage);
            }
            self.start = NonNull::new(kept.cast()).ok_or(rustix::io::Errno::NOMEM)?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl<T> Deref for Region<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements are mapped and initialised; T is plain data (see the constructors).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Region<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Region<T> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.ahead.end();
            // SAFETY: ours, and nobody has a borrow any more.
            let _ = unsafe { mm::munmap(self.start.as_ptr().cast(), self.bytes) };
        }
    }
}

/// Which of sixteen bytes are equal to one, as bits.
#[inline(always)]
pub(super) fn equal_bytes(bytes: &[u8; 16], byte: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
        // SAFETY: reads the sixteen bytes; SSE2 is part of x86-64.
        unsafe {
            let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
            _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))) as u32
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    bytes.iter().enumerate().fold(0, |bits, (i, b)| bits | u32::from(*b == byte) << i)
}

/// Asks for the cache lines of an element, to be read or written soon. Nothing where it does not
/// exist.
#[inline(always)]
pub(super) fn prefetch<T>(slice: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = slice.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = std::ptr::from_ref(element).cast::<i8>();
        // SAFETY: a prefetch reads nothing and cannot fault.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(first);
            if !64_usize.is_multiple_of(size_of::<T>()) {
                _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(size_of::<T>() - 1));
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, at);
}

/// Asks for all cache lines of a slice that starts on a line.
#[inline(always)]
pub(super) fn prefetch_all<T>(slice: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in 0..size_of_val(slice).div_ceil(64) {
            // SAFETY: a prefetch reads nothing and cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().cast::<i8>().wrapping_add(line * 64)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slice;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_it_holds_while_it_grows_and_is_zero_where_never_written() {
        let mut region = Region::<u64>::zeroed(1);
        let mut len = 1;
        while len < 40_000_000 {
            region[len - 1] = len as u64;
            let before = len;
            len = len * 3 + 1;
            region.grow_to(len);
            assert!(region[before..].iter().step_by(511).all(|x| *x == 0));
        }
        let mut len = 1;
        while len * 3 + 1 < 40_000_000 {
            assert_eq!(region[len - 1], len as u64);
            len = len * 3 + 1;
        }
    }

    #[test]
    fn what_is_released_or_cut_off_is_zero_and_the_rest_stays() {
        let mut region = Region::<u32>::zeroed(12_000_000);
        region.iter_mut().zip(1..).for_each(|(x, n)| *x = n);
        region.release(1_000..9_000_001);
        assert!(
            region
                .iter()
                .zip(1_u32..)
                .all(|(x, n)| { *x == if (1_001..=9_000_001).contains(&n) { 0 } else { n } })
        );
        region.shrink_to(9_500_000);
        region.grow_to(12_000_000);
        assert!(region[9_500_000..].iter().all(|x| *x == 0));
        assert_eq!(region[9_499_999], 9_500_000);
    }

    /// Two threads, each with tables of its own, while others give memory: against a plain list.
    #[test]
    fn memory_that_is_given_meanwhile_changes_nothing() {
        for _ in 0..2 {
            std::thread::spawn(|| ahead::give());
        }
        let churn = |mut random: u64| {
            move || {
                let mut next = |below: usize| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (random >> 33) as usize % below
                };
                let (mut region, mut model) = (Region::<u64>::default(), Vec::new());
                for turn in 0..120 {
                    match next(8) {
                        0 => {
                            let len = model.len() - next(model.len() / 2 + 1);
                            region.shrink_to(len);
                            model.truncate(len);
                        }
                        1 if turn % 40 == 39 => {
                            (region, model) = (Region::default(), Vec::new());
                        }
                        _ => {
                            let first = model.len();
                            let len = first + next(150_000);
                            region.grow_to(len);
                            assert!(region[first..].iter().all(|x| *x == 0), "new elements are zero");
                            model.extend((first..len).map(|n| (n ^ turn) as u64));
                            region[first..].copy_from_slice(&model[first..]);
                        }
                    }
                    region.touch_ahead(model.len() + next(600_000));
                    assert!(turn % 8 > 0 || *region == *model, "turn {turn}");
                }
            }
        };
        let threads = [std::thread::spawn(churn(1)), std::thread::spawn(churn(2))];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
