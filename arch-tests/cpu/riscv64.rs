//! RISC-V of 64 bits with double-precision floating point, calling convention LP64D.

use std::arch::{asm, naked_asm};

/// What a register holds.
pub type Word = u64;

/// s0 to s11, and fs0 to fs11.
pub const SAVED: usize = 24;

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
    // Through memory as a whole, in the order of the array: once what was there away, once the patterns in, once what is found
    // out, once what was there back.
    naked_asm!(
        ".macro move_saved integer, float, base",
        r"\integer s0, 0(\base)",
        r"\integer s1, 8(\base)",
        r"\integer s2, 16(\base)",
        r"\integer s3, 24(\base)",
        r"\integer s4, 32(\base)",
        r"\integer s5, 40(\base)",
        r"\integer s6, 48(\base)",
        r"\integer s7, 56(\base)",
        r"\integer s8, 64(\base)",
        r"\integer s9, 72(\base)",
        r"\integer s10, 80(\base)",
        r"\integer s11, 88(\base)",
        r"\float fs0, 96(\base)",
        r"\float fs1, 104(\base)",
        r"\float fs2, 112(\base)",
        r"\float fs3, 120(\base)",
        r"\float fs4, 128(\base)",
        r"\float fs5, 136(\base)",
        r"\float fs6, 144(\base)",
        r"\float fs7, 152(\base)",
        r"\float fs8, 160(\base)",
        r"\float fs9, 168(\base)",
        r"\float fs10, 176(\base)",
        r"\float fs11, 184(\base)",
        ".endm",
        "addi sp, sp, -208",
        "sd ra, 200(sp)",
        "sd a1, 192(sp)",
        "move_saved sd, fsd, sp",
        "move_saved ld, fld, a0",
        "jalr a2",
        "ld a1, 192(sp)",
        "move_saved sd, fsd, a1",
        "move_saved ld, fld, sp",
        "ld ra, 200(sp)",
        "addi sp, sp, 208",
        "ret",
        ".purgem move_saved",
    )
}

/// The stack pointer as it was where the call of this function was made.
#[unsafe(naked)]
pub extern "C" fn stack_pointer() -> usize {
    naked_asm!("mv a0, sp", "ret")
}

/// Writes 8 bytes of 16 by one instruction. (It would not fault here: the convention asks for the alignment.)
pub fn store_aligned(place: &mut [u8; 16]) {
    // SAFETY: writes to `place` alone.
    unsafe {
        asm!(
            "fsd {any}, 0({place})",
            any = in(freg) 0_f64,
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
        "addi sp, sp, -16",
        "sd ra, 8(sp)",
        "fsrmi t0, 2", // down; answers with what was there
        "sd t0, 0(sp)",
        "jalr a0",
        "ld t0, 0(sp)",
        "fsrm t0",
        "ld ra, 8(sp)",
        "addi sp, sp, 16",
        "ret",
    )
}

/// How the floating-point unit rounds.
pub fn rounding() -> Rounding {
    let mode: u64;
    // SAFETY: reads a register.
    unsafe { asm!("frrm {}", out(reg) mode, options(nostack, nomem)) };
    mode
}

/// The rounding mode.
pub type Rounding = u64;

pub const TO_NEAREST: Rounding = 0;
pub const DOWN: Rounding = 2;
