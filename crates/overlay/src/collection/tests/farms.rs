//! Tasks, whoever dies.

use std::collections::BTreeMap;

use super::*;
use xtreem_base::Instant;

const LEASE: Duration = TASK_LEASE_MIN;

fn farm() -> Kind {
    Kind::Farm { copies: copies(2), terms: Terms::new(LEASE, 3, None).expect("possible") }
}

fn name(nth: u32) -> TaskName {
    TaskName::new(&format!("task {nth}")).expect("short")
}

/// What a program makes of its task.
fn result_of(task: &TaskName) -> String {
    format!("{task} is done")
}

/// Programs of all members: each does its task in half a second, and fails at those that are called so.
struct Programs {
    world: World,
    at_work: BTreeMap<Handle, (Instant, TaskName)>,
    started: BTreeMap<TaskName, u32>,
    answers: BTreeMap<(Handle, QuestionId), Result<Answer, AskError>>,
    news: BTreeMap<Handle, u32>,
}

impl Programs {
    fn new(members: u16, loss: u32, seed: u64) -> Programs {
        Programs {
            world: World::of(farm(), members, loss, seed),
            at_work: BTreeMap::new(),
            started: BTreeMap::new(),
            answers: BTreeMap::new(),
            news: BTreeMap::new(),
        }
    }

    fn hear(&mut self) {
        for one in self.world.running() {
            for event in self.world.take_events(one) {
                match event {
                    Event::Start { task, input } => {
                        assert_eq!(*input, *task.as_str().as_bytes(), "its own input");
                        *self.started.entry(task.clone()).or_default() += 1;
                        self.at_work.insert(one, (self.world.now + Duration::from_millis(500), task));
                    }
                    Event::Stop(task) => self.at_work.retain(|_, (_, it)| *it != task),
                    Event::Answer { question, result } => drop(self.answers.insert((one, question), result)),
                    Event::Outcomes => *self.news.entry(one).or_default() += 1,
                    _ => {}
                }
            }
        }
    }

    fn work(&mut self) {
        let done: Vec<(Handle, TaskName)> = self
            .at_work
            .iter()
            .filter(|(_, (at, _))| *at <= self.world.now)
            .map(|(one, (_, task))| (*one, task.clone()))
            .collect();
        for (one, task) in done {
            self.at_work.remove(&one);
            if !self.world.running().contains(&one) {
                continue;
            }
            let result = result_of(&task);
            let fails = task.as_str().starts_with("bad");
            let outcome = if fails { Err("it cannot be done") } else { Ok(result.as_bytes()) };
            let finished = self.world.call(one, |core, call, out| core.finish(call, &task, outcome, out));
            assert_eq!(finished, Ok(()));
        }
    }

    fn run(&mut self, span: Duration) {
        let until = self.world.now + span;
        while self.world.now < until {
            self.world.run(Duration::from_millis(50));
            self.hear();
            self.work();
        }
    }

    /// Asks until it is answered otherwise than that nobody did.
    fn ask(
        &mut self,
        slot: u16,
        ask: impl Fn(&mut Programs, Handle) -> Result<QuestionId, BeginError>,
    ) -> Result<Answer, AskError> {
        for _ in 0..8 {
            let one = self.world.at(slot);
            let id = ask(self, one).expect("few");
            let begin = self.world.now;
            while self.world.now.since(begin) < secs(16) {
                self.run(Duration::from_millis(50));
                match self.answers.remove(&(one, id)) {
                    Some(Err(AskError::Unanswered)) => break,
                    Some(result) => return result,
                    None => {}
                }
            }
        }
        Err(AskError::Unanswered)
    }

    fn add(&mut self, slot: u16, task: &TaskName) -> Result<Answer, AskError> {
        let task = task.clone();
        self.ask(slot, |it, one| {
            it.world.call(one, |core, call, out| core.add_task(call, &task, task.as_str().as_bytes(), out))
        })
    }

    fn outcome(&mut self, slot: u16, task: &TaskName) -> Result<Answer, AskError> {
        let task = task.clone();
        self.ask(slot, |it, one| it.world.call(one, |core, call, out| core.outcome(call, &task, out)))
    }

    fn collect(&mut self, slot: u16, task: &TaskName) -> Result<Answer, AskError> {
        let task = task.clone();
        self.ask(slot, |it, one| it.world.call(one, |core, call, out| core.collect(call, &task, out)))
    }

    fn outcomes(&mut self, slot: u16) -> (Vec<TaskName>, u32) {
        let (tasks, open, _) = self.seen(slot);
        (tasks, open)
    }

    /// With whether that is all.
    fn seen(&mut self, slot: u16) -> (Vec<TaskName>, u32, bool) {
        let answer = self.ask(slot, |it, one| it.world.call(one, |core, call, out| core.outcomes(call, out)));
        let Ok(Answer::Outcomes { mut tasks, open, whole }) = answer else { panic!("{answer:?}") };
        tasks.sort_unstable();
        (tasks, open, whole)
    }

    fn progress(&mut self, slot: u16) -> Progress {
        let answer = self.ask(slot, |it, one| it.world.call(one, |core, call, out| core.progress(call, out)));
        let Ok(Answer::Progress(progress)) = answer else { panic!("{answer:?}") };
        progress
    }

    /// Until so many tasks have an outcome.
    fn until_settled(&mut self, slot: u16, tasks: usize, most: Duration) -> Vec<TaskName> {
        let begin = self.world.now;
        loop {
            let (settled, open) = self.outcomes(slot);
            if settled.len() == tasks && open == 0 {
                return settled;
            }
            let progress = self.progress(slot);
            assert!(
                self.world.now.since(begin) < most,
                "{} settled, {open} open: {progress:?}",
                settled.len()
            );
            self.run(secs(1));
        }
    }
}

fn result(answer: &Result<Answer, AskError>) -> Option<String> {
    match answer {
        Ok(Answer::Task(state)) => state.result().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

#[test]
fn tasks_are_added_done_and_collected_at_any_member() {
    for members in [2, 3, 8, 20] {
        let mut programs = Programs::new(members, 1, u64::from(members));
        let (adder, reader) = (members - 1, members / 2);
        let names: Vec<TaskName> = (0..6).map(name).collect();
        for task in &names {
            assert_eq!(programs.add(adder, task), Ok(Answer::Added), "{members} members");
        }
        assert_eq!(programs.add(0, &names[0]), Ok(Answer::Added), "the same once more");
        assert_eq!(programs.until_settled(reader, 6, secs(60)), names, "{members} members");
        for task in &names {
            let answer = programs.outcome(adder, task);
            assert_eq!(result(&answer), Some(result_of(task)), "{answer:?}");
            let collected = Ok(Answer::Task(TaskState::Collected));
            assert_eq!(programs.collect(reader, task), collected);
            assert_eq!(programs.collect(adder, task), collected, "once more");
        }
        assert_eq!(programs.outcomes(adder), (Vec::new(), 0));
        let progress = programs.progress(adder);
        assert_eq!((progress.open, progress.done, progress.collected), (0, 0, 6));
        while !programs.seen(adder).2 {
            assert!(programs.world.now < Instant::ZERO + secs(120), "never whole");
            programs.run(secs(1));
        }
        let unknown = programs.outcome(adder, &name(99));
        assert_eq!(unknown, Err(AskError::Refused(Refusal::NoSuchTask)));
        assert!(programs.started.values().all(|times| *times == 1), "{:?}", programs.started);
        let farmer = programs.world.at(0);
        assert!(programs.world.core(farmer).is_farmer());
        assert_eq!(programs.world.core(programs.world.at(adder)).farmer(), Some(farmer));
    }
}

#[test]
fn each_task_has_one_outcome_although_the_farmer_and_a_quarter_of_the_workers_die() {
    for seed in 0..3 {
        let mut programs = Programs::new(13, 1, 100 + seed);
        let names: Vec<TaskName> = (10..70).map(name).collect();
        for task in &names {
            assert_eq!(programs.add(7, task), Ok(Answer::Added));
        }
        let dead = [0, 3, 5, 11];
        for slot in dead {
            let one = programs.world.at(slot);
            programs.world.kill(slot);
            programs.at_work.remove(&one);
        }
        let begin = programs.world.now;
        assert_eq!(programs.until_settled(9, 60, secs(180)), names, "seed {seed}");
        let took = programs.world.now.since(begin);
        assert!(took < secs(60), "{took}");
        for task in &names {
            let results = [2, 7, 12].map(|slot| result(&programs.outcome(slot, task)));
            assert_eq!(results, [(); 3].map(|()| Some(result_of(task))), "the same everywhere");
        }
        let progress = programs.progress(1);
        assert_eq!((progress.open, progress.done, progress.given_up), (0, 60, 0));
        assert_eq!(programs.world.core(programs.world.at(9)).farmer(), Some(programs.world.at(1)));
    }
}

#[test]
fn a_task_that_always_fails_is_given_up_and_reported() {
    let mut programs = Programs::new(4, 0, 5);
    let bad = TaskName::new("bad luck").expect("short");
    for task in [bad.clone(), name(1)] {
        assert_eq!(programs.add(2, &task), Ok(Answer::Added));
    }
    assert_eq!(programs.until_settled(3, 2, secs(60)), [bad.clone(), name(1)]);
    let Ok(Answer::Task(TaskState::GivenUp(why))) = programs.outcome(3, &bad) else { panic!("not given up") };
    assert_eq!(why.as_str(), "it cannot be done");
    assert_eq!(programs.started[&bad], 3, "as often as it may");
    assert!(programs.news[&programs.world.at(3)] > 0, "who waited was told");
}

#[test]
fn a_replacement_of_the_farmer_takes_the_table_over() {
    let mut programs = Programs::new(6, 1, 6);
    let names: Vec<TaskName> = (10..30).map(name).collect();
    for task in &names {
        assert_eq!(programs.add(4, task), Ok(Answer::Added));
    }
    programs.world.kill(0);
    programs.run(secs(1));
    let new = programs.world.start(0, 2);
    assert_eq!(programs.until_settled(4, 20, secs(120)), names);
    programs.run(secs(5));
    for one in programs.world.running() {
        assert_eq!(programs.world.core(one).farmer(), Some(new), "slot {}", programs.world.slot(one));
    }
}

#[test]
fn who_has_just_come_does_not_take_itself_for_the_farmer() {
    for expected in [None, Some(4)] {
        let mut world = World::new(farm(), expected, 13);
        world.start(0, 1);
        for slot in 1..4 {
            world.run(secs(5));
            let new = world.start(slot, 1);
            for _ in 0..200 {
                world.run(Duration::from_millis(100));
                assert_ne!(world.core(new).farmer(), Some(new), "slot {slot}");
            }
            assert_eq!(world.core(new).farmer(), Some(world.at(0)), "slot {slot}");
        }
        assert!(world.core(world.at(0)).is_farmer());
    }
}

#[test]
fn a_farm_of_one_does_its_tasks_itself() {
    let mut programs = Programs::new(1, 0, 14);
    let names: Vec<TaskName> = (0..5).map(name).collect();
    for task in &names {
        assert_eq!(programs.add(0, task), Ok(Answer::Added));
    }
    assert_eq!(programs.until_settled(0, 5, secs(60)), names);
}

#[test]
fn a_farm_whose_members_are_not_all_there_goes_on_with_those_that_are() {
    let mut programs = Programs::new(1, 0, 12);
    let mut world = World::new(farm(), Some(3), 12);
    world.start(2, 1);
    programs.world = world;
    assert_eq!(programs.add(2, &name(1)), Ok(Answer::Added));
    assert_eq!(programs.until_settled(2, 1, secs(30)), [name(1)], "who is alone works itself");
    programs.world.start(1, 1);
    let names = [name(1), name(2)];
    programs.world.start(0, 1);
    assert_eq!(programs.add(1, &names[1]), Ok(Answer::Added));
    assert_eq!(programs.until_settled(0, 2, secs(60)), names);
}

#[test]
fn after_a_split_each_task_has_one_outcome_that_all_name() {
    for seed in 0..3 {
        let mut programs = Programs::new(9, 1, 200 + seed);
        let names: Vec<TaskName> = (10..40).map(name).collect();
        for task in &names {
            assert_eq!(programs.add(8, task), Ok(Answer::Added));
        }
        programs.world.island = (0..4).collect();
        programs.run(secs(40));
        programs.world.island.clear();
        programs.run(secs(40));
        assert_eq!(programs.until_settled(8, 30, secs(120)), names, "seed {seed}");
        programs.run(secs(40));
        for task in &names {
            let results = [1, 5, 8].map(|slot| result(&programs.outcome(slot, task)));
            assert_eq!(results, [(); 3].map(|()| Some(result_of(task))), "the same everywhere");
        }
        let farmers = programs.world.cores().filter(|core| core.is_farmer()).count();
        assert_eq!(farmers, 1);
    }
}

#[test]
fn who_cannot_see_the_whole_table_says_so() {
    let (mut missed, not_sure) = (0, Err(AskError::Refused(Refusal::NotSure)));
    for seed in 0..12 {
        // So few copies that much of the table is on the other side only.
        let kind = Kind::Farm { copies: copies(0), terms: Terms::new(LEASE, 3, None).expect("possible") };
        let mut programs = Programs::new(1, 1, 300 + seed);
        programs.world = World::of(kind, 9, 1, 300 + seed);
        let mut names: Vec<TaskName> = (10..40).map(name).collect();
        for task in &names {
            assert_eq!(programs.add(8, task), Ok(Answer::Added));
        }
        assert_eq!(programs.until_settled(8, 30, secs(120)), names, "seed {seed}");
        // With the farmer on it, or without.
        let (first, mainland) = if seed % 2 == 0 { (0, 8) } else { (6, 1) };
        programs.world.island = (first..first + 3).collect();
        let (farmer, island) = (programs.world.at(first), first + 2);
        let mut begin = programs.world.now;
        while !programs.world.core(farmer).is_farmer() || programs.seen(island).2 {
            assert!(
                programs.world.now.since(begin) < secs(60),
                "seed {seed}: the island knows nothing of it"
            );
            programs.run(Duration::from_millis(50));
        }
        for nth in 50..60 {
            let slot = if nth % 2 == 0 { island } else { mainland };
            assert_eq!(programs.add(slot, &name(nth)), Ok(Answer::Added), "seed {seed}");
            names.push(name(nth));
        }
        for _ in 0..5 {
            let (seen, _, whole) = programs.seen(island);
            assert!(!whole && !programs.progress(island).whole, "seed {seed}");
            if let Some(unknown) = names[..30].iter().find(|task| !seen.contains(task)) {
                let outcome = programs.outcome(island, unknown);
                assert_ne!(outcome, Err(AskError::Refused(Refusal::NoSuchTask)), "seed {seed}");
                missed += u32::from(outcome == not_sure);
            }
            assert_eq!(programs.outcome(island, &name(59)), not_sure, "of the other side");
            programs.run(secs(2));
        }
        programs.world.island.clear();
        begin = programs.world.now;
        loop {
            let (seen, open, whole) = programs.seen(8);
            let took = programs.world.now.since(begin);
            if whole {
                assert_eq!(seen.len() + open as usize, names.len(), "seed {seed} after {took}");
                break;
            }
            assert!(took < secs(90), "seed {seed}: never whole again");
            programs.run(Duration::from_millis(50));
        }
        assert_eq!(programs.outcome(8, &name(99)), Err(AskError::Refused(Refusal::NoSuchTask)));
    }
    assert!(missed > 0, "each island had all");
}

#[test]
fn what_is_too_long_or_not_at_hand_is_refused_at_once() {
    let mut programs = Programs::new(2, 0, 7);
    let one = programs.world.at(1);
    let long = [0; TASK_BODY_MAX + 1];
    let added = programs.world.call(one, |core, call, out| core.add_task(call, &name(1), &long, out));
    assert_eq!(added, Err(BeginError::TooLong(TaskTooLong(TASK_BODY_MAX + 1))));
    let finished = programs.world.call(one, |core, call, out| core.finish(call, &name(1), Ok(b""), out));
    assert_eq!(finished, Err(FinishError::NotAtHand));
    let mut world = World::of(Kind::Ranks, 2, 0, 8);
    let one = world.at(1);
    let added = world.call(one, |core, call, out| core.add_task(call, &name(1), b"", out));
    assert_eq!(added, Err(BeginError::Kind("tasks")));
}
