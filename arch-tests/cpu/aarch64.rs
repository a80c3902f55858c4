//! AArch64, AAPCS64 calling convention.

use std::arch::{asm, naked_asm};

/// What a register holds.
pub type Word = u64;

/// x19 to x29, and the low halves of v8 to v15.
pub const SAVED: usize = 19;

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
        "stp x29, x30, [sp, #-176]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "str x1, [sp, #160]",
        "ldp x19, x20, [x0]",
        "ldp x21, x22, [x0, #16]",
        "ldp x23, x24, [x0, #32]",
        "ldp x25, x26, [x0, #48]",
        "ldp x27, x28, [x0, #64]",
        "ldp d8, d9, [x0, #80]",
        "ldp d10, d11, [x0, #96]",
        "ldp d12, d13, [x0, #112]",
        "ldp d14, d15, [x0, #128]",
        "ldr x29, [x0, #144]",
        "blr x2",
        "ldr x1, [sp, #160]",
        "stp x19, x20, [x1]",
        "stp x21, x22, [x1, #16]",
        "stp x23, x24, [x1, #32]",
        "stp x25, x26, [x1, #48]",
        "stp x27, x28, [x1, #64]",
        "stp d8, d9, [x1, #80]",
        "stp d10, d11, [x1, #96]",
        "stp d12, d13, [x1, #112]",
        "stp d14, d15, [x1, #128]",
        "str x29, [x1, #144]",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #176",
        "ret",
    )
}

/// The stack pointer as it was where the call of this function was made.
#[unsafe(naked)]
pub extern "C" fn stack_pointer() -> usize {
    naked_asm!("mov x0, sp", "ret")
}

/// Writes 16 bytes by one instruction. (It would not fault here: only the stack pointer must be aligned.)
pub fn store_aligned(place: &mut [u8; 16]) {
    // SAFETY: writes to `place` alone.
    unsafe {
        asm!(
            "str {any:q}, [{place}]",
            any = in(vreg) 0_f64,
            place = in(reg) place,
            options(nostack),
        );
    }
}

/// Makes the call with the floating-point unit rounding down, and puts its control word back.
///
/// # Safety
/// `call` returns: nothing can unwind through here.
#[unsafe(naked)]
pub unsafe extern "C" fn with_rounding_down(call: extern "C" fn()) {
    naked_asm!(
        "stp x29, x30, [sp, #-32]!",
        "mrs x9, fpcr",
        "str x9, [sp, #16]",
        "orr x9, x9, #0x800000", // bits 22 and 23: 10 is down
        "msr fpcr, x9",
        "blr x0",
        "ldr x9, [sp, #16]",
        "msr fpcr, x9",
        "ldp x29, x30, [sp], #32",
        "ret",
    )
}

/// How the floating-point unit rounds.
pub fn rounding() -> Rounding {
    let control: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nostack, nomem)) };
    (control >> 22) & 3
}

/// The rounding bits.
pub type Rounding = u64;

pub const TO_NEAREST: Rounding = 0;
pub const DOWN: Rounding = 2;
