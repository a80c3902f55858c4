//! Channels: `mpsc`, `mpmc` and `oneshot`.
//!
//! A line is a channel and what is known of it from outside. Its first ends lie in it, and those who use it borrow from
//! them; now and then somebody takes these away and lays another line: then the channel ends when the last who uses it
//! has gone.

use crate::arena::{Actor, Arena, Inside};
use crate::books::{Books, Item};
use crate::common::OnDrop;
use multitask::select;
use multitask::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use multitask::sync::{mpmc, mpsc, oneshot, Arc};
use std::mem;
use std::sync::Mutex;
use std::time::Duration;

pub fn mpsc_unbounded(arena: &Arena) {
    talk::<Mpsc>(arena, usize::MAX);
}

pub fn mpsc_bounded(arena: &Arena) {
    talk::<Mpsc>(arena, 1 + arena.random().below(4));
}

pub fn mpsc_rendezvous(arena: &Arena) {
    talk::<Mpsc>(arena, 0);
}

pub fn mpmc_unbounded(arena: &Arena) {
    talk::<Mpmc>(arena, usize::MAX);
}

pub fn mpmc_bounded(arena: &Arena) {
    talk::<Mpmc>(arena, arena.random().below(4));
}

/// A time in which somebody who waits is found.
const SHORT: Duration = Duration::from_micros(200);

fn talk<K: Kind>(arena: &Arena, capacity: usize) {
    fn step<K: Kind>(lines: &Lines<K>, actor: &mut Actor) {
        if actor.chance(150) {
            lines.hang_up(actor);
        } else if actor.chance(2) {
            lines.now().send(actor);
        } else {
            lines.now().receive(actor);
        }
    }
    let lines = Arc::new(Lines::<K>::new(arena, capacity));
    arena.round(&lines, step, Lines::settle);
    lines.check();
}

/// How long one waits.
#[derive(Clone, Copy, PartialEq)]
pub enum How {
    Try,
    Within(Duration),
    Wait,
}

impl How {
    fn any(actor: &mut Actor) -> How {
        match actor.random.below(4) {
            0 => How::Try,
            1 => How::Within(actor.short()),
            _ => How::Wait,
        }
    }
}

/// A kind of channel. Errors say whether the others are gone.
pub trait Kind: 'static {
    type Sender: Clone + Send;
    type Receiver: Send;
    /// Whether there is one receiver, and not several.
    const ONE_RECEIVER: bool;

    fn open(capacity: usize) -> (Self::Sender, Self::Receiver);
    fn send(sender: &Self::Sender, item: Item, how: How) -> Result<(), (Item, bool)>;
    fn receive(receiver: &Self::Receiver, how: How) -> Result<Item, bool>;
    /// Another of those in `slot`, or that one.
    fn borrow(slot: &mut Option<Self::Receiver>) -> Option<Self::Receiver>;
}

struct Mpsc;

#[derive(Clone)]
enum MpscSender {
    Unbounded(mpsc::Sender<Item>),
    Bounded(mpsc::SyncSender<Item>),
}

impl Kind for Mpsc {
    type Sender = MpscSender;
    type Receiver = mpsc::Receiver<Item>;
    const ONE_RECEIVER: bool = true;

    fn open(capacity: usize) -> (MpscSender, mpsc::Receiver<Item>) {
        if capacity == usize::MAX {
            let (sender, receiver) = mpsc::channel();
            return (MpscSender::Unbounded(sender), receiver);
        }
        let (sender, receiver) = mpsc::sync_channel(capacity);
        (MpscSender::Bounded(sender), receiver)
    }

    fn send(sender: &MpscSender, item: Item, how: How) -> Result<(), (Item, bool)> {
        match sender {
            MpscSender::Unbounded(sender) => sender.send(item).map_err(|e| (e.0, true)),
            MpscSender::Bounded(sender) => match how {
                How::Try => sender.try_send(item).map_err(refused),
                How::Within(limit) => sender.send_timeout(item, limit).map_err(too_late),
                How::Wait => sender.send(item).map_err(|e| (e.0, true)),
            },
        }
    }

    fn receive(receiver: &mpsc::Receiver<Item>, how: How) -> Result<Item, bool> {
        match how {
            How::Try => receiver.try_recv().map_err(is_over),
            How::Within(limit) => receiver.recv_timeout(limit).map_err(is_over_in_time),
            How::Wait => receiver.recv().map_err(|_| true),
        }
    }

    fn borrow(slot: &mut Option<mpsc::Receiver<Item>>) -> Option<mpsc::Receiver<Item>> {
        slot.take()
    }
}

pub struct Mpmc;

impl Kind for Mpmc {
    type Sender = mpmc::Sender<Item>;
    type Receiver = mpmc::Receiver<Item>;
    const ONE_RECEIVER: bool = false;

    fn open(capacity: usize) -> (mpmc::Sender<Item>, mpmc::Receiver<Item>) {
        match capacity {
            usize::MAX => mpmc::channel(),
            _ => mpmc::sync_channel(capacity),
        }
    }

    fn send(sender: &mpmc::Sender<Item>, item: Item, how: How) -> Result<(), (Item, bool)> {
        match how {
            How::Try => sender.try_send(item).map_err(refused),
            How::Within(limit) => sender.send_timeout(item, limit).map_err(too_late),
            How::Wait => sender.send(item).map_err(|e| (e.0, true)),
        }
    }

    fn receive(receiver: &mpmc::Receiver<Item>, how: How) -> Result<Item, bool> {
        match how {
            How::Try => receiver.try_recv().map_err(is_over),
            How::Within(limit) => receiver.recv_timeout(limit).map_err(is_over_in_time),
            How::Wait => receiver.recv().map_err(|_| true),
        }
    }

    fn borrow(slot: &mut Option<mpmc::Receiver<Item>>) -> Option<mpmc::Receiver<Item>> {
        slot.clone()
    }
}

fn refused(error: mpsc::TrySendError<Item>) -> (Item, bool) {
    match error {
        mpsc::TrySendError::Full(item) => (item, false),
        mpsc::TrySendError::Disconnected(item) => (item, true),
    }
}

fn too_late(error: mpmc::SendTimeoutError<Item>) -> (Item, bool) {
    match error {
        mpmc::SendTimeoutError::Timeout(item) => (item, false),
        mpmc::SendTimeoutError::Disconnected(item) => (item, true),
    }
}

fn is_over(error: mpsc::TryRecvError) -> bool {
    error == mpsc::TryRecvError::Disconnected
}

fn is_over_in_time(error: mpsc::RecvTimeoutError) -> bool {
    error == mpsc::RecvTimeoutError::Disconnected
}

/// The line in use, and those that were.
pub struct Lines<K: Kind> {
    capacity: usize,
    now: Mutex<Arc<Line<K>>>,
    all: Mutex<Vec<Arc<Line<K>>>>,
}

impl<K: Kind> Lines<K> {
    pub fn new(arena: &Arena, capacity: usize) -> Self {
        let first = Arc::new(Line::open(capacity, arena.random().below(2) == 0));
        Lines {
            capacity,
            all: Mutex::new(vec![first.clone()]),
            now: Mutex::new(first),
        }
    }

    pub fn now(&self) -> Arc<Line<K>> {
        self.now.lock().unwrap().clone()
    }

    /// Lays another line.
    pub fn hang_up(&self, actor: &mut Actor) {
        actor.at();
        let new = Arc::new(Line::open(self.capacity, actor.chance(2)));
        self.all.lock().unwrap().push(new.clone());
        let old = mem::replace(&mut *self.now.lock().unwrap(), new);
        old.hang_up(actor.chance(2));
    }

    pub fn settle(&self) {
        for line in &*self.all.lock().unwrap() {
            line.settle();
        }
    }

    pub fn check(&self) {
        for line in &*self.all.lock().unwrap() {
            line.check();
        }
    }
}

/// See the head of this file.
pub struct Line<K: Kind> {
    capacity: usize,
    /// Its receiver stays until nothing is left.
    is_drained: bool,
    sender: Mutex<Option<K::Sender>>,
    receiver: Mutex<Option<K::Receiver>>,
    senders: Ends,
    receivers: Ends,
    /// A receiver that is borrowed does not come back.
    closing: AtomicBool,
    pub books: Arc<Books>,
    pub sent: AtomicU64,
    /// Those who unwound out of sending.
    unwound: AtomicU64,
    /// Received, and then left to others.
    pub undone: AtomicU64,
    pub putting: AtomicUsize,
    pub getting: AtomicUsize,
}

/// How many ends there are: at least, and at most.
#[derive(Default)]
pub struct Ends {
    least: AtomicUsize,
    most: AtomicUsize,
}

impl Ends {
    fn add(&self) {
        self.most.fetch_add(1, SeqCst);
        self.least.fetch_add(1, SeqCst);
    }

    fn drop<H>(&self, end: H) {
        self.least.fetch_sub(1, SeqCst);
        drop(end);
        self.most.fetch_sub(1, SeqCst);
    }

    /// All of them are gone for certain.
    pub fn are_gone(&self) -> bool {
        self.most.load(SeqCst) == 0
    }

    /// All of them may be gone.
    pub fn may_be_gone(&self) -> bool {
        self.least.load(SeqCst) == 0
    }
}

/// A sender or a receiver of a line.
pub struct Borrowed<'a, H> {
    end: Option<H>,
    ends: &'a Ends,
    /// Where it came from and goes back to, unless that is closing.
    home: Option<(&'a Mutex<Option<H>>, &'a AtomicBool)>,
}

impl<H> Borrowed<'_, H> {
    pub fn end(&self) -> &H {
        self.end.as_ref().unwrap()
    }
}

impl<H> Drop for Borrowed<'_, H> {
    fn drop(&mut self) {
        let end = self.end.take();
        if let Some((slot, closing)) = self.home {
            let mut slot = slot.lock().unwrap();
            if !closing.load(SeqCst) {
                *slot = end;
                return;
            }
        }
        self.ends.drop(end);
    }
}

impl<K: Kind> Line<K> {
    fn open(capacity: usize, is_drained: bool) -> Self {
        let (sender, receiver) = K::open(capacity);
        let (senders, receivers) = (Ends::default(), Ends::default());
        senders.add();
        receivers.add();
        Line {
            capacity,
            is_drained,
            sender: Mutex::new(Some(sender)),
            receiver: Mutex::new(Some(receiver)),
            senders,
            receivers,
            closing: AtomicBool::new(false),
            books: Arc::default(),
            sent: AtomicU64::new(0),
            unwound: AtomicU64::new(0),
            undone: AtomicU64::new(0),
            putting: AtomicUsize::new(0),
            getting: AtomicUsize::new(0),
        }
    }

    pub fn sender(&self) -> Option<Borrowed<'_, K::Sender>> {
        let slot = self.sender.lock().unwrap();
        let end = slot.clone()?;
        self.senders.add();
        Some(Borrowed {
            end: Some(end),
            ends: &self.senders,
            home: None,
        })
    }

    pub fn receiver(&self) -> Option<Borrowed<'_, K::Receiver>> {
        let mut slot = self.receiver.lock().unwrap();
        let end = K::borrow(&mut slot)?;
        if !K::ONE_RECEIVER {
            self.receivers.add();
        }
        Some(Borrowed {
            end: Some(end),
            ends: &self.receivers,
            home: K::ONE_RECEIVER.then_some((&self.receiver, &self.closing)),
        })
    }

    fn close_sender(&self) {
        if let Some(sender) = self.sender.lock().unwrap().take() {
            self.senders.drop(sender);
        }
    }

    fn close_receiver(&self) {
        let mut slot = self.receiver.lock().unwrap();
        self.closing.store(true, SeqCst);
        if let Some(receiver) = slot.take() {
            self.receivers.drop(receiver);
        }
    }

    fn hang_up(&self, receiver_first: bool) {
        if receiver_first && !self.is_drained {
            self.close_receiver();
        }
        self.close_sender();
        if !self.is_drained {
            self.close_receiver();
        }
    }

    /// To be forgotten by who does not unwind.
    pub fn unwinding(&self) -> OnDrop<impl FnMut() + '_> {
        OnDrop(|| _ = self.unwound.fetch_add(1, SeqCst))
    }

    /// How it came out if it was not sent: whether the receivers are gone.
    pub fn was_sent(&self, sent: Result<(), (Item, bool)>) -> Option<bool> {
        let Err((item, is_over)) = sent else {
            self.sent.fetch_add(1, SeqCst);
            return None;
        };
        item.back();
        assert!(!is_over || self.receivers.may_be_gone());
        Some(is_over)
    }

    /// `Err` says whether the senders are gone.
    pub fn was_received(&self, received: Result<Item, bool>) {
        match received {
            Ok(item) => item.got(),
            Err(is_over) => assert!(!is_over || self.senders.may_be_gone()),
        }
    }

    pub fn send(&self, actor: &mut Actor) {
        let Some(sender) = self.sender() else { return };
        for _ in 0..=actor.random.below(3) {
            actor.at();
            let _putting = Inside::of(&self.putting);
            let how = How::any(actor);
            let were_gone = self.receivers.are_gone();
            let item = self.books.item();
            let unwinding = self.unwinding();
            let sent = K::send(sender.end(), item, how);
            mem::forget(unwinding);
            let is_over = self.was_sent(sent);
            assert!(!were_gone || is_over == Some(true));
            assert!(how != How::Wait || is_over != Some(false));
        }
    }

    pub fn receive(&self, actor: &mut Actor) {
        let Some(receiver) = self.receiver() else {
            return;
        };
        for _ in 0..=actor.random.below(3) {
            actor.at();
            let _getting = Inside::of(&self.getting);
            let how = How::any(actor);
            let were_gone = self.senders.are_gone();
            let received = K::receive(receiver.end(), how);
            let is_late = matches!(received, Err(false));
            assert!(!is_late || !were_gone && how != How::Wait);
            self.was_received(received);
        }
    }

    /// Whoever waits with reason is told: he waits for what nobody does any more.
    fn settle(&self) {
        let (getting, putting) = (self.getting.load(SeqCst), self.putting.load(SeqCst));
        let fill = self.sent.load(SeqCst) as i64 - self.books.got() as i64;
        let has_items = fill > 0 || putting > 0;
        let has_room = getting > 0 || self.capacity as u64 > fill.max(0) as u64;
        // For a moment either may be true; for ever, somebody has been forgotten.
        if getting > 0 && has_items || putting > 0 && has_room {
            return;
        }
        self.hang_up(true);
        if let Some(receiver) = self.receiver().filter(|_| putting > 0) {
            self.was_received(K::receive(receiver.end(), How::Within(SHORT)));
        }
    }

    /// Each item has ended once; those that were sent were received, or left when nobody could receive.
    fn check(&self) {
        self.close_sender();
        assert!(self.senders.are_gone());
        if let Some(receiver) = self.receiver().filter(|_| self.is_drained) {
            while let Ok(item) = K::receive(receiver.end(), How::Wait) {
                item.got();
            }
        }
        self.close_receiver();
        assert!(self.receivers.are_gone());
        assert!(self.books.balance(), "{:?}", self.books);
        let unwound = self.unwound.load(SeqCst);
        let left = self.books.dropped().checked_sub(unwound);
        let left = left.expect("what was sent by one who unwound has arrived");
        assert_eq!(self.sent.load(SeqCst), self.books.got() + left);
        assert!(left == 0 || !self.is_drained);
        let most = (self.capacity as u64).saturating_add(self.undone.load(SeqCst));
        assert!(left <= most, "{left} of {}", self.capacity);
    }
}

/// What became of the ends of a channel for one message.
#[derive(Default)]
struct Fate {
    /// May be: set before it happens.
    dropped: AtomicBool,
    left: AtomicBool,
    /// It happened. Not both of these do.
    sent: AtomicBool,
    told: AtomicBool,
}

/// The receiver gets what was sent, or is told that nothing will be, and of nothing that did not happen.
pub fn oneshot(arena: &Arena) {
    #[derive(Default)]
    struct State {
        /// Ends that others are to use.
        senders: Mutex<Vec<Asked>>,
        receivers: Mutex<Vec<Asking>>,
        books: Arc<Books>,
    }
    fn step(state: &State, actor: &mut Actor) {
        match actor.random.below(6) {
            0 | 1 => {
                let (asked, asking) = pair();
                state.senders.lock().unwrap().push(asked);
                asking.receive(actor);
            }
            2 => {
                let (asked, asking) = pair();
                state.receivers.lock().unwrap().push(asking);
                actor.dawdle();
                asked.answer(&state.books, actor.chance(8));
            }
            3 => {
                let asking = state.receivers.lock().unwrap().pop();
                asking.into_iter().for_each(|asking| asking.receive(actor));
            }
            _ => {
                let asked = state.senders.lock().unwrap().pop();
                asked
                    .into_iter()
                    .for_each(|asked| asked.answer(&state.books, actor.chance(8)));
            }
        }
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |state| {
        // Nobody else has them, so who waits for these waits rightly.
        let senders = mem::take(&mut *state.senders.lock().unwrap());
        for (n, asked) in senders.into_iter().enumerate() {
            asked.answer(&state.books, n % 2 == 0);
        }
    });
    for asking in mem::take(&mut *state.receivers.lock().unwrap()) {
        let was_sent = asking.fate.sent.load(SeqCst);
        let end = asking.end.as_ref().unwrap();
        assert_eq!(
            select! { recv(end) -> got => got.map(Item::got).is_ok() },
            was_sent
        );
    }
    assert!(state.books.balance(), "{:?}", state.books);
}

struct Asked {
    end: Option<oneshot::Sender<Item>>,
    fate: Arc<Fate>,
}

struct Asking {
    end: Option<oneshot::Receiver<Item>>,
    fate: Arc<Fate>,
}

fn pair() -> (Asked, Asking) {
    let (sender, receiver) = oneshot::channel();
    let fate = Arc::new(Fate::default());
    let asked = Asked {
        end: Some(sender),
        fate: fate.clone(),
    };
    let end = Some(receiver);
    (asked, Asking { end, fate })
}

impl Asked {
    fn answer(mut self, books: &Arc<Books>, refuses: bool) {
        if refuses {
            return;
        }
        self.fate.dropped.store(true, SeqCst);
        match self.end.take().unwrap().send(books.item()) {
            Ok(()) => {
                self.fate.sent.store(true, SeqCst);
                assert!(!self.fate.told.load(SeqCst));
            }
            Err(error) => {
                assert!(self.fate.left.load(SeqCst));
                error.0.back();
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.fate.dropped.store(true, SeqCst);
    }
}

impl Asking {
    fn receive(mut self, actor: &mut Actor) {
        for _ in 0..3 {
            actor.at();
            let fate = &self.fate;
            let was_sent = fate.sent.load(SeqCst);
            fate.left.store(true, SeqCst);
            let end = self.end.take().unwrap();
            let received = match actor.random.below(5) {
                0 => end.try_recv().map_err(|error| match error {
                    oneshot::TryRecvError::Empty(end) => Some(end),
                    oneshot::TryRecvError::Disconnected => None,
                }),
                1 => end
                    .recv_timeout(actor.short())
                    .map_err(|error| match error {
                        oneshot::RecvTimeoutError::Timeout(end) => Some(end),
                        oneshot::RecvTimeoutError::Disconnected => None,
                    }),
                2 => select! {
                    recv(end) -> got => got.map_err(|_| None),
                    default(actor.short()) => Err(Some(end)),
                },
                _ => end.recv().map_err(|_| None),
            };
            match received {
                Ok(item) => return item.got(),
                Err(None) => {
                    fate.told.store(true, SeqCst);
                    return assert!(!fate.sent.load(SeqCst) && fate.dropped.load(SeqCst));
                }
                Err(Some(end)) => {
                    assert!(!was_sent);
                    fate.left.store(false, SeqCst);
                    self.end = Some(end);
                }
            }
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.fate.left.store(true, SeqCst);
    }
}
