//! Standard input, which a run that begins anew reads from its beginning.

use tokio::sync::mpsc;

/// So much input is kept for the next run (our guess: parameters, not data). Who has read more than that is
/// not started again.
const KEPT_MAX_BYTES: usize = 1 << 20;

pub struct Input {
    typed: mpsc::Receiver<Vec<u8>>,
    kept: Vec<Vec<u8>>,
    len: usize,
    /// The next of what is kept.
    at: usize,
    has_ended: bool,
}

impl Input {
    pub fn new(typed: mpsc::Receiver<Vec<u8>>) -> Input {
        Input { typed, kept: Vec::new(), len: 0, at: 0, has_ended: false }
    }

    /// The next piece, or the end. May be cancelled.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(piece) = self.kept.get(self.at) {
            self.at += 1;
            return Some(piece.clone());
        }
        if self.has_ended {
            return None;
        }
        let Some(piece) = self.typed.recv().await else {
            self.has_ended = true;
            return None;
        };
        self.len += piece.len();
        if self.is_whole() {
            self.kept.push(piece.clone());
            self.at += 1;
        } else {
            (self.kept, self.at) = (Vec::new(), 0);
        }
        Some(piece)
    }

    /// Whether all of it is still here.
    fn is_whole(&self) -> bool {
        self.len <= KEPT_MAX_BYTES
    }

    /// Back to the beginning, where that is possible.
    #[must_use]
    pub fn rewind(&mut self) -> bool {
        self.at = 0;
        self.is_whole()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_run_reads_what_the_one_before_read() {
        let (to, typed) = mpsc::channel(4);
        let mut input = Input::new(typed);
        to.send(b"a".to_vec()).await.expect("open");
        assert_eq!(input.next().await, Some(b"a".to_vec()));
        assert!(input.rewind());
        to.send(b"b".to_vec()).await.expect("open");
        drop(to);
        for _ in 0..2 {
            assert_eq!(input.next().await, Some(b"a".to_vec()));
            assert_eq!(input.next().await, Some(b"b".to_vec()));
            assert_eq!(input.next().await, None);
            assert_eq!(input.next().await, None);
            assert!(input.rewind());
        }
    }

    #[tokio::test]
    async fn too_much_of_it_is_read_once() {
        let (to, typed) = mpsc::channel(4);
        let mut input = Input::new(typed);
        for _ in 0..2 {
            to.send(vec![0; KEPT_MAX_BYTES]).await.expect("open");
        }
        assert_eq!(input.next().await.map(|piece| piece.len()), Some(KEPT_MAX_BYTES));
        assert!(input.rewind());
        for _ in 0..2 {
            assert_eq!(input.next().await.map(|piece| piece.len()), Some(KEPT_MAX_BYTES));
        }
        assert!(!input.rewind());
    }
}
