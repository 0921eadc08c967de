//! One exchange: two nodes tell each other their values, and both keep the mean.
//!
//! A node with an open exchange refuses others of the same part, so that what it has told still holds when
//! the answer comes. When the answer is lost, one side has the mean and the other has not: that moves shares
//! by less than `sqrt(loss / nodes)`, and spoils single instances of the size, of which the middle half
//! counts.

use alloc::boxed::Box;
use core::ops::Range;

use xtreem_base::{Call, Handle, Instant, Sampler, Sink};

use super::config::Config;
use super::epochs::{Age, ROUND};
use super::message::{Half, Head, Message, PART_ATTRIBUTES, SAMPLES, Why};
use super::samples::Samples;
use super::sizes::Sizes;
use super::{Aggregation, BOUNDS, Fault, Fraction, SERVED_MAX, WHOLE};

/// From this age on shares may differ by half as much in each round: correct ones shrink faster.
const STRICT_FROM: Age = 8 * ROUND;
/// However late, so much is nobody's fault.
const DIFFERENCE_MIN: Fraction = WHOLE / 64;

#[derive(Clone, Copy, Debug)]
struct Open {
    peer: Handle,
    seq: u16,
    deadline: Instant,
}

/// Attributes that are averaged in one exchange. Each part meets other peers.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    open: Option<Open>,
    tries: u8,
    served_len: u8,
    served: [Option<Handle>; SERVED_MAX],
    samples: Samples,
}

impl Part {
    pub fn all(attributes: usize) -> Box<[Part]> {
        core::iter::repeat_with(Part::default).take(Self::count(attributes)).collect()
    }

    fn count(attributes: usize) -> usize {
        attributes.div_ceil(PART_ATTRIBUTES).max(1)
    }

    /// Those of one part; parts are about equally large.
    pub fn attributes(part: usize, attributes: usize) -> Range<usize> {
        let width = attributes.div_ceil(Self::count(attributes));
        (part * width).min(attributes)..((part + 1) * width).min(attributes)
    }

    pub fn begin(&mut self) {
        self.open = None;
        self.samples.clear();
    }

    pub fn start_round(&mut self) {
        (self.tries, self.served_len) = (0, 0);
    }

    /// Drops the exchange whose answer did not come in time. True when there was one.
    pub fn give_up(&mut self, now: Instant) -> bool {
        self.open.take_if(|open| open.deadline <= now).is_some()
    }

    pub fn deadline(&self) -> Instant {
        self.open.map_or(Instant::FAR, |open| open.deadline)
    }

    /// Whether a push of this peer is taken in this round.
    fn serves(&mut self, peer: Handle) -> bool {
        let len = usize::from(self.served_len);
        if self.open.is_some() || len == SERVED_MAX || self.served[..len].contains(&Some(peer)) {
            return false;
        }
        self.served[len] = Some(peer);
        self.served_len += 1;
        true
    }

    fn closes(&mut self, peer: Handle, seq: u16) -> bool {
        self.open.take_if(|open| open.peer == peer && open.seq == seq).is_some()
    }

    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.open.iter().map(|open| open.peer).for_each(&mut *f);
        self.served[..self.served_len.into()].iter().flatten().copied().for_each(f);
    }

    pub fn heap_bytes(&self) -> usize {
        size_of::<Part>() + self.samples.heap_bytes()
    }
}

impl Aggregation {
    /// Begins an exchange of one part, unless enough were tried in this round.
    pub(super) fn push(
        &mut self,
        call: Call<'_, Config>,
        part: usize,
        out: &mut (impl Sink<Message> + Sampler),
    ) {
        if !self.epochs.is_in
            || self.parts[part].open.is_some()
            || self.parts[part].tries >= call.config.tries
        {
            return;
        }
        let Some(peer) = out.fresh_peer().filter(|peer| *peer != self.me) else { return };
        self.seq = self.seq.wrapping_add(1);
        let open = Open { peer, seq: self.seq, deadline: call.now + call.config.reply_timeout };
        let state = &mut self.parts[part];
        state.open = Some(open);
        state.tries += 1;
        out.send(peer, Message::Push { seq: open.seq, head: self.head(call), half: self.half(part) });
    }

    fn half(&self, part: usize) -> Half {
        let attributes = Part::attributes(part, self.codes.len());
        Half {
            part: part as u8,
            sizes: if part == 0 { self.sizes } else { Sizes::EMPTY },
            values: self.values[attributes.start * BOUNDS..attributes.end * BOUNDS].into(),
            samples: self.parts[part].samples.with(&self.codes[attributes]).into(),
        }
    }

    pub(super) fn on_push(
        &mut self,
        call: Call<'_, Config>,
        (from, seq): (Handle, u16),
        head: &Head,
        half: &Half,
        out: &mut (impl Sink<Message> + Sampler),
    ) -> Result<(), Fault> {
        let heard = if head.schema == self.schema { self.hear(call, from, head) } else { Ok(()) };
        if let Some(why) = self.refusal(head) {
            out.send(from, Message::Here { seq, head: self.head(call), why });
            self.offer_bounds(from, head, out);
            return heard;
        }
        self.check(call, half)?;
        let part = usize::from(half.part);
        if !self.parts[part].serves(from) {
            out.send(from, Message::Here { seq, head: self.head(call), why: Why::Busy });
            return Ok(());
        }
        out.send(from, Message::Pull { seq, head: self.head(call), half: self.half(part) });
        self.take(call, half);
        self.offer_bounds(from, head, out);
        Ok(())
    }

    /// Why no exchange with a node that stands there is possible.
    fn refusal(&self, head: &Head) -> Option<Why> {
        match head {
            _ if head.schema != self.schema => Some(Why::OtherSchema),
            _ if head.epoch != self.epochs.number => Some(Why::OtherEpoch),
            _ if !self.epochs.is_in => Some(Why::Waiting),
            _ if head.bounds != self.bounds.rank => Some(Why::OtherBounds),
            _ => None,
        }
    }

    pub(super) fn on_pull(
        &mut self,
        call: Call<'_, Config>,
        (from, seq): (Handle, u16),
        head: &Head,
        half: &Half,
        out: &mut (impl Sink<Message> + Sampler),
    ) -> Result<(), Fault> {
        let part = self.parts.get_mut(usize::from(half.part)).ok_or(Fault::Shape)?;
        if !part.closes(from, seq) {
            return Err(Fault::Unsolicited);
        }
        out.contact_answered(from);
        // In another epoch or with other bounds nothing would be open here.
        if self.refusal(head).is_some() {
            return Err(Fault::Unsound);
        }
        self.check(call, half)?;
        self.take(call, half);
        self.offer_bounds(from, head, out);
        Ok(())
    }

    pub(super) fn on_here(
        &mut self,
        call: Call<'_, Config>,
        (from, seq): (Handle, u16),
        head: &Head,
        why: Why,
        out: &mut (impl Sink<Message> + Sampler),
    ) -> Result<(), Fault> {
        let part = self.parts.iter_mut().position(|part| part.closes(from, seq));
        if part.is_none() && why != Why::Asked {
            return Err(Fault::Unsolicited);
        }
        // What says that it was asked is no sign of life: anybody may say so, and the reference set would be
        // whoever speaks most.
        if part.is_some() {
            out.contact_answered(from);
        }
        if head.schema != self.schema {
            return Ok(());
        }
        self.offer_bounds(from, head, out);
        let heard = self.hear(call, from, head);
        if let Some(part) = part {
            self.push(call, part, out);
        }
        heard
    }

    /// Whether a correct node of this epoch could say this.
    fn check(&self, call: Call<'_, Config>, half: &Half) -> Result<(), Fault> {
        let part = usize::from(half.part);
        if part >= self.parts.len() {
            return Err(Fault::Shape);
        }
        let attributes = Part::attributes(part, self.codes.len());
        let nodes = half.samples.len().checked_div(attributes.len()).unwrap_or_default();
        let fits = half.values.len() == attributes.len() * BOUNDS
            && half.samples.len() == nodes * attributes.len()
            && (nodes <= SAMPLES && (nodes > 0 || attributes.is_empty()));
        if !fits {
            return Err(Fault::Shape);
        }
        if !half.sizes.is_sound() || (part > 0 && half.sizes != Sizes::EMPTY) {
            return Err(Fault::Unsound);
        }
        let limit = difference_max(self.epochs.age(call));
        let mine = &self.values[attributes.start * BOUNDS..attributes.end * BOUNDS];
        let is_near = |(mine, theirs): (&Fraction, &Fraction)| mine.abs_diff(*theirs) <= limit;
        if mine.iter().zip(&half.values).all(is_near) { Ok(()) } else { Err(Fault::Outlier) }
    }

    fn take(&mut self, call: Call<'_, Config>, half: &Half) {
        let part = usize::from(half.part);
        let attributes = Part::attributes(part, self.codes.len());
        let mine = &mut self.values[attributes.start * BOUNDS..attributes.end * BOUNDS];
        mine.iter_mut().zip(&half.values).for_each(|(mine, theirs)| *mine = mean(*mine, *theirs));
        if part == 0 {
            self.sizes.average(&half.sizes);
        }
        self.parts[part].samples.take(&mut self.rng, attributes.len().max(1), &half.samples);
        self.collect(call, half);
    }
}

/// How far two shares of one epoch may lie apart.
fn difference_max(age: Age) -> Fraction {
    let halvings = u32::from(age.saturating_sub(STRICT_FROM) / ROUND);
    WHOLE.checked_shr(halvings).unwrap_or_default().max(DIFFERENCE_MIN)
}

/// `a` after an exchange with `b`. Rounded towards `a`, so that `mean(a, b) + mean(b, a) == a + b`.
fn mean(a: Fraction, b: Fraction) -> Fraction {
    if a > b { a - (a - b) / 2 } else { a + (b - a) / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_attributes_and_fit_a_message() {
        for attributes in 0..=super::super::ATTRIBUTES_MAX {
            let parts = Part::all(attributes).len();
            let mut next = 0;
            for part in 0..parts {
                let range = Part::attributes(part, attributes);
                assert_eq!(range.start, next);
                assert!(range.len() <= PART_ATTRIBUTES);
                next = range.end;
            }
            assert_eq!(next, attributes);
        }
    }

    #[test]
    fn late_shares_must_be_close() {
        let table =
            [(0, WHOLE), (8, WHOLE), (9, WHOLE / 2), (12, WHOLE / 16), (14, WHOLE / 64), (250, WHOLE / 64)];
        for (rounds, limit) in table {
            assert_eq!(difference_max(rounds * ROUND), limit, "{rounds}");
        }
    }

    #[test]
    fn two_sides_together_lose_nothing() {
        for (a, b) in [(0, WHOLE), (WHOLE, 0), (1, 2), (2, 1), (7, 7), (0, 1), (40_000, 65_535)] {
            assert_eq!(u32::from(mean(a, b)) + u32::from(mean(b, a)), u32::from(a) + u32::from(b));
            assert!(mean(a, b).abs_diff(mean(b, a)) <= 1);
        }
    }
}
