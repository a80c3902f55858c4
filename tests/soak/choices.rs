//! `select!` and `Select`, over several channels, moments and tasks. An arm that is not done has done nothing.

use crate::arena::{Actor, Arena, Inside};
use crate::books::{Books, Item};
use crate::channels::{Borrowed, Line, Lines, Mpmc};
use multitask::select::Select;
use multitask::sync::{mpmc, Arc};
use multitask::{select, sleep, Handle};
use std::mem;
use std::sync::atomic::Ordering::SeqCst;

struct State {
    lines: [Lines<Mpmc>; 3],
    homes: Vec<Handle>,
    /// What tasks return.
    returned: Arc<Books>,
}

impl State {
    fn new(arena: &Arena) -> State {
        let mut random = arena.random();
        let mut line = |_| Lines::new(arena, [0, 0, 1, 2, usize::MAX][random.below(5)]);
        State {
            lines: [0, 1, 2].map(&mut line),
            homes: arena.homes(),
            returned: Arc::default(),
        }
    }

    /// All lines, beginning with any.
    fn all(&self, actor: &mut Actor) -> [Arc<Line<Mpmc>>; 3] {
        let first = actor.random.below(3);
        [0, 1, 2].map(|n| self.lines[(first + n) % 3].now())
    }

    fn check(&self) {
        self.lines.iter().for_each(Lines::check);
        // Tasks that nobody joined.
        while !self.returned.balance() {
            std::thread::yield_now();
        }
    }
}

pub fn select_macro(arena: &Arena) {
    choose_by(arena, choose);
}

pub fn select_builder(arena: &Arena) {
    choose_by(arena, build);
}

fn choose_by(arena: &Arena, choose: fn(&State, &mut Actor)) {
    struct Chosen(State, fn(&State, &mut Actor));
    fn step(Chosen(state, choose): &Chosen, actor: &mut Actor) {
        let line = &state.lines[actor.random.below(3)];
        match actor.random.below(300) {
            0 => line.hang_up(actor),
            1..60 => line.now().send(actor),
            60..120 => line.now().receive(actor),
            _ => choose(state, actor),
        }
    }
    let chosen = Arc::new(Chosen(State::new(arena), choose));
    arena.round(&chosen, step, |chosen| {
        chosen.0.lines.iter().for_each(Lines::settle);
    });
    chosen.0.check();
}

fn choose(state: &State, actor: &mut Actor) {
    let [a, b, c] = &state.all(actor);
    let (Some(from_a), Some(from_b), Some(to_c)) = (a.receiver(), b.receiver(), c.sender()) else {
        return;
    };
    actor.at();
    let _getting = [Inside::of(&a.getting), Inside::of(&b.getting)];
    let _putting = Inside::of(&c.putting);
    let limit = actor.short();
    let got = |line: &Line<Mpmc>, got: Result<Item, _>| line.was_received(got.map_err(|_| true));
    let put = |sent: Result<(), mpmc::SendError<Item>>| {
        c.was_sent(sent.map_err(|e| (e.0, true)));
    };
    let item = c.books.item();
    let unwinding = c.unwinding();
    match actor.random.below(6) {
        0 => select! {
            recv(from_a.end()) -> item_of_a => { item.back(); got(a, item_of_a) }
            send(to_c.end(), item) -> sent => put(sent),
            default => item.back(),
        },
        1 => select! {
            recv(from_a.end()) -> item_of_a => { item.back(); got(a, item_of_a) }
            recv(from_b.end()) -> item_of_b => { item.back(); got(b, item_of_b) }
            send(to_c.end(), item) -> sent => put(sent),
            default(limit) => item.back(),
        },
        2 => select! {
            recv(from_b.end()) -> item_of_b => { item.back(); got(b, item_of_b) }
            send(to_c.end(), item) -> sent => put(sent),
            after(limit) => item.back(),
        },
        3 => {
            let books = state.returned.clone();
            let home = &state.homes[actor.random.below(state.homes.len())];
            let task = home.spawn(move || {
                sleep(limit);
                books.item()
            });
            select! {
                recv(from_a.end()) -> item_of_a => { item.back(); got(a, item_of_a) }
                send(to_c.end(), item) -> sent => put(sent),
                join(task) -> returned => { item.back(); returned.unwrap().got() }
            }
        }
        _ => select! {
            recv(from_a.end()) -> item_of_a => { item.back(); got(a, item_of_a) }
            recv(from_b.end()) -> item_of_b => { item.back(); got(b, item_of_b) }
            send(to_c.end(), item) -> sent => put(sent),
        },
    }
    mem::forget(unwinding);
}

/// An arm, and what it is about.
enum About<'a> {
    Receive(&'a Line<Mpmc>, Borrowed<'a, mpmc::Receiver<Item>>),
    Send(&'a Line<Mpmc>, Borrowed<'a, mpmc::Sender<Item>>),
}

fn build(state: &State, actor: &mut Actor) {
    let lines = &state.all(actor);
    let about: Vec<_> = lines
        .iter()
        .filter_map(|line| any_arm(line, actor))
        .collect();
    if about.is_empty() {
        return;
    }
    let _inside: Vec<_> = about.iter().map(About::inside).collect();
    let mut select = Select::new();
    for about in &about {
        match about {
            About::Receive(_, receiver) => select.recv(receiver.end()),
            About::Send(_, sender) => select.send(sender.end()),
        };
    }
    // Arms serve for several selections.
    for _ in 0..=actor.random.below(3) {
        actor.at();
        let selected = match actor.random.below(4) {
            0 => select.try_select().ok(),
            1 => select.select_timeout(actor.short()).ok(),
            _ => Some(select.select()),
        };
        let Some(selected) = selected else { continue };
        let is_undone = actor.chance(8);
        match &about[selected.index()] {
            About::Receive(line, _) if is_undone => {
                line.undone.fetch_add(1, SeqCst);
                drop(selected);
            }
            About::Send(..) if is_undone => drop(selected),
            About::Receive(line, receiver) => {
                line.was_received(selected.recv(receiver.end()).map_err(|_| true));
            }
            About::Send(line, sender) => {
                let sent = selected.send(sender.end(), line.books.item());
                line.was_sent(sent.map_err(|e| (e.0, true)));
            }
        }
    }
}

fn any_arm<'a>(line: &'a Line<Mpmc>, actor: &mut Actor) -> Option<About<'a>> {
    if actor.chance(2) {
        Some(About::Receive(line, line.receiver()?))
    } else {
        Some(About::Send(line, line.sender()?))
    }
}

impl About<'_> {
    fn inside(&self) -> Inside<'_> {
        match self {
            About::Receive(line, _) => Inside::of(&line.getting),
            About::Send(line, _) => Inside::of(&line.putting),
        }
    }
}
