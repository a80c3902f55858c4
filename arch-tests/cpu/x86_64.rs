//! x86-64, System V calling convention.

use std::arch::{asm, naked_asm};

/// What a register holds.
pub type Word = u64;

/// rbx, rbp, r12, r13, r14, r15.
pub const SAVED: usize = 6;

/// Fills every register that a call must preserve with `patterns`, makes the call, and writes what they hold then to
/// `found`.
///
/// # Safety
/// The pointers are valid, and `call` returns: nothing can unwind through here.
#[unsafe(naked)]
pub unsafe extern "C" fn hold(
    patterns: *const [Word; SAVED],
    found: *mut [Word; SAVED],
    call: extern "C" fn(),
) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rsi", // the seventh, which aligns the stack for the call as well
        "mov rbx, [rdi]",
        "mov rbp, [rdi + 8]",
        "mov r12, [rdi + 16]",
        "mov r13, [rdi + 24]",
        "mov r14, [rdi + 32]",
        "mov r15, [rdi + 40]",
        "call rdx",
        "pop rsi",
        "mov [rsi], rbx",
        "mov [rsi + 8], rbp",
        "mov [rsi + 16], r12",
        "mov [rsi + 24], r13",
        "mov [rsi + 32], r14",
        "mov [rsi + 40], r15",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The stack pointer as it was where the call of this function was made.
#[unsafe(naked)]
pub extern "C" fn stack_pointer() -> usize {
    naked_asm!("lea rax, [rsp + 8]", "ret")
}

/// Writes 16 bytes by an instruction that faults unless their address is aligned to 16.
pub fn store_aligned(place: &mut [u8; 16]) {
    // SAFETY: writes to `place` alone; the fault, where there is one, is what the caller looks for.
    unsafe {
        asm!(
            "movaps [{place}], {any}",
            any = in(xmm_reg) 0_f64,
            place = in(reg) place,
            options(nostack),
        );
    }
}

/// Makes the call with the floating-point units rounding down, and puts their control words back.
///
/// # Safety
/// `call` returns: nothing can unwind through here.
#[unsafe(naked)]
pub unsafe extern "C" fn with_rounding_down(call: extern "C" fn()) {
    naked_asm!(
        "sub rsp, 24",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov eax, [rsp]",
        "or eax, 0x2000", // bits 13 and 14: 01 is down
        "mov [rsp + 8], eax",
        "mov ax, [rsp + 4]",
        "or ax, 0x400", // bits 10 and 11: 01 is down
        "mov [rsp + 12], ax",
        "ldmxcsr [rsp + 8]",
        "fldcw [rsp + 12]",
        "call rdi",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 24",
        "ret",
    )
}

/// How each floating-point unit rounds.
pub fn rounding() -> Rounding {
    let (mut sse, mut x87) = (0_u32, 0_u16);
    // SAFETY: stores the two control words where it is told.
    unsafe {
        asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &mut sse, in(reg) &mut x87, options(nostack));
    }
    ((sse >> 13) & 3, u32::from(x87 >> 10) & 3)
}

/// The rounding bits of SSE and of x87.
pub type Rounding = (u32, u32);

pub const TO_NEAREST: Rounding = (0, 0);
pub const DOWN: Rounding = (1, 1);
