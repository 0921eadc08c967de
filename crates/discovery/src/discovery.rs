//! The protocol's face: this node's own searches, and its answers when others search.
//!
//! The requester drives a best-first search (docs/design/selection.md, "Search"): it asks nodes one by one,
//! some at once, and each answers for itself and names its links into subtrees that can match. Nothing is
//! forwarded, so that nobody keeps state for others.

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xtreem_base::{Core, Deadlines, Driven, Duration, Events, Handle, Instant, Rng, Sink, Wake};

use crate::region::Region;
use crate::search::aim::{Aims, Goals};
use crate::search::course::{Asking, SMALL_GRID, Search};
use crate::search::frontier::Standing;
use crate::search::gather::{Gather, Gathering};
use crate::search::report::Ended;
use crate::search::spec::{SearchId, SearchSpec};
use crate::trie::Trie;
use crate::visit::hold::HoldAnswer;
use crate::visit::host::{self, Host, Hosted, SearchEvent, SearchSink};
use crate::visit::message::{Answer, Message, Query};
use crate::visit::route::{Place, Route, Step};

/// How long a visited node may take. Our guess: a round trip between continents, three times over; a higher
/// one only delays searches that meet dead links.
pub const VISIT_TIMEOUT: Duration = Duration::from_secs(1);
/// Searches at once; one more is refused (our guess: users and recruiters of one node).
pub const SEARCHES_MAX: usize = 64;
/// How long the holds of a finished search are remembered, so that an answer that comes twice does not
/// release them. Holds last 10 s unless used, and no network repeats a message a minute later (our guess).
pub const REMEMBERED: Duration = Duration::from_secs(60);
/// Finished searches that are remembered; beyond it the oldest is forgotten.
pub const REMEMBERED_MAX: usize = 256;

/// A search was not started; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartRefusal {
    #[error("{SEARCHES_MAX} searches are running already")]
    TooMany,
    #[error("a search for no node at all")]
    NothingWanted,
    #[error("visits, visits at once or excluded nodes beyond their limits")]
    Limits,
}

/// A peer said what it should not; the search is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("answer without a question")]
    Unasked,
    #[error("second answer to one visit")]
    Repeated,
    #[error("answer that does not suit the question")]
    Inconsistent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Deadline,
    Visit(Handle),
    Forget,
}

/// What every input of a [`Discovery`] brings along: it has no numbers of its own.
type Call<'a> = xtreem_base::Call<'a, ()>;

/// The searches of one node, and its answers to those of others.
pub struct Discovery {
    me: Handle,
    rng: Rng,
    next_id: SearchId,
    searches: BTreeMap<SearchId, Search>,
    /// The holds that finished searches gave out.
    finished: BTreeMap<SearchId, Vec<(Handle, u64)>>,
    deadlines: Deadlines<(SearchId, Timer)>,
    gathering: Gathering,
}

impl Discovery {
    pub fn new(me: Handle, mut rng: Rng) -> Self {
        Discovery {
            gathering: Gathering::new(me, Rng::new(rng.next_u64())),
            me,
            rng,
            next_id: SearchId(1),
            searches: BTreeMap::new(),
            finished: BTreeMap::new(),
            deadlines: Deadlines::default(),
        }
    }

    /// The id that the next search will have: events may come before [`Discovery::start`] returns.
    pub fn next_id(&self) -> SearchId {
        self.next_id
    }

    /// Starts a search at this node itself and goes on along `seeds`, its links. One that goes by lot comes
    /// to this node when its turn is there.
    pub fn start(
        &mut self,
        call: Call<'_>,
        mut spec: SearchSpec,
        seeds: &[Handle],
        to: &mut Hosted<impl Host, impl Sink<Message> + Events<SearchEvent>>,
    ) -> Result<SearchId, StartRefusal> {
        let Hosted { host, out } = to;
        let now = call.now;
        if spec.wanted == 0 {
            return Err(StartRefusal::NothingWanted);
        }
        if !spec.is_within_limits() {
            return Err(StartRefusal::Limits);
        }
        if self.running() >= SEARCHES_MAX {
            return Err(StartRefusal::TooMany);
        }
        let id = self.next_id;
        self.next_id = SearchId(id.0.wrapping_add(1));
        if spec.gather && spec.set.is_none() {
            let knows_all = |trie: &Trie| trie.is_settled() && trie.table().count() > SMALL_GRID;
            if let (true, Query::Nodes { requirement, hold: None }) =
                (host.trie(None).is_some_and(knows_all), &spec.query)
            {
                let gather = Gather {
                    requirement: requirement.clone(),
                    list: spec.list,
                    attributes: spec.attributes,
                    histogram: spec.histogram,
                };
                self.gathering.start(now, id, gather, spec.deadline, host, out);
                return Ok(id);
            }
            // Values are counted here where it goes by visits.
            spec.attributes |= spec.histogram.is_some();
        }
        self.deadlines.set((id, Timer::Deadline), now + spec.deadline);
        let mut search = match host.trie(None) {
            Some(trie) => {
                let schema = trie.schema();
                let region = spec.query.region(schema);
                let goals = spec.set.as_ref().map(|set| Goals::of(set, schema, spec.patience()));
                let goals = goals.unwrap_or_default();
                let own = Place::of(trie, 0, &region, goals.aims);
                let (version, dimensions) = (schema.version(), schema.dimensions().len());
                let by_lot = spec.by_lot.filter(|_| spec.set.is_none());
                let mut search = Search::new(id, spec, version, dimensions, region, goals);
                if let Some(roams) = by_lot {
                    let step = Step { handle: self.me, key: own.key };
                    search.frontier.draw_lots(Some(step), roams);
                }
                search.root(own, trie.table().count(), &mut self.rng);
                search
            }
            None => Search::new(id, spec, 0, 0, Region::everything(), Goals::default()),
        };
        let is_found = search.frontier.standing(self.me).is_none();
        if is_found && !search.is_drawn(self.me, &mut self.rng) {
            search.ask_self(self.me);
            let route = Route { schema: 0, len: u8::MAX, contacts: false, only: false, aims: Aims::NONE };
            let (query, asked) = (&search.spec.query, search.spec.asked());
            let mut answer = host::answer(host, now, self.me, query, asked, &route);
            (answer.place, answer.contacts) = (None, Vec::new());
            search.take_answer(self.me, answer, &mut self.rng, out);
        } else if !is_found {
            search.frontier.hear_of(self.me, 0);
        }
        search.hear_of(seeds, &mut self.rng);
        self.searches.insert(id, search);
        self.proceed(now, id, out);
        Ok(id)
    }

    /// Ends a search. Its matches stay the caller's; holds that still arrive are surplus.
    pub fn cancel(
        &mut self,
        call: Call<'_>,
        id: SearchId,
        out: &mut (impl Sink<Message> + Events<SearchEvent>),
    ) {
        self.gathering.cancel(id, out);
        self.finish(call.now, id, Ended::Cancelled, out);
    }

    /// Searches under way.
    pub fn running(&self) -> usize {
        self.searches.len() + self.gathering.running()
    }

    fn handle_answer(
        &mut self,
        now: Instant,
        from: Handle,
        id: SearchId,
        answer: Answer,
        out: &mut impl SearchSink,
    ) -> Result<(), Fault> {
        let hold = answer.hold.as_ref().and_then(HoldAnswer::granted);
        let Some(search) = self.searches.get_mut(&id) else {
            // Late: that is nobody's fault, but a hold must not wait for its end.
            let kept = self.finished.get(&id).map_or(&[][..], Vec::as_slice);
            if let Some(hold) = hold.filter(|hold| !kept.contains(&(from, *hold))) {
                out.event(SearchEvent::Surplus { peer: from, hold });
            }
            return Ok(());
        };
        if let Some(suits) = search.suits_member(from, &answer) {
            if !suits {
                return Err(Fault::Inconsistent);
            }
            self.deadlines.clear(&(id, Timer::Visit(from)));
            if from != self.me {
                out.contact_answered(from);
            }
            for (peer, hold) in search.take_member(from, answer) {
                out.event(SearchEvent::Surplus { peer, hold });
            }
            self.proceed(now, id, out);
            return Ok(());
        }
        let asked = search.route(from);
        match search.frontier.standing(from) {
            // Asked a second time, for the way only.
            _ if answer.only && asked.is_some_and(|route| route.only) => {}
            _ if answer.only => return Err(Fault::Unasked),
            Some(Standing::Asked(_) | Standing::Silent(_)) => {}
            Some(Standing::Answered(first)) => {
                // A visit that the network doubled may have made a second hold.
                let set = search.set.as_mut();
                let is_kept = |hold: &u64| set.as_ref().is_some_and(|set| set.keeps(from, *hold));
                if let Some(hold) = hold.filter(|hold| first != Some(*hold) && !is_kept(hold)) {
                    out.event(SearchEvent::Surplus { peer: from, hold });
                }
                let is_late = set.is_some_and(|set| set.is_late(from));
                return if is_late { Ok(()) } else { Err(Fault::Repeated) };
            }
            _ => return Err(Fault::Unasked),
        }
        if !answer.suits(&search.spec.query, search.spec.asked(), asked.as_ref()) {
            return Err(Fault::Inconsistent);
        }
        self.deadlines.clear(&(id, Timer::Visit(from)));
        if from != self.me {
            out.contact_answered(from);
        }
        search.take_answer(from, answer, &mut self.rng, out);
        self.proceed(now, id, out);
        Ok(())
    }

    /// Sends the visits that may go out, or ends the search.
    fn proceed(&mut self, now: Instant, id: SearchId, out: &mut impl SearchSink) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        if search.ended() != Some(Ended::Enough) {
            while let Some(Asking { peer, route, query }) = search.ask_next(&mut self.rng) {
                self.deadlines.set((id, Timer::Visit(peer)), now + VISIT_TIMEOUT);
                let (attributes, facts) = (search.spec.attributes, search.spec.facts.clone());
                out.send(peer, Message::Visit { search: id.0, attributes, query, route, facts });
            }
        }
        if let Some(ended) = search.ended() {
            self.finish(now, id, ended, out);
        }
    }

    fn finish(&mut self, now: Instant, id: SearchId, ended: Ended, out: &mut impl SearchSink) {
        let Some(mut search) = self.searches.remove(&id) else { return };
        self.deadlines.clear(&(id, Timer::Deadline));
        for peer in search.frontier.asked() {
            self.deadlines.clear(&(id, Timer::Visit(peer)));
        }
        if let Some(set) = &search.set {
            set.asked().for_each(|peer| self.deadlines.clear(&(id, Timer::Visit(peer))));
        }
        search.tell_set(out);
        let report = search.report(ended);
        if !search.kept.is_empty() {
            self.finished.insert(id, search.kept);
            self.deadlines.set((id, Timer::Forget), now + REMEMBERED);
            if self.finished.len() > REMEMBERED_MAX
                && let Some((oldest, _)) = self.finished.pop_first()
            {
                self.deadlines.clear(&(oldest, Timer::Forget));
            }
        }
        out.event(SearchEvent::Done { search: id, report });
    }
}

impl Core for Discovery {
    type Config = ();
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, _: &()) -> Wake {
        let own = self.deadlines.next().map_or(Wake::NEVER, |(at, (_, timer))| match timer {
            Timer::Deadline => Wake::new(at, "end of a search"),
            Timer::Visit(_) => Wake::new(at, "visit overdue"),
            Timer::Forget => Wake::new(at, "holds of a search forgotten"),
        });
        own.or(self.gathering.next_timeout())
    }

    /// A node that was visited and has restarted does not answer, which a search takes for silence when its
    /// visit is overdue: it then goes round it. To do so here and now would only change the order of visits.
    fn handle_gone(&mut self, _: Call<'_>, _: Handle) {}

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.searches.values().flat_map(|search| search.handles()).for_each(&mut *f);
        self.finished.values().flatten().for_each(|(peer, _)| f(*peer));
        self.gathering.for_each_handle(f);
    }
}

impl<H: Host, O: Sink<Message> + Events<SearchEvent>> Driven<Hosted<H, O>> for Discovery {
    fn handle_message(
        &mut self,
        call: Call<'_>,
        from: Handle,
        message: Message,
        to: &mut Hosted<H, O>,
    ) -> Result<(), Fault> {
        let (now, Hosted { host, out }) = (call.now, to);
        match message {
            Message::Visit { search, attributes, query, route, facts } => {
                let asked = host::Asked { attributes, facts: facts.as_ref() };
                let answer = host::answer(host, now, from, &query, asked, &route);
                out.send(from, Message::Answer { search, answer });
            }
            Message::Answer { search, answer } => {
                return self.handle_answer(now, from, SearchId(search), answer, out);
            }
            Message::Delegate(delegate) => self.gathering.handle_delegate(now, from, delegate, host, out),
            Message::Working { task, found } => self.gathering.handle_working(now, from, task, found, out),
            Message::Gathered { task, gathered } => {
                self.gathering.handle_gathered(now, from, task, gathered, out);
            }
            Message::Declined { task } => self.gathering.handle_declined(now, from, task, out),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, call: Call<'_>, to: &mut Hosted<H, O>) {
        let (now, out) = (call.now, &mut to.out);
        self.gathering.handle_timeout(now, out);
        while let Some((id, timer)) = self.deadlines.expire(now) {
            match timer {
                Timer::Deadline => self.finish(now, id, Ended::Deadline, out),
                Timer::Forget => drop(self.finished.remove(&id)),
                Timer::Visit(peer) => {
                    if let Some(search) = self.searches.get_mut(&id) {
                        for (peer, hold) in search.give_up(peer, &mut self.rng) {
                            out.event(SearchEvent::Surplus { peer, hold });
                        }
                        out.contact_silent(peer);
                        self.proceed(now, id, out);
                    }
                }
            }
        }
    }
}
