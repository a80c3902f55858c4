//! Which deadline is next, and whose: a hierarchical timing wheel.
//!
//! After G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7. Choosing the level
//! by the highest bit in which a deadline differs from the present is the radix heap of R. Ahuja et al. (1990), also
//! found in Tokio's timer.
//!
//! The wheel owns items and the order of their deadlines, nothing else. Times are ticks whose length and origin the
//! caller decides. Level `l` has a slot for each value of bits `6 * l .. 6 * l + 6` of a deadline.
//!
//! 1. `elapsed` never goes back and never passes the deadline of an armed entry.
//! 2. An entry is in the level of the highest six-bit group in which its deadline differs from `elapsed`, and in the slot
//!    that this group of its deadline names. So its place follows from its deadline and is not stored.
//! 3. By 2, everything in a level is due before anything in the level above, and within a level the lower slot first;
//!    a slot of level 0 holds one tick.
//! 4. By 2, equal deadlines share a slot. New entries go to its end and a cascade keeps its order, so equal deadlines
//!    fire in the order in which they were armed.
//! 5. Head and tail of a slot mean something only while its bit in `occupied` is set.
//! 6. An entry's generation changes when the entry is let go, and no generation is used twice: a stale key finds nothing.
//!
//! A binary heap would need `log n` steps for what is nearly always cancelled before it fires. A wheel that does not
//! cascade, as in Linux, is cheaper still but fires late by up to an eighth of the wait.

/// How many bits of a deadline one level distinguishes.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;

/// The link that leads nowhere.
const NONE: u32 = u32::MAX;

/// Items of type `K`, each with the tick at which it is due.
pub(crate) struct Wheel<K: Copy> {
    /// The present: the tick last fired, or the latest `now` up to which nothing is left to fire.
    elapsed: u64,
    /// Bit `s` of word `l` is set while slot `s` of level `l` has an entry.
    occupied: [u64; LEVELS],
    slots: Box<[[Slot; SLOTS]; LEVELS]>,
    /// Armed and free entries; it grows to the largest number ever armed at once and stays there, because the
    /// generations in it must outlive every key.
    entries: Vec<Entry<K>>,
    /// The entry let go last, which leads to the others by `next`. Reused first, while it is in the cache.
    free: u32,
    len: usize,
}

/// Names one arming of the wheel that made it. After that has fired or was cancelled it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Slot {
    head: u32,
    tail: u32,
}

struct Entry<K> {
    item: K,
    deadline: u64,
    /// The one armed after it in its slot; of a free entry, the one let go before it.
    next: u32,
    prev: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Place {
    level: usize,
    slot: usize,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel at tick 0.
    pub(crate) fn new() -> Self {
        let unused = Slot {
            head: NONE,
            tail: NONE,
        };
        Wheel {
            elapsed: 0,
            occupied: [0; LEVELS],
            slots: Box::new([[unused; SLOTS]; LEVELS]),
            entries: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// Makes `item` due at tick `deadline`. A deadline in the past counts as the present: the next `pop` finds it.
    ///
    /// # Panics
    /// With 2³² - 1 entries in use.
    pub(crate) fn arm(&mut self, deadline: u64, item: K) -> Key {
        // Without the clamp 1 would not hold, and with it 2 and 3.
        let deadline = deadline.max(self.elapsed);
        let index = self.take(deadline, item);
        self.link(index, deadline);
        self.len += 1;
        Key {
            index,
            generation: self.entries[index as usize].generation,
        }
    }

    /// Takes back what `key` names, unless it has fired or was cancelled before.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<K> {
        let entry = self.entries.get(key.index as usize)?;
        // By 6 a free entry has a generation that no key has.
        (entry.generation == key.generation).then(|| self.remove(key.index))
    }

    /// How many items are armed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is armed.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A tick before which `pop` has nothing to give, `None` if nothing is armed. Never later than the earliest deadline
    /// (a past one counts as the present). It is that deadline if it is within the current 64 ticks or alone in
    /// its slot; otherwise it may be earlier, and a `pop` at that tick brings the answer closer.
    pub(crate) fn next(&self) -> Option<u64> {
        let place = self.earliest()?;
        let slot = self.slots[place.level][place.slot];
        if slot.head == slot.tail {
            // A lone sleeper is slept for once, not once for each level.
            return Some(self.entries[slot.head as usize].deadline);
        }
        Some(self.start(place))
    }

    /// The earliest item due at `now` or before; among equals the one armed first. Call it until it gives `None`.
    ///
    /// The present moves to the item's deadline, with `None` to `now`, and never back. The caller may arm and cancel
    /// between calls; what it arms at `now` or before is given by the same round of calls.
    pub(crate) fn pop(&mut self, now: u64) -> Option<K> {
        let now = now.max(self.elapsed);
        while let Some(place) = self.earliest() {
            let start = self.start(place);
            if start > now {
                break;
            }
            let Slot { head, tail } = self.slots[place.level][place.slot];
            let deadline = self.entries[head as usize].deadline;
            // By 3 the head is the earliest of all, unless others share its slot at a higher level.
            if place.level == 0 || (head == tail && deadline <= now) {
                let item = self.remove(head);
                self.elapsed = deadline;
                return Some(item);
            }
            // By 3 nothing is due before this slot, so the present may enter it.
            self.elapsed = start;
            self.cascade(place);
        }
        self.elapsed = now;
        None
    }

    /// Spreads a slot over the levels below, after the present has moved to its start: this restores 2.
    fn cascade(&mut self, place: Place) {
        self.occupied[place.level] &= !(1 << place.slot);
        let mut index = self.slots[place.level][place.slot].head;
        while index != NONE {
            let Entry { deadline, next, .. } = self.entries[index as usize];
            self.link(index, deadline);
            index = next;
        }
    }

    /// The occupied slot that is due first, by 3.
    fn earliest(&self) -> Option<Place> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        Some(Place {
            level,
            slot: self.occupied[level].trailing_zeros() as usize,
        })
    }

    /// The first tick of an occupied slot: the present in the groups above its level, zero in those below.
    fn start(&self, place: Place) -> u64 {
        let shift = BITS * place.level as u32;
        // The top level has no groups above it.
        let above = u64::MAX.checked_shl(shift + BITS).unwrap_or(0);
        (self.elapsed & above) | (place.slot as u64) << shift
    }

    /// Where 2 wants a deadline.
    fn place(&self, deadline: u64) -> Place {
        const LOWEST: u64 = SLOTS as u64 - 1;
        let level = ((self.elapsed ^ deadline) | LOWEST).ilog2() / BITS;
        let slot = (deadline >> (level * BITS)) & LOWEST;
        Place {
            level: level as usize,
            slot: slot as usize,
        }
    }

    /// Appends an entry to the slot in which it belongs.
    fn link(&mut self, index: u32, deadline: u64) {
        let place = self.place(deadline);
        let slot = &mut self.slots[place.level][place.slot];
        let bit = 1 << place.slot;
        let prev = if self.occupied[place.level] & bit == 0 {
            self.occupied[place.level] |= bit;
            slot.head = index;
            NONE
        } else {
            self.entries[slot.tail as usize].next = index;
            slot.tail
        };
        slot.tail = index;
        let entry = &mut self.entries[index as usize];
        entry.prev = prev;
        entry.next = NONE;
    }

    /// Takes an armed entry out of its slot and lets it go.
    fn remove(&mut self, index: u32) -> K {
        self.unlink(index);
        self.len -= 1;
        self.release(index)
    }

    fn unlink(&mut self, index: u32) {
        let Entry {
            deadline,
            next,
            prev,
            ..
        } = self.entries[index as usize];
        let place = self.place(deadline);
        if prev == NONE && next == NONE {
            self.occupied[place.level] &= !(1 << place.slot);
            return;
        }
        let slot = &mut self.slots[place.level][place.slot];
        match prev {
            NONE => slot.head = next,
            _ => self.entries[prev as usize].next = next,
        }
        match next {
            NONE => slot.tail = prev,
            _ => self.entries[next as usize].prev = prev,
        }
    }

    /// An entry for `item`, in no slot yet.
    fn take(&mut self, deadline: u64, item: K) -> u32 {
        let index = self.free;
        if index == NONE {
            return self.grow(deadline, item);
        }
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        entry.deadline = deadline;
        entry.item = item;
        index
    }

    #[cold]
    fn grow(&mut self, deadline: u64, item: K) -> u32 {
        let index = self.entries.len() as u64;
        assert!(index < u64::from(NONE), "too many timers");
        self.entries.push(Entry {
            item,
            deadline,
            next: NONE,
            prev: NONE,
            generation: 0,
        });
        index as u32
    }

    fn release(&mut self, index: u32) -> K {
        let entry = &mut self.entries[index as usize];
        // The last generation is never armed, so 6 holds for ever: an entry that reaches it is not used again.
        entry.generation += 1;
        if entry.generation != u32::MAX {
            entry.next = self.free;
            self.free = index;
        }
        entry.item
    }
}

#[cfg(test)]
#[path = "../../tests/histories/wheel.rs"]
mod history;

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything due at `now`, in the order in which it fires.
    fn drain<K: Copy>(wheel: &mut Wheel<K>, now: u64) -> Vec<K> {
        std::iter::from_fn(|| wheel.pop(now)).collect()
    }

    /// A wheel whose present is `now`.
    fn wheel_at<K: Copy>(now: u64) -> Wheel<K> {
        let mut wheel = Wheel::new();
        assert!(wheel.pop(now).is_none());
        wheel
    }

    /// Panics unless invariants 1, 2 and 5 hold, the links agree in both directions, and every entry is accounted for.
    fn verify<K: Copy>(wheel: &Wheel<K>) {
        let mut armed = 0;
        for level in 0..LEVELS {
            for slot in (0..SLOTS).filter(|slot| wheel.occupied[level] >> slot & 1 == 1) {
                let Slot { head, tail } = wheel.slots[level][slot];
                let (mut index, mut prev) = (head, NONE);
                while index != NONE {
                    let entry = &wheel.entries[index as usize];
                    let place = wheel.place(entry.deadline);
                    assert_eq!(
                        (place.level, place.slot),
                        (level, slot),
                        "entry in the wrong slot"
                    );
                    assert!(entry.deadline >= wheel.elapsed, "passed over a deadline");
                    assert_eq!(entry.prev, prev, "back link");
                    (prev, index, armed) = (index, entry.next, armed + 1);
                    assert!(armed <= wheel.entries.len(), "a circle");
                }
                assert_eq!(tail, prev, "tail");
            }
        }
        let mut free = 0;
        let mut index = wheel.free;
        while index != NONE {
            (index, free) = (wheel.entries[index as usize].next, free + 1);
        }
        assert_eq!(armed, wheel.len());
        assert_eq!(armed + free, wheel.entries.len(), "an entry is lost");
    }

    #[test]
    fn an_empty_wheel_has_nothing_next_and_nothing_to_pop() {
        let mut wheel = Wheel::<u32>::new();
        assert!(wheel.is_empty());
        assert_eq!(wheel.next(), None);
        assert_eq!(wheel.pop(u64::MAX), None);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_deadline_fires_at_its_tick_and_not_one_earlier() {
        for start in [0, 1, 63, 64, 4095, 4096, 1 << 59, 1 << 60, u64::MAX - 64] {
            for shift in 0..u64::BITS {
                for deadline in [
                    (1u64 << shift) - 1,
                    1 << shift,
                    (1 << shift) + 1,
                    u64::MAX - (1 << shift),
                    u64::MAX,
                ] {
                    if deadline <= start {
                        continue;
                    }
                    let mut wheel = wheel_at(start);
                    wheel.arm(deadline, 'x');
                    assert_eq!(
                        wheel.pop(deadline - 1),
                        None,
                        "from {start}: {deadline} fired early"
                    );
                    verify(&wheel);
                    assert_eq!(
                        wheel.pop(deadline),
                        Some('x'),
                        "from {start}: {deadline} did not fire"
                    );
                    verify(&wheel);
                }
            }
        }
    }

    #[test]
    fn level_boundaries_fire_in_order_whatever_the_order_of_arming() {
        let ticks = [
            0,
            1,
            62,
            63,
            64,
            65,
            127,
            128,
            4095,
            4096,
            4097,
            1 << 18,
            u64::MAX - 1,
            u64::MAX,
        ];
        let mut wheel = Wheel::new();
        for tick in ticks.iter().rev() {
            wheel.arm(*tick, *tick);
        }
        verify(&wheel);
        assert_eq!(drain(&mut wheel, u64::MAX), ticks);
        assert!(wheel.is_empty());
    }

    #[test]
    fn the_last_tick_can_be_armed_cancelled_and_reached() {
        let mut wheel = Wheel::new();
        let first = wheel.arm(u64::MAX, 1);
        wheel.arm(u64::MAX, 2);
        assert_eq!(wheel.pop(u64::MAX - 1), None);
        assert_eq!(wheel.next(), Some(u64::MAX));
        assert_eq!(wheel.cancel(first), Some(1));
        assert_eq!(drain(&mut wheel, u64::MAX), [2]);
        wheel.arm(u64::MAX, 3);
        wheel.arm(0, 4);
        assert_eq!(drain(&mut wheel, u64::MAX), [3, 4]);
    }

    #[test]
    fn equal_deadlines_fire_in_arm_order_across_levels() {
        const DEADLINE: u64 = 300_000;
        let mut wheel = Wheel::new();
        let mut armed = 0..;
        // Each present puts the deadline one level lower than the one before.
        for present in [0, 262_144, 299_008, 299_968, DEADLINE] {
            assert_eq!(wheel.pop(present.min(DEADLINE - 1)), None);
            for number in armed.by_ref().take(100) {
                wheel.arm(DEADLINE, number);
            }
            verify(&wheel);
        }
        assert_eq!(drain(&mut wheel, DEADLINE), Vec::from_iter(0..500));
    }

    #[test]
    fn cancelling_at_the_head_the_middle_and_the_tail_keeps_the_rest_in_order() {
        for deadline in [10, 1_000, 1 << 40] {
            let mut wheel = Wheel::new();
            let keys: Vec<Key> = (0..6).map(|number| wheel.arm(deadline, number)).collect();
            for gone in [2, 0, 5, 3] {
                assert_eq!(wheel.cancel(keys[gone]), Some(gone));
                verify(&wheel);
            }
            wheel.arm(deadline, 6);
            assert_eq!(wheel.len(), 3);
            assert_eq!(drain(&mut wheel, deadline), [1, 4, 6]);
        }
    }

    #[test]
    fn a_stale_key_cancels_nothing() {
        let mut wheel = Wheel::new();
        let fired = wheel.arm(5, 'a');
        assert_eq!(wheel.pop(5), Some('a'));
        assert_eq!(wheel.cancel(fired), None);

        let cancelled = wheel.arm(9, 'b');
        assert_eq!(cancelled.index, fired.index, "the entry is reused");
        assert_eq!(wheel.cancel(fired), None);
        assert_eq!(wheel.cancel(cancelled), Some('b'));
        assert_eq!(wheel.cancel(cancelled), None);

        wheel.arm(9, 'c');
        assert_eq!(wheel.cancel(cancelled), None);
        assert_eq!(drain(&mut wheel, 9), ['c']);
    }

    #[test]
    fn an_entry_whose_generations_are_used_up_is_not_reused() {
        let mut wheel = Wheel::new();
        wheel.arm(1, 'a');
        wheel.entries[0].generation = u32::MAX - 1;
        let last = Key {
            index: 0,
            generation: u32::MAX - 1,
        };
        assert_eq!(wheel.cancel(last), Some('a'));
        assert_eq!(wheel.arm(1, 'b').index, 1);
        assert_eq!(wheel.cancel(last), None);
        assert_eq!(drain(&mut wheel, 1), ['b']);
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_once_and_before_later_ones() {
        let mut wheel = wheel_at(1_000);
        wheel.arm(1_001, 'd');
        wheel.arm(1_000, 'a');
        wheel.arm(3, 'b');
        wheel.arm(0, 'c');
        assert_eq!(wheel.next(), Some(1_000));
        assert_eq!(drain(&mut wheel, 1_000), ['a', 'b', 'c']);
        assert_eq!(drain(&mut wheel, 1_001), ['d']);
    }

    #[test]
    fn what_is_armed_between_pops_takes_its_turn() {
        let mut wheel = Wheel::new();
        wheel.arm(10, 'a');
        let last = wheel.arm(50, 'e');
        assert_eq!(wheel.pop(100), Some('a'));
        wheel.arm(20, 'c');
        wheel.arm(5, 'b');
        wheel.arm(101, 'x');
        wheel.arm(50, 'f');
        assert_eq!(wheel.cancel(last), Some('e'));
        assert_eq!(drain(&mut wheel, 100), ['b', 'c', 'f']);
        assert_eq!(wheel.len(), 1);
    }

    #[test]
    fn time_never_goes_back() {
        let mut wheel = wheel_at(500);
        assert_eq!(wheel.pop(3), None);
        wheel.arm(400, 'a');
        assert_eq!(wheel.next(), Some(500));
        assert_eq!(wheel.pop(0), Some('a'));
        wheel.arm(501, 'b');
        assert_eq!(wheel.pop(0), None);
        assert_eq!(wheel.pop(501), Some('b'));
    }

    #[test]
    fn next_is_the_deadline_itself_when_it_is_alone_in_its_slot() {
        for deadline in [0, 63, 64, 4_097, 123_456_789, u64::MAX - 5] {
            let mut wheel = Wheel::new();
            wheel.arm(deadline, ());
            assert_eq!(wheel.next(), Some(deadline));
        }
    }

    #[test]
    fn next_is_the_start_of_the_slot_when_deadlines_share_it() {
        let mut wheel = wheel_at(100);
        wheel.arm(4096 * 3 + 70, ());
        wheel.arm(4096 * 3 + 10, ());
        assert_eq!(wheel.next(), Some(4096 * 3));
        assert_eq!(wheel.pop(4096 * 3), None);
        assert_eq!(wheel.next(), Some(4096 * 3 + 10));
    }

    #[test]
    fn popping_at_next_reaches_every_deadline_in_at_most_one_step_per_level() {
        let mut random = Random(0x0123_4567_89ab_cdef);
        for _ in 0..2_000 {
            let mut wheel = Wheel::new();
            let deadlines = [(); 4].map(|()| random.magnitude());
            for deadline in deadlines {
                wheel.arm(deadline, deadline);
            }
            let earliest = deadlines.into_iter().min().unwrap();
            let mut steps = 0;
            loop {
                let next = wheel.next().unwrap();
                assert!(next <= earliest, "{next} is later than {earliest}");
                if let Some(fired) = wheel.pop(next) {
                    assert_eq!((fired, next), (earliest, earliest));
                    break;
                }
                assert!(wheel.next().unwrap() > next, "stuck at {next}");
                steps += 1;
            }
            assert!(steps < LEVELS, "{steps} steps");
        }
    }

    #[test]
    fn entries_are_reused_rather_than_added() {
        let mut wheel = Wheel::new();
        for round in 0..1_000 {
            let key = wheel.arm(round + 70, round);
            wheel.arm(round, round);
            assert_eq!(wheel.cancel(key), Some(round));
            assert_eq!(drain(&mut wheel, round), [round]);
        }
        assert_eq!(wheel.entries.len(), 2);
        verify(&wheel);
    }

    #[test]
    fn an_entry_for_two_words_takes_at_most_forty_bytes_and_an_empty_wheel_six_thousand() {
        assert!(size_of::<Entry<[u64; 2]>>() <= 40);
        assert!(size_of::<Wheel<[u64; 2]>>() + size_of::<[[Slot; SLOTS]; LEVELS]>() <= 6_000);
    }

    #[test]
    fn a_random_history_agrees_with_a_sorted_map() {
        for seed in 1..=64 {
            println!("seed {seed}"); // shown when the test fails
            let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
            let bytes = Vec::from_iter((0..16_000).map(|_| random.next() as u8));
            history::run(&bytes, look_inside);
        }
    }

    #[cfg(not(loom))]
    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn every_history_agrees_with_a_sorted_map(bytes: Vec<u8>) {
            history::run(&bytes, look_inside);
        }
    }

    fn look_inside(wheel: &Wheel<u64>, armed: usize, present: u64) {
        verify(wheel);
        assert_eq!((wheel.len(), wheel.elapsed), (armed, present));
    }

    /// Marsaglia's xorshift.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, limit: u64) -> u64 {
            self.next() % limit
        }

        /// Any number of bits is as likely as any other.
        fn magnitude(&mut self) -> u64 {
            let shift = self.below(64);
            self.next() >> shift
        }
    }
}
