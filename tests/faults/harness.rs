//! Plays the scenario with each thing that can go wrong, at each place, and looks at what is left.

use crate::calls::{self, Injury};
use crate::common::files::Folder;
use crate::footprint::Footprint;
use crate::scenario::{cancel_all, play, Stage};
use multitask::faults::{self, Fault, Panic};
use std::io::{stderr, Write};
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, thread};

/// Places of each kind that a quick run goes to, about.
const QUICK: usize = 60;
/// A run that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// What only grows in so many runs in a row is not kept for the next time.
const RUNS: usize = 4;

/// Something that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    At(Fault),
    In(Injury),
}

const KINDS: &[(&str, Kind)] = &[
    ("cancel", Kind::At(Fault::Cancel)),
    ("cancel_first", Kind::At(Fault::CancelFirst)),
    ("timeout", Kind::At(Fault::Timeout)),
    ("limit", Kind::At(Fault::Limit)),
    ("panic", Kind::At(Fault::Panic)),
    ("descriptor", Kind::In(Injury::NoDescriptor)),
    ("memory", Kind::In(Injury::NoMemory)),
    ("thread", Kind::In(Injury::NoThread)),
    ("signal", Kind::In(Injury::Signal)),
    ("short", Kind::In(Injury::Short)),
    ("broken", Kind::In(Injury::Broken)),
];

impl Kind {
    fn order(self, nth: usize) {
        match self {
            Kind::At(fault) => faults::order(fault, nth),
            Kind::In(injury) => calls::order(injury, nth),
        }
    }

    fn withdraw(self) -> Result<&'static str, usize> {
        match self {
            Kind::At(_) => faults::withdraw(),
            Kind::In(_) => calls::withdraw(),
        }
    }

    /// A program that does as std's documentation says notices nothing.
    fn is_harmless(self) -> bool {
        matches!(self, Kind::In(Injury::Signal | Injury::Short))
    }
}

/// What `MULTITASK_FAULTS` says that is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Amount {
    Quick,
    All,
    /// One place, in a process that has played nothing before.
    Cold,
}

pub fn main() {
    let hook = take_hook();
    set_hook(Box::new(move |panic| {
        if !panic.payload().is::<Panic>() {
            hook(panic);
        }
    }));
    let amount = match env::var("MULTITASK_FAULTS").as_deref() {
        Err(_) | Ok("") => Amount::Quick,
        Ok("all") => Amount::All,
        Ok("cold") => Amount::Cold,
        Ok(other) => panic!("MULTITASK_FAULTS is all, or nothing, not {other}"),
    };
    let folder = Folder::new();
    let stage = Stage {
        workers: 1,
        size: 3,
        folder: folder.0.clone(),
        may_panic: false,
    };
    let mut tests = Harness { stage };
    watch();
    if let Ok(place) = env::var("MULTITASK_FAULT") {
        let (name, nth) = place.split_once(':').expect("KIND:NUMBER");
        let known = KINDS.iter().find(|(known, _)| *known == name);
        let nth = nth.parse().expect("a number");
        tests.only(known.expect("a kind"), nth, amount == Amount::Cold);
        return;
    }
    tests.everywhere(usize::MAX);
    everywhere_in_new_processes();
    tests.stage.workers = 4;
    match amount {
        Amount::All => {
            tests.everywhere(usize::MAX);
            tests.stage.size = 10;
            tests.everywhere(usize::MAX);
            tests.stage.workers = 1;
            tests.everywhere(usize::MAX);
        }
        Amount::Quick | Amount::Cold => tests.everywhere(QUICK),
    }
}

/// What a process says of a place that it does not come to.
const NOWHERE: &str = "nowhere";

/// What is done once in the life of a process can fail, too: a process for each place.
fn everywhere_in_new_processes() {
    let start = Instant::now();
    let mut runs = 0;
    let scarce = |(_, kind): &&(&str, Kind)| {
        use Injury::{NoDescriptor, NoMemory, NoThread};
        matches!(kind, Kind::In(NoDescriptor | NoMemory | NoThread))
    };
    for (name, _) in KINDS.iter().filter(scarce) {
        for nth in 1.. {
            let place = format!("{name}:{nth}");
            let output = Command::new(env::current_exe().unwrap())
                .env("MULTITASK_FAULTS", "cold")
                .env("MULTITASK_FAULT", &place)
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success(),
                "MULTITASK_FAULTS=cold MULTITASK_FAULT={place}: {told}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            runs += 1;
            if told.starts_with(NOWHERE) {
                break;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{runs} processes in {seconds:.1} s, in each of which something is missing the first time"
    );
}

struct Harness {
    stage: Stage,
}

impl Harness {
    /// Goes to one place, and says what it came to.
    fn only(&mut self, kind: &(&'static str, Kind), nth: usize, cold: bool) {
        if cold {
            println!("{}", self.once(kind, nth));
            // Whatever it was, it is over.
            self.warm_up();
            self.at(kind, nth);
        } else {
            self.warm_up();
            println!("{}", self.at(kind, nth));
        }
    }

    /// What is made once is made: threads of pools, slabs, lists that have grown.
    fn warm_up(&self) {
        for _ in 0..10 {
            let parts = watched("nothing", 0, || play(&self.stage).expect("descriptors"));
            for (part, outcome) in parts {
                outcome.unwrap_or_else(|error| panic!("undisturbed, {part} fails: {error}"));
            }
        }
    }

    /// Goes to about so many places of each kind.
    fn everywhere(&mut self, most: usize) {
        let (workers, size) = (self.stage.workers, self.stage.size);
        println!("{workers} workers, size {size}");
        self.warm_up();
        let (start, before) = (Instant::now(), Footprint::now());
        let mut runs = 0;
        for kind in KINDS {
            let places = self.count(kind.1);
            let step = places.div_ceil(most).max(1);
            let mut tally = Tally::default();
            // With a stride it is not always the first of several that is gone to.
            for nth in (1..=places).step_by(step) {
                let nth = (nth + nth / step % step).min(places);
                tally.add(&self.at(kind, nth));
            }
            println!("{:>14}: {places:4} places, {tally}", kind.0);
            runs += tally.runs;
        }
        let after = Footprint::returned(&before, PATIENCE).unwrap();
        println!(
            "{runs} runs in {:.1} s; bytes in use {} -> {}, mappings {} -> {}",
            start.elapsed().as_secs_f64(),
            before.bytes,
            after.bytes,
            before.mappings,
            after.mappings
        );
    }

    /// How many places there are for it.
    fn count(&self, kind: Kind) -> usize {
        const MANY: usize = usize::MAX / 2;
        kind.order(MANY);
        let played = watched("counting", 0, || play(&self.stage));
        let missing = kind.withdraw().expect_err("not so many");
        drop(played);
        MANY - missing
    }

    /// Has it go wrong at one place; what it came to. If something grows it is done again, and may not grow each time.
    fn at(&mut self, kind: &(&'static str, Kind), nth: usize) -> Run {
        let mut grown = 0;
        loop {
            let before = Footprint::now();
            let run = self.once(kind, nth);
            let say = |what| format!("MULTITASK_FAULT={}:{nth} ({run}): {what}", kind.0);
            let mut after = Footprint::returned(&before, PATIENCE / 2)
                .unwrap_or_else(|what| panic!("{}", say(format!("it is not given back: {what}"))));
            after.bytes -= run.bytes();
            if !after.has_grown(&before) {
                return run;
            }
            grown += 1;
            let told = format!("it grows each time: before {before:?}, now {after:?}");
            assert!(grown < RUNS, "{}", say(told));
        }
    }

    fn once(&mut self, kind: &(&'static str, Kind), nth: usize) -> Run {
        let (name, kind) = *kind;
        let label = format!("MULTITASK_FAULT={name}:{nth}");
        self.stage.may_panic = kind == Kind::At(Fault::Panic);
        kind.order(nth);
        let played = watched(name, nth, || {
            catch_unwind(AssertUnwindSafe(|| play(&self.stage)))
        });
        let place = kind.withdraw().ok();
        let say = |what: &str| format!("{label} ({}): {what}", place.unwrap_or(NOWHERE));
        let Ok(outcome) = played else {
            panic!("{}", say("a promise was broken"));
        };
        let failed: Vec<_> = match outcome {
            Err(error) => vec![("scheduler", error.to_string())],
            Ok(parts) => parts
                .into_iter()
                .filter_map(|(part, outcome)| Some((part, outcome.err()?.to_string())))
                .collect(),
        };
        let stuck = STUCK.load(SeqCst);
        assert!(!stuck, "{}", say(&format!("these are stuck: {failed:?}")));
        assert!(failed.len() <= 1, "{}", say(&format!("{failed:?}")));
        let must_succeed = kind.is_harmless() || place.is_none();
        assert!(
            !must_succeed || failed.is_empty(),
            "{}",
            say(&format!("{failed:?}"))
        );
        let failed = failed.into_iter().next();
        Run { place, failed }
    }
}

/// What is played now, and since when.
static PLAYING: Mutex<Option<(&str, usize, Instant)>> = Mutex::new(None);
/// What was watched did not end by itself.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Does something that may hang.
fn watched<T>(name: &'static str, nth: usize, f: impl FnOnce() -> T) -> T {
    *PLAYING.lock().unwrap() = Some((name, nth, Instant::now()));
    let value = f();
    *PLAYING.lock().unwrap() = None;
    value
}

/// A thread that looks now and then whether what is played ends in time, and cancels it if not; it ends the process if that does
/// not help.
fn watch() {
    thread::spawn(|| loop {
        thread::sleep(PATIENCE / 100);
        let playing = *PLAYING.lock().unwrap();
        let late = playing.filter(|(_, _, since)| since.elapsed() > PATIENCE);
        if let Some((name, nth, _)) = late {
            STUCK.store(true, SeqCst);
            if let Err(who) = cancel_all() {
                let _nobody_reads = writeln!(stderr(), "{}:{nth} is stuck; {who}", name);
                process::abort();
            }
        }
    });
}

// ---- what came of it ----

/// One run.
struct Run {
    /// What was struck, if it came to that.
    place: Option<&'static str>,
    /// The part that failed, and why.
    failed: Option<(&'static str, String)>,
}

impl Run {
    /// What it takes itself.
    fn bytes(&self) -> usize {
        self.failed.as_ref().map_or(0, |(_, why)| why.capacity())
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.place.unwrap_or(NOWHERE))?;
        match &self.failed {
            Some((part, why)) => write!(f, "; {part} failed: {why}"),
            None => write!(f, "; all went well"),
        }
    }
}

/// Many.
#[derive(Default)]
struct Tally {
    runs: usize,
    struck: usize,
    failed: usize,
}

impl Tally {
    fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.struck += usize::from(run.place.is_some());
        self.failed += usize::from(run.failed.is_some());
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (runs, struck, failed) = (self.runs, self.struck, self.failed);
        write!(
            f,
            "{runs} gone to, {struck} struck, {failed} felt by one part"
        )
    }
}
