//! Shards on threads of their own, in conservative windows (Chandy and Misra 1979, with the window fixed).
//!
//! A window is shorter than the least latency, so that nothing sent within it arrives within it: each shard
//! runs its window alone, then all exchange what they sent each other. The order of events does not depend on
//! the shards, so neither does anything else.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use xtreem_base::Instant;
use xtreem_membership::Message;

use super::process::cpu_time;
use super::world::Shard;
use crate::arena::Parcel;
use crate::link::Latency;
use crate::wheel::SLOT_BITS;

/// One slot of the wheel.
const WINDOW_MICROS: u64 = 1 << SLOT_BITS;
const _: () = assert!(WINDOW_MICROS <= Latency::WORLD.least().as_micros());

/// Looks at the barrier before a thread yields its processor: about 20 µs. A neighbour's thread may need it,
/// perhaps the very one that is waited for.
const SPINS: u32 = 500;

/// Where all threads wait for each other.
struct Barrier {
    parties: usize,
    arrived: AtomicUsize,
    /// Windows that all have finished.
    turns: AtomicUsize,
    /// A thread has panicked: nobody must wait for it.
    is_broken: AtomicBool,
}

impl Barrier {
    fn wait(&self) {
        let turn = self.turns.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.parties {
            self.arrived.store(0, Ordering::Relaxed);
            self.turns.store(turn + 1, Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.turns.load(Ordering::Acquire) == turn {
            assert!(!self.is_broken.load(Ordering::Relaxed), "another shard's thread has panicked");
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Breaks the barrier when its thread panics.
struct Presence<'a>(&'a Barrier);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.is_broken.store(true, Ordering::Relaxed);
        }
    }
}

/// What goes from one shard to another between windows. Never fought over: the barrier is between the two.
type Mailbox = Mutex<Vec<Parcel<Message>>>;

/// Runs all shards from `start` to `end`; comes back with the processor time of all threads together.
pub(super) fn run(shards: &mut [Shard], start: Instant, end: Instant) -> Duration {
    if let [shard] = shards {
        let started = cpu_time();
        shard.run_until(end);
        return cpu_time().saturating_sub(started);
    }
    let parties = shards.len();
    let (arrived, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let barrier = Barrier { parties, arrived, turns, is_broken: AtomicBool::new(false) };
    // Two of each, used in turn: one is read while the other is filled.
    let mailboxes: Vec<[Mailbox; 2]> = (0..parties * parties).map(|_| Default::default()).collect();
    let (barrier, mailboxes) = (&barrier, &mailboxes);
    std::thread::scope(|scope| {
        let work = |(me, shard)| scope.spawn(move || run_shard(shard, me, start, end, barrier, mailboxes));
        let threads: Vec<_> = shards.iter_mut().enumerate().map(work).collect();
        // A panic in a thread goes on here.
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|it| std::panic::resume_unwind(it)))
            .sum()
    })
}

fn run_shard(
    shard: &mut Shard,
    me: usize,
    start: Instant,
    end: Instant,
    barrier: &Barrier,
    mailboxes: &[[Mailbox; 2]],
) -> Duration {
    let (started, parties, _presence) = (cpu_time(), barrier.parties, Presence(barrier));
    let others = || (0..parties).filter(|&other| other != me);
    let mailbox = |from: usize, to: usize, parity: usize| {
        // Poisoned only by a panic, which ends the run anyway.
        mailboxes[from * parties + to][parity].lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    };
    let (mut window, mut parity) = (start.as_micros() / WINDOW_MICROS, 0);
    loop {
        // The last moment of the window; the first and the last window of a run are cut short.
        let last = Instant::from_micros((window + 1) * WINDOW_MICROS - 1).min(end);
        shard.run_until(last);
        others().for_each(|other| shard.hand_over(other, &mut mailbox(me, other, parity)));
        barrier.wait();
        others().for_each(|other| shard.take_in(&mut mailbox(other, me, parity)));
        if last == end {
            return cpu_time().saturating_sub(started);
        }
        (window, parity) = (window + 1, 1 - parity);
    }
}
