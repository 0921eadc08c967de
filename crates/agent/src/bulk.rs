//! Work whose size is that of users' data, on threads that may wait for the disk.
//!
//! The runtime's blocking threads are shared by all that waits for a disk or a resolver, and there are 512 of
//! them. Each kind of bulk work has a few of its own turns there, so that no kind, and not all together, can
//! take the threads away from the rest.

use std::io;

use tokio::sync::Semaphore;

/// Laying out files of programs: reading, checking and writing them (our guess: a disk is busy with a few).
pub(crate) static LAYING_OUT: Bulk = Bulk::of(4);
/// Files that users bring: a turn lasts as long as the upload. As many as the operator's socket serves.
pub(crate) static UPLOADS: Bulk = Bulk::of(64);
/// Pieces that came from other nodes: checked and stored.
pub(crate) static PIECES_IN: Bulk = Bulk::of(16);
/// Pieces for other nodes: read and proved.
pub(crate) static PIECES_OUT: Bulk = Bulk::of(16);
/// Reading logs.
pub(crate) static LOGS: Bulk = Bulk::of(8);

/// Turns for one kind of work.
pub(crate) struct Bulk(Semaphore);

impl Bulk {
    const fn of(turns: usize) -> Bulk {
        Bulk(Semaphore::const_new(turns))
    }

    /// Waits for a turn, and then for the work. When this is dropped, work that was begun goes on and keeps
    /// its turn until it ends.
    pub(crate) async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let turn = self.0.acquire().await.map_err(io::Error::other)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::Bulk;

    #[tokio::test]
    async fn work_beyond_the_turns_waits_and_other_kinds_go_on() {
        static ONE: Bulk = Bulk::of(1);
        static OTHER: Bulk = Bulk::of(1);
        let (go, gate) = mpsc::channel::<()>();
        let (begun_in, begun) = tokio::sync::oneshot::channel();
        let first = tokio::spawn(ONE.run(move || {
            let _ = begun_in.send(());
            gate.recv().is_ok()
        }));
        begun.await.unwrap();
        let second = tokio::spawn(ONE.run(|| true));
        assert!(OTHER.run(|| true).await.unwrap());
        assert!(!second.is_finished());
        go.send(()).unwrap();
        assert!(first.await.unwrap().unwrap() && second.await.unwrap().unwrap());
    }
}
