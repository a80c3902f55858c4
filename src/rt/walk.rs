//! From a copy of a stack to the calls on it, by the unwind tables of what is loaded.
//!
//! 1. Nothing but the copy and the tables is read: whatever the copy has in it, the walk ends, and touches nothing that is not there.
//! 2. It ends with the copy. Below the first frame of a task's stack there is that of whoever runs it, which is on another.

use crate::sys::context::Registers;
use crate::sys::objects::{with_object_at, Object};
#[cfg(target_arch = "aarch64")]
use gimli::Vendor;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, Evaluation, EvaluationResult,
    Register, RegisterRule, UnwindContext, UnwindExpression, UnwindSection, UnwindTableRow, Value,
};

type Bytes<'a> = EndianSlice<'a, gimli::NativeEndian>;

/// More steps than an expression of a table takes.
const STEPS: u32 = 1000;
/// In bytes.
const WORD: u8 = 8;
/// Beyond these a return address has bits by which the processor knows that it is one (pointer authentication).
const ADDRESS: u64 = if cfg!(target_arch = "aarch64") {
    (1 << 48) - 1
} else {
    u64::MAX
};

/// A part of a stack, as it was.
#[derive(Clone, Copy)]
pub(super) struct Copied<'a> {
    /// The address of its first word.
    pub(super) start: usize,
    pub(super) words: &'a [u64],
}

impl Copied<'_> {
    fn read(&self, address: u64) -> Option<u64> {
        let offset = (address as usize).checked_sub(self.start)?;
        let (word, within) = (offset / WORD as usize, offset % WORD as usize);
        self.words.get(word).filter(|_| within == 0).copied()
    }
}

/// The addresses of the instructions at which the calls stand, innermost first; so many at the most.
pub(super) fn walk(registers: Registers, stack: Copied<'_>, most: usize) -> Vec<usize> {
    let mut walker = Walker {
        registers: registers.0.map(Some),
        stack,
        context: UnwindContext::new(),
    };
    let mut addresses = Vec::new();
    // Whether the next instruction is the one at which it stands, and not the one to which a call returns.
    let mut is_exact = true;
    while addresses.len() < most {
        let Some(next) = walker.registers[Registers::INSTRUCTION].filter(|&next| next != 0) else {
            break;
        };
        let at = if is_exact { next } else { next - 1 };
        addresses.push(at as usize);
        let before = walker.registers[Registers::STACK_POINTER];
        match walker.step(at) {
            // A function that has put nothing on the stack is called by nobody but one that has.
            Some(interrupted)
                if is_exact || walker.registers[Registers::STACK_POINTER] > before =>
            {
                is_exact = interrupted;
            }
            _ => break,
        }
    }
    addresses
}

struct Walker<'a> {
    /// Of the call that is looked at, as far as they are known.
    registers: [Option<u64>; Registers::COUNT],
    stack: Copied<'a>,
    context: UnwindContext<usize>,
}

impl Walker<'_> {
    /// Goes from the call that stands at this instruction to its caller: whether that one was interrupted by it, instead of calling. `None`
    /// if there is no caller, or it is not known.
    fn step(&mut self, at: u64) -> Option<bool> {
        with_object_at(at as usize, |object| self.step_in(object, at))?
    }

    fn step_in(&mut self, object: &Object<'_>, at: u64) -> Option<bool> {
        let index_at = object.frames()?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(index_at as u64);
        let index = EhFrameHdr::new(object.contents(index_at)?, gimli::NativeEndian);
        let index = index.parse(&bases, WORD).ok()?;
        let tables_at = index.eh_frame_ptr().direct().ok()?;
        let bases = bases.set_eh_frame(tables_at);
        #[cfg_attr(not(target_arch = "aarch64"), allow(unused_mut))]
        let mut tables = EhFrame::new(object.contents(tables_at as usize)?, gimli::NativeEndian);
        #[cfg(target_arch = "aarch64")]
        tables.set_vendor(Vendor::AArch64);
        let table = index.table()?;
        let entry = table
            .fde_for_address(&tables, &bases, at, EhFrame::cie_from_offset)
            .ok()?;
        let row = entry
            .unwind_info_for_address(&tables, &bases, &mut self.context, at)
            .ok()?;
        let frame = Frame {
            registers: &self.registers,
            stack: self.stack,
            tables,
            encoding: entry.cie().encoding(),
        };
        let mut caller = frame.caller(row)?;
        let back = *caller.get(entry.cie().return_address_register().0 as usize)?;
        caller[Registers::INSTRUCTION] = Some(back? & ADDRESS);
        self.registers = caller;
        Some(entry.is_signal_trampoline())
    }
}

/// One call, and what its table is about.
struct Frame<'a> {
    registers: &'a [Option<u64>; Registers::COUNT],
    stack: Copied<'a>,
    tables: EhFrame<Bytes<'a>>,
    encoding: gimli::Encoding,
}

impl Frame<'_> {
    fn register(&self, register: Register) -> Option<u64> {
        *self.registers.get(register.0 as usize)?
    }

    /// The registers of the caller. Those that cannot be known are not; but where its frame is has to be.
    fn caller(&self, row: &UnwindTableRow<usize>) -> Option<[Option<u64>; Registers::COUNT]> {
        let frame = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.register(*register)?.wrapping_add_signed(*offset)
            }
            CfaRule::Expression(expression) => self.evaluate(expression, None)?,
        };
        let mut caller = *self.registers;
        caller[Registers::STACK_POINTER] = Some(frame);
        for (register, rule) in row.registers() {
            let at = |offset: &i64| frame.wrapping_add_signed(*offset);
            let value = match rule {
                RegisterRule::SameValue => continue,
                RegisterRule::Offset(offset) => self.stack.read(at(offset)),
                RegisterRule::ValOffset(offset) => Some(at(offset)),
                RegisterRule::Register(other) => self.register(*other),
                RegisterRule::Expression(expression) => self
                    .evaluate(expression, Some(frame))
                    .and_then(|address| self.stack.read(address)),
                RegisterRule::ValExpression(expression) => self.evaluate(expression, Some(frame)),
                _ => None,
            };
            if let Some(place) = caller.get_mut(register.0 as usize) {
                *place = value;
            }
        }
        Some(caller)
    }

    fn evaluate(&self, expression: &UnwindExpression<usize>, first: Option<u64>) -> Option<u64> {
        let expression = expression.get(&self.tables).ok()?;
        let mut evaluation: Evaluation<Bytes<'_>> = expression.evaluation(self.encoding);
        evaluation.set_max_iterations(STEPS);
        if let Some(first) = first {
            evaluation.set_initial_value(first);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresMemory { address, size, .. } if size == WORD => {
                    let word = Value::Generic(self.stack.read(address)?);
                    evaluation.resume_with_memory(word).ok()?
                }
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = Value::Generic(self.register(register)?);
                    evaluation.resume_with_register(value).ok()?
                }
                _ => return None,
            };
        }
        match evaluation.as_result().first()?.location {
            gimli::Location::Address { address } => Some(address),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn of_a_copy_without_sense_a_walk_tells_where_it_begins_and_ends() {
        let words: Vec<u64> = (0..512).map(|word| 0x10_0000 + word * 8).collect();
        let start = 0x10_0000;
        let here = of_a_copy_without_sense_a_walk_tells_where_it_begins_and_ends as *const ();
        for at in [here as u64, 0x1234, u64::MAX, 1] {
            for bottom in [start as u64, start as u64 + 4088, 0, u64::MAX - 7] {
                let mut registers = Registers([black_box(bottom); Registers::COUNT]);
                registers.0[Registers::INSTRUCTION] = at;
                let stack = Copied {
                    start,
                    words: &words,
                };
                let walked = walk(registers, stack, 10);
                assert_eq!(walked[0], at as usize);
                assert!(walked.len() <= 10);
            }
        }
        let nowhere = Registers([0; Registers::COUNT]);
        assert!(walk(nowhere, Copied { start, words: &[] }, 10).is_empty());
    }

    #[test]
    fn a_word_is_read_where_it_is_in_the_copy_and_nowhere_else() {
        let stack = Copied {
            start: 64,
            words: &[5, 6],
        };
        assert_eq!((stack.read(64), stack.read(72)), (Some(5), Some(6)));
        for elsewhere in [0, 56, 63, 65, 80, u64::MAX] {
            assert_eq!(stack.read(elsewhere), None, "{elsewhere}");
        }
    }
}
