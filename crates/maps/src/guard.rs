//! Maps whose files let go of them.
//!
//! A page of a mapped file that is not there any more (somebody cut the file) or cannot be read
//! (the disk fails) is told to the process by SIGBUS, which ends it: with all other repositories
//! and all other clients. A guarded process goes on: the handler puts zeros where the page was,
//! and notes which map it was. Zeros are no object, no index entry and no delta, so that most
//! readers fail at once; those that copy unseen ask [`Losses::count`] at the end.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use memmap2::Mmap;
use nix::libc::{BUS_ADRERR, BUS_MCEERR_AR, c_int, c_void, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Places for maps in one block of the table.
const BLOCK_SLOTS: usize = 256;

/// Where one map lies, as the handler of the signal has to find it: without a lock.
struct Slot {
    /// 0: free, or about to be.
    start: AtomicUsize,
    end: AtomicUsize,
    /// Which [`Losses`] the map belongs to.
    store: AtomicU64,
    torn: AtomicBool,
}

/// Slots are never given back, so that the handler may walk over them at any time.
struct Block {
    slots: [Slot; BLOCK_SLOTS],
    next: Option<&'static Block>,
}

/// The newest block.
static BLOCKS: AtomicPtr<Block> = AtomicPtr::new(std::ptr::null_mut());
static FREE: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());
/// Faults of all stores; while it is 0 nobody needs to look further.
static FAULTS: AtomicU64 = AtomicU64::new(0);
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// What the signal did before.
static BEFORE: OnceLock<SigAction> = OnceLock::new();

/// The losses of one store.
pub struct Losses {
    /// Tells stores apart.
    store: u64,
    /// Of maps that are gone.
    past: AtomicU64,
}

impl Losses {
    /// None yet.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let store = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Losses { store, past: AtomicU64::new(0) })
    }

    /// How many of the store's maps were torn so far.
    pub fn count(&self) -> u64 {
        if FAULTS.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let is_torn = |slot: &&Slot| {
            slot.start.load(Ordering::Acquire) != 0
                && slot.store.load(Ordering::Relaxed) == self.store
                && slot.torn.load(Ordering::Acquire)
        };
        // A map that goes takes its loss along under this lock.
        let _free = lock(&FREE);
        self.past.load(Ordering::Acquire) + slots().filter(is_torn).count() as u64
    }
}

/// A map the handler knows.
pub(crate) struct GuardedMap {
    slot: &'static Slot,
    losses: Arc<Losses>,
    map: Mmap,
}

impl GuardedMap {
    pub fn new(map: Mmap, losses: &Arc<Losses>) -> Self {
        let slot = free_slot();
        let start = map.as_ptr() as usize;
        slot.torn.store(false, Ordering::Relaxed);
        slot.end.store(start + map.len(), Ordering::Release);
        slot.store.store(losses.store, Ordering::Relaxed);
        slot.start.store(start, Ordering::Release);
        GuardedMap { slot, losses: losses.clone(), map }
    }
}

impl AsRef<[u8]> for GuardedMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for GuardedMap {
    fn drop(&mut self) {
        let mut free = lock(&FREE);
        if self.slot.torn.load(Ordering::Acquire) {
            self.losses.past.fetch_add(1, Ordering::AcqRel);
        }
        // Before the memory is unmapped, which the field's own drop does.
        self.slot.start.store(0, Ordering::Release);
        free.push(self.slot);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    // SAFETY: the pointer is null or that of a block that was leaked and is never changed.
    #[allow(unsafe_code)]
    let newest = unsafe { BLOCKS.load(Ordering::Acquire).as_ref() };
    std::iter::successors(newest, |block| block.next).flat_map(|block| &block.slots)
}

fn free_slot() -> &'static Slot {
    let mut free = lock(&FREE);
    if let Some(slot) = free.pop() {
        return slot;
    }
    // SAFETY: as in `slots`; only the holder of the lock puts a new block in front.
    #[allow(unsafe_code)]
    let next = unsafe { BLOCKS.load(Ordering::Acquire).as_ref() };
    let slot = |_| Slot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        store: AtomicU64::new(0),
        torn: AtomicBool::new(false),
    };
    let block = Box::leak(Box::new(Block { slots: std::array::from_fn(slot), next }));
    BLOCKS.store(block, Ordering::Release);
    let (first, others) = block.slots.split_first().expect("a block is not empty");
    free.extend(others);
    first
}

/// Keeps the process alive when a mapped file is cut or cannot be read: readers find zeros and
/// [`Losses::count`] grows. For the whole process, once; a program that installs a
/// handler of its own for SIGBUS afterwards undoes it.
///
/// # Errors
/// When the system does not let the process handle the signal.
pub fn guard_maps() -> io::Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = lock(&INSTALLING);
    if BEFORE.get().is_some() {
        return Ok(());
    }
    PAGE_BYTES.store(rustix::param::page_size(), Ordering::Release);
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK | SaFlags::SA_RESTART;
    let action = SigAction::new(SigHandler::SigAction(on_bus_error), flags, SigSet::empty());
    // SAFETY: the handler reads and writes atomics and makes system calls, nothing else.
    #[allow(unsafe_code)]
    let before = unsafe { sigaction(Signal::SIGBUS, &action) }?;
    BEFORE.get_or_init(|| before);
    Ok(())
}

extern "C" fn on_bus_error(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the system hands the handler a valid record of what happened.
    #[allow(unsafe_code)]
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // This thread tried to read there, and waits: not so for other codes.
    let by_access = matches!(code, BUS_ADRERR | BUS_MCEERR_AR);
    if by_access && stand_in(address) {
        return;
    }
    // Not ours: what was to happen happens when the instruction is tried again, or, where there
    // was none because somebody sent the signal, when it is raised again.
    if let Some(before) = BEFORE.get() {
        // SAFETY: puts back what was there.
        #[allow(unsafe_code)]
        let _ = unsafe { sigaction(Signal::SIGBUS, before) };
        if !by_access {
            let _ = raise(Signal::SIGBUS);
        }
    }
}

/// Puts zeros in place of the page at `address` and of all behind it, if a guarded map lies there:
/// what was cut is gone to the end, and one call is made where there would be one for each page.
fn stand_in(address: usize) -> bool {
    // The end of the map around the address, unless the slot is being given to another map.
    let end_of = |slot: &'static Slot| {
        let start = slot.start.load(Ordering::Acquire);
        let end = slot.end.load(Ordering::Acquire);
        let same = start != 0 && slot.start.load(Ordering::Acquire) == start;
        (same && (start..end).contains(&address)).then_some((slot, end))
    };
    let Some((slot, end)) = slots().find_map(end_of) else { return false };
    let page_bytes = PAGE_BYTES.load(Ordering::Acquire);
    let page = address & !(page_bytes - 1);
    let length = end.next_multiple_of(page_bytes) - page;
    slot.torn.store(true, Ordering::Release);
    FAULTS.fetch_add(1, Ordering::AcqRel);
    // SAFETY: the pages lie in a map that lives, for its owner is reading there this moment, and
    // what is put in their place can be read as well.
    #[allow(unsafe_code)]
    let mapped = unsafe {
        let at = page as *mut c_void;
        mmap_anonymous(at, length, ProtFlags::READ, MapFlags::PRIVATE | MapFlags::FIXED)
    };
    mapped.is_ok()
}
