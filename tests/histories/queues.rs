//! What tasks of one worker do to a few queues: put, get, choose, wait, select, cancel and close.
//!
//! The worker runs what is ready in order, so that the model knows who comes first, and all but one thing is decided: which of
//! several ready arms a `Select` draws. That the model is told.

use super::Dice;
use multitask::select::Select;
use multitask::sync::{GetError, PutError, Queue, TryGetError, TryPutError};
use multitask::{JoinHandle, Scheduler};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Does to some queues what `bytes` say, and panics where the model says otherwise.
pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let capacities = [0, 1, 2, 3, usize::MAX];
    let capacities = Vec::from_iter((0..=dice.below(3)).map(|_| capacities[dice.below(5)]));
    let mut history = History {
        // An act of selecting comes alone: what it draws has to be known before the next one. So does one with a limit.
        alone: dice.below(2) == 0,
        scheduler: Scheduler::new().unwrap(),
        queues: capacities.iter().map(|&capacity| queue(capacity)).collect(),
        model: Model::new(&capacities),
        tasks: Vec::new(),
        told: Rc::default(),
    };
    while !dice.is_used_up() {
        let acts = 1 + if history.alone { 0 } else { dice.below(4) };
        history.together(&mut dice, acts);
    }
    history.end();
}

fn queue(capacity: usize) -> Queue<Item> {
    match capacity {
        usize::MAX => Queue::unbounded(),
        _ => Queue::bounded(capacity),
    }
}

/// What is put: a number that is its own, and what the choosy choose by.
type Item = (usize, usize);

/// One task does one of them.
#[derive(Clone, Debug)]
enum Act {
    Put(usize, Item, Patience),
    Get(usize, Option<usize>, Patience),
    Select(Vec<Arm>, Patience, Picked),
    Cancel(usize),
    Close(usize),
}

impl Act {
    fn has_limit(&self) -> bool {
        use Act::{Get, Put, Select};
        let (Put(_, _, patience) | Get(_, _, patience) | Select(_, patience, _)) = self else {
            return false;
        };
        *patience == Patience::Zero
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Waits for ever.
    Wait,
    /// A limit of zero.
    Zero,
    /// The call that does not wait.
    Try,
}

/// What is done with the arm that was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picked {
    Completed,
    Dropped,
}

#[derive(Clone, Copy, Debug)]
enum Arm {
    Get(usize),
    Put(usize, Item),
    /// A moment that has come.
    Now,
    /// One that does not come.
    Never,
    /// Getting, taken out again.
    Removed(usize),
}

/// What a task has to tell in the end.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Put(Result<(), PutError<Item>>),
    TryPut(Result<(), TryPutError<Item>>),
    Get(Result<Item, GetError>),
    TryGet(Result<Item, TryGetError>),
    Got(usize, Result<Item, GetError>),
    Sent(usize, Result<(), PutError<Item>>),
    Moment(usize),
    Dropped(usize),
    NothingReady,
}

impl Outcome {
    fn arm(&self) -> Option<usize> {
        match *self {
            Outcome::Got(arm, _) | Outcome::Sent(arm, _) => Some(arm),
            Outcome::Moment(arm) | Outcome::Dropped(arm) => Some(arm),
            _ => None,
        }
    }
}

/// By the number of the task.
type Told = BTreeMap<usize, Outcome>;

struct History {
    alone: bool,
    scheduler: Scheduler,
    queues: Rc<[Queue<Item>]>,
    model: Model,
    tasks: Vec<Rc<JoinHandle<()>>>,
    told: Rc<RefCell<Told>>,
}

impl History {
    /// Some acts, the later ones before the earlier have had their consequences.
    fn together(&mut self, dice: &mut Dice<'_>, acts: usize) {
        let first = self.tasks.len();
        let acts = Vec::from_iter((0..acts).map(|_| {
            let act = self.draw(dice);
            self.start(act.clone());
            act
        }));
        while self.scheduler.turn(Some(Duration::ZERO)).unwrap() > 0 {}
        if let Some(late) = acts.iter().position(Act::has_limit) {
            // Its limit is over, but by a clock.
            while !self.told.borrow().contains_key(&(first + late)) {
                self.scheduler.turn(None).unwrap();
            }
        }
        let told = mem::take(&mut *self.told.borrow_mut());
        let numbered = acts.iter().enumerate();
        numbered.for_each(|(at, act)| self.model.apply(first + at, act, &told));
        assert_eq!(told, mem::take(&mut self.model.told), "after {acts:?}");
        for (queue, line) in self.queues.iter().zip(&self.model.lines) {
            assert_eq!(queue.len(), line.items.len(), "after {acts:?}");
            assert_eq!(queue.is_full(), !line.has_room(), "after {acts:?}");
            assert_eq!(queue.is_closed(), line.closed);
        }
    }

    fn draw(&self, dice: &mut Dice<'_>) -> Act {
        let number = self.tasks.len();
        let queue = dice.below(self.queues.len());
        let patience = match dice.below(4) {
            0 => Patience::Try,
            1 if self.alone => Patience::Zero,
            _ => Patience::Wait,
        };
        match dice.below(16) {
            0..6 => Act::Put(queue, (number, dice.below(3)), patience),
            6..9 => Act::Get(queue, None, patience),
            9..11 => Act::Get(queue, Some(dice.below(3)), patience),
            11..14 if self.alone => {
                let arms = (0..1 + dice.below(4)).map(|at| self.draw_arm(dice, number, at));
                let picked = [Picked::Completed, Picked::Completed, Picked::Dropped];
                Act::Select(arms.collect(), patience, picked[dice.below(3)])
            }
            11..14 => Act::Put(queue, (number, dice.below(3)), patience),
            14 if dice.below(8) == 0 => Act::Close(queue),
            // One of the last that were started, which may still wait.
            _ => Act::Cancel(number.saturating_sub(1 + dice.below(12))),
        }
    }

    fn draw_arm(&self, dice: &mut Dice<'_>, number: usize, at: usize) -> Arm {
        let queue = dice.below(self.queues.len());
        match dice.below(10) {
            0..4 => Arm::Get(queue),
            // How two who select meet where there is no buffer, the model does not know.
            4..7 if self.queues[queue].capacity() != Some(0) => {
                Arm::Put(queue, (number * 10 + at, dice.below(3)))
            }
            7 => Arm::Now,
            8 => Arm::Removed(queue),
            _ => Arm::Never,
        }
    }

    fn start(&mut self, act: Act) {
        let (queues, told, number) = (self.queues.clone(), self.told.clone(), self.tasks.len());
        let task = match act {
            Act::Cancel(whom) => {
                let whom = self.tasks.get(whom).cloned();
                self.scheduler
                    .spawn_local(move || whom.iter().for_each(|task| task.cancel()))
            }
            Act::Close(queue) => self.scheduler.spawn_local(move || queues[queue].close()),
            act => self.scheduler.spawn_local(move || {
                let outcome = perform(&queues, act);
                told.borrow_mut().insert(number, outcome);
            }),
        };
        self.tasks.push(Rc::new(task));
    }

    /// What is left in the queues is what the model has, in its order, whoever has waited and is cancelled.
    fn end(self) {
        self.tasks.iter().for_each(|task| task.cancel());
        self.scheduler.run().unwrap();
        assert_eq!(self.told.take(), Told::new());
        for (queue, line) in self.queues.iter().zip(self.model.lines) {
            assert_eq!(VecDeque::from_iter(queue.try_iter()), line.items);
        }
    }
}

fn perform(queues: &[Queue<Item>], act: Act) -> Outcome {
    const ZERO: Duration = Duration::ZERO;
    match act {
        Act::Put(queue, item, Patience::Wait) => Outcome::Put(queues[queue].put(item)),
        Act::Put(queue, item, Patience::Zero) => {
            Outcome::Put(queues[queue].put_timeout(item, ZERO))
        }
        Act::Put(queue, item, Patience::Try) => Outcome::TryPut(queues[queue].try_put(item)),
        Act::Get(queue, None, patience) => match patience {
            Patience::Wait => Outcome::Get(queues[queue].get()),
            Patience::Zero => Outcome::Get(queues[queue].get_timeout(ZERO)),
            Patience::Try => Outcome::TryGet(queues[queue].try_get()),
        },
        Act::Get(queue, Some(kind), patience) => {
            let wanted = |item: &Item| item.1 == kind;
            match patience {
                Patience::Wait => Outcome::Get(queues[queue].get_matching(wanted)),
                Patience::Zero => Outcome::Get(queues[queue].get_matching_timeout(wanted, ZERO)),
                Patience::Try => Outcome::TryGet(queues[queue].try_get_matching(wanted)),
            }
        }
        Act::Select(arms, patience, picked) => select(queues, &arms, patience, picked),
        Act::Cancel(_) | Act::Close(_) => unreachable!("they tell nothing"),
    }
}

fn select(queues: &[Queue<Item>], arms: &[Arm], patience: Patience, picked: Picked) -> Outcome {
    let mut select = Select::new();
    for (at, arm) in arms.iter().enumerate() {
        let index = match *arm {
            Arm::Get(queue) | Arm::Removed(queue) => select.recv(&queues[queue]),
            Arm::Put(queue, _) => select.send(&queues[queue]),
            Arm::Now => select.at(Instant::now()),
            Arm::Never => select.after(Duration::MAX),
        };
        assert_eq!(index, at);
        if let Arm::Removed(_) = arm {
            select.remove(index);
        }
    }
    let operation = match patience {
        Patience::Wait => Some(select.select()),
        Patience::Zero => select.select_timeout(Duration::ZERO).ok(),
        Patience::Try => select.try_select().ok(),
    };
    let Some(operation) = operation else {
        return Outcome::NothingReady;
    };
    let index = operation.index();
    match arms[index] {
        _ if picked == Picked::Dropped => Outcome::Dropped(index),
        Arm::Get(queue) => Outcome::Got(index, operation.recv(&queues[queue])),
        Arm::Put(queue, item) => Outcome::Sent(index, operation.send(&queues[queue], item)),
        Arm::Now => Outcome::Moment(index),
        Arm::Never | Arm::Removed(_) => panic!("arm {index} of {arms:?} was selected"),
    }
}

// ---- the model ----

struct Model {
    lines: Vec<Line>,
    /// Those who were woken from a selection, in order: they go on when the present task has done its act.
    woken: VecDeque<Woken>,
    /// What the tasks of the last acts have to tell.
    told: Told,
}

/// What he was woken with, and by which queue.
enum Woken {
    ByItem(usize, usize, Item, Choice),
    ByRoom(usize, usize, Item, Choice),
}

/// A queue, with those who wait for it in the order in which they came.
struct Line {
    capacity: usize,
    items: VecDeque<Item>,
    /// Room for those who were woken by it.
    reserved: usize,
    closed: bool,
    getters: Vec<Getter>,
    putters: VecDeque<Putter>,
}

#[derive(Clone, Copy)]
struct Getter {
    task: usize,
    wants: Option<usize>,
    choice: Option<Choice>,
}

#[derive(Clone, Copy)]
struct Putter {
    task: usize,
    item: Item,
    choice: Option<Choice>,
}

/// Of one who waits for several things: which arm it is, and what he will do with it.
#[derive(Clone, Copy)]
struct Choice {
    arm: usize,
    picked: Picked,
}

impl Line {
    fn has_room(&self) -> bool {
        self.items.len() + self.reserved < self.capacity
    }
}

impl Model {
    fn new(capacities: &[usize]) -> Self {
        let line = |&capacity| Line {
            capacity,
            items: VecDeque::new(),
            reserved: 0,
            closed: false,
            getters: Vec::new(),
            putters: VecDeque::new(),
        };
        Model {
            lines: capacities.iter().map(line).collect(),
            woken: VecDeque::new(),
            told: Told::new(),
        }
    }

    /// `told` is asked only what was drawn by lot.
    fn apply(&mut self, task: usize, act: &Act, told: &Told) {
        match *act {
            Act::Put(queue, item, patience) => self.put(task, queue, item, patience),
            Act::Get(queue, wants, patience) => self.get(task, queue, wants, patience),
            Act::Select(ref arms, patience, picked) => {
                let drawn = told.get(&task).and_then(Outcome::arm);
                self.select(task, arms, patience, picked, drawn);
            }
            Act::Cancel(whom) => self.forget(whom),
            Act::Close(queue) => self.close(queue, told),
        }
        while let Some(woken) = self.woken.pop_front() {
            match woken {
                Woken::ByItem(task, queue, item, choice) => self.got(task, queue, item, choice),
                Woken::ByRoom(task, queue, item, choice) => {
                    self.lines[queue].reserved -= 1;
                    self.sent(task, queue, item, choice);
                }
            }
        }
    }

    fn tell(&mut self, task: usize, outcome: Outcome) {
        assert!(self.told.insert(task, outcome).is_none());
    }

    fn put(&mut self, task: usize, queue: usize, item: Item, patience: Patience) {
        let line = &self.lines[queue];
        let (closed, getter) = (line.closed, self.who_wants(queue, item));
        let full = !closed && getter.is_none() && !line.has_room();
        match patience {
            Patience::Wait if full => self.lines[queue].putters.push_back(Putter {
                task,
                item,
                choice: None,
            }),
            Patience::Try => self.tell(
                task,
                Outcome::TryPut(match () {
                    () if closed => Err(TryPutError::Closed(item)),
                    () if full => Err(TryPutError::Full(item)),
                    () => Ok(()),
                }),
            ),
            _ => self.tell(
                task,
                Outcome::Put(match () {
                    () if closed => Err(PutError::Closed(item)),
                    () if full => Err(PutError::Timeout(item)),
                    () => Ok(()),
                }),
            ),
        }
        if !closed && !full && !self.hand_over(queue, item) {
            self.lines[queue].items.push_back(item);
        }
    }

    fn get(&mut self, task: usize, queue: usize, wants: Option<usize>, patience: Patience) {
        let taken = self.take(queue, wants);
        let closed = self.lines[queue].closed;
        match (taken, patience) {
            (None, Patience::Wait) if !closed => self.lines[queue].getters.push(Getter {
                task,
                wants,
                choice: None,
            }),
            (taken, Patience::Try) => {
                let otherwise = if closed {
                    TryGetError::Closed
                } else {
                    TryGetError::Empty
                };
                self.tell(task, Outcome::TryGet(taken.ok_or(otherwise)));
            }
            (taken, _) => {
                let otherwise = if closed {
                    GetError::Closed
                } else {
                    GetError::Timeout
                };
                self.tell(task, Outcome::Get(taken.ok_or(otherwise)));
            }
        }
    }

    fn select(
        &mut self,
        task: usize,
        arms: &[Arm],
        patience: Patience,
        picked: Picked,
        drawn: Option<usize>,
    ) {
        let ready = |arm: &Arm| match *arm {
            Arm::Get(queue) => {
                let line = &self.lines[queue];
                let held = line.putters.iter().any(|putter| putter.choice.is_none());
                line.closed || !line.items.is_empty() || held
            }
            Arm::Put(queue, _) => self.lines[queue].closed || self.lines[queue].has_room(),
            Arm::Now => true,
            Arm::Never | Arm::Removed(_) => false,
        };
        let ready = Vec::from_iter((0..arms.len()).filter(|&at| ready(&arms[at])));
        if let Some(&first) = ready.first() {
            let arm = drawn.filter(|arm| ready.contains(arm)).unwrap_or(first);
            self.select_ready(task, arms[arm], Choice { arm, picked });
        } else if patience == Patience::Wait {
            for (arm, kind) in arms.iter().enumerate() {
                self.stand_in_line(task, *kind, Choice { arm, picked });
            }
        } else {
            self.tell(task, Outcome::NothingReady);
        }
    }

    fn select_ready(&mut self, task: usize, arm: Arm, choice: Choice) {
        match arm {
            Arm::Get(queue) => match self.take(queue, None) {
                Some(item) => self.got(task, queue, item, choice),
                None => self.found_closed(task, None, choice),
            },
            Arm::Put(queue, item) if self.lines[queue].closed => {
                self.found_closed(task, Some(item), choice);
            }
            Arm::Put(queue, item) => self.sent(task, queue, item, choice),
            _ if choice.picked == Picked::Dropped => self.tell(task, Outcome::Dropped(choice.arm)),
            _ => self.tell(task, Outcome::Moment(choice.arm)),
        }
    }

    fn stand_in_line(&mut self, task: usize, arm: Arm, choice: Choice) {
        let choice = Some(choice);
        match arm {
            Arm::Get(queue) => self.lines[queue].getters.push(Getter {
                task,
                wants: None,
                choice,
            }),
            Arm::Put(queue, item) => {
                let putter = Putter { task, item, choice };
                self.lines[queue].putters.push_back(putter);
            }
            Arm::Now | Arm::Never | Arm::Removed(_) => {}
        }
    }

    /// Nobody waits on; who waits for several things finds that arm ready, or one of them if he stood in line with several.
    fn close(&mut self, queue: usize, told: &Told) {
        let line = &mut self.lines[queue];
        line.closed = true;
        let (getters, putters) = (mem::take(&mut line.getters), mem::take(&mut line.putters));
        let mut choosers = BTreeMap::<usize, Vec<(Choice, Option<Item>)>>::new();
        for Getter { task, choice, .. } in getters {
            match choice {
                None => self.tell(task, Outcome::Get(Err(GetError::Closed))),
                Some(choice) => choosers.entry(task).or_default().push((choice, None)),
            }
        }
        for Putter { task, item, choice } in putters {
            match choice {
                None => self.tell(task, Outcome::Put(Err(PutError::Closed(item)))),
                Some(choice) => choosers.entry(task).or_default().push((choice, Some(item))),
            }
        }
        for (task, ready) in choosers {
            let drawn = told.get(&task).and_then(Outcome::arm);
            let drawn = ready.iter().find(|(choice, _)| Some(choice.arm) == drawn);
            let (choice, item) = *drawn.unwrap_or(&ready[0]);
            self.forget(task);
            self.found_closed(task, item, choice);
        }
    }

    // ---- from hand to hand ----

    fn who_wants(&self, queue: usize, item: Item) -> Option<Getter> {
        let wants = |getter: &&Getter| getter.wants.is_none_or(|kind| kind == item.1);
        self.lines[queue].getters.iter().find(wants).copied()
    }

    /// To the first who wants it.
    fn hand_over(&mut self, queue: usize, item: Item) -> bool {
        let Some(getter) = self.who_wants(queue, item) else {
            return false;
        };
        self.forget(getter.task);
        match getter.choice {
            None => self.tell(getter.task, Outcome::Get(Ok(item))),
            Some(choice) => {
                let woken = Woken::ByItem(getter.task, queue, item, choice);
                self.woken.push_back(woken);
            }
        }
        true
    }

    /// The first that is wanted, of those that are here and then of those that putters hold.
    fn take(&mut self, queue: usize, wants: Option<usize>) -> Option<Item> {
        let wanted = |item: Item| wants.is_none_or(|kind| kind == item.1);
        let line = &mut self.lines[queue];
        if let Some(at) = line.items.iter().position(|&item| wanted(item)) {
            let item = line.items.remove(at);
            self.refill(queue);
            return item;
        }
        let offers = |putter: &Putter| putter.choice.is_none() && wanted(putter.item);
        let at = line.putters.iter().position(offers)?;
        let putter = line.putters.remove(at)?;
        self.tell(putter.task, Outcome::Put(Ok(())));
        Some(putter.item)
    }

    /// The one who has waited longest for room has it.
    fn refill(&mut self, queue: usize) {
        let line = &mut self.lines[queue];
        if !line.has_room() {
            return;
        }
        let Some(Putter { task, item, choice }) = line.putters.front().copied() else {
            return;
        };
        self.forget(task);
        match choice {
            None => {
                self.lines[queue].items.push_back(item);
                self.tell(task, Outcome::Put(Ok(())));
            }
            Some(choice) => {
                self.lines[queue].reserved += 1;
                let woken = Woken::ByRoom(task, queue, item, choice);
                self.woken.push_back(woken);
            }
        }
    }

    /// By a getting arm. If it is dropped, the item is what comes next.
    fn got(&mut self, task: usize, queue: usize, item: Item, Choice { arm, picked }: Choice) {
        match picked {
            Picked::Completed => self.tell(task, Outcome::Got(arm, Ok(item))),
            Picked::Dropped => {
                self.tell(task, Outcome::Dropped(arm));
                if !self.hand_over(queue, item) {
                    self.lines[queue].items.push_front(item);
                }
            }
        }
    }

    /// By a putting arm, which had room. If it is dropped, or the item does not need the room, others have it.
    fn sent(&mut self, task: usize, queue: usize, item: Item, Choice { arm, picked }: Choice) {
        let outcome = match picked {
            Picked::Completed => Outcome::Sent(arm, Ok(())),
            Picked::Dropped => Outcome::Dropped(arm),
        };
        self.tell(task, outcome);
        if picked == Picked::Completed && !self.hand_over(queue, item) {
            self.lines[queue].items.push_back(item);
        } else {
            self.refill(queue);
        }
    }

    fn found_closed(&mut self, task: usize, item: Option<Item>, Choice { arm, picked }: Choice) {
        let outcome = match (picked, item) {
            (Picked::Dropped, _) => Outcome::Dropped(arm),
            (_, None) => Outcome::Got(arm, Err(GetError::Closed)),
            (_, Some(item)) => Outcome::Sent(arm, Err(PutError::Closed(item))),
        };
        self.tell(task, outcome);
    }

    /// It waits for nothing any more.
    fn forget(&mut self, task: usize) {
        for line in &mut self.lines {
            line.getters.retain(|getter| getter.task != task);
            line.putters.retain(|putter| putter.task != task);
        }
    }
}
