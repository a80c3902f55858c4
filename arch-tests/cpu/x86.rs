//! x86 of 32 bits, System V calling convention.

use std::arch::{asm, naked_asm};

/// What a register holds.
pub type Word = u32;

/// ebx, ebp, esi, edi.
pub const SAVED: usize = 4;

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
        "push ebp",
        "push ebx",
        "push esi",
        "push edi",
        "sub esp, 12", // 16 bytes of registers, 4 of the return address, and these: aligned for the call
        "mov eax, [esp + 32]",
        "mov ecx, [esp + 40]",
        "mov ebx, [eax]",
        "mov ebp, [eax + 4]",
        "mov esi, [eax + 8]",
        "mov edi, [eax + 12]",
        "call ecx",
        "mov eax, [esp + 36]",
        "mov [eax], ebx",
        "mov [eax + 4], ebp",
        "mov [eax + 8], esi",
        "mov [eax + 12], edi",
        "add esp, 12",
        "pop edi",
        "pop esi",
        "pop ebx",
        "pop ebp",
        "ret",
    )
}

/// The stack pointer as it was where the call of this function was made.
#[unsafe(naked)]
pub extern "C" fn stack_pointer() -> usize {
    naked_asm!("lea eax, [esp + 4]", "ret")
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
        "sub esp, 28",
        "stmxcsr [esp]",
        "fnstcw [esp + 4]",
        "mov eax, [esp]",
        "or eax, 0x2000", // bits 13 and 14: 01 is down
        "mov [esp + 8], eax",
        "mov ax, [esp + 4]",
        "or ax, 0x400", // bits 10 and 11: 01 is down
        "mov [esp + 12], ax",
        "ldmxcsr [esp + 8]",
        "fldcw [esp + 12]",
        "mov eax, [esp + 32]",
        "call eax",
        "ldmxcsr [esp]",
        "fldcw [esp + 4]",
        "add esp, 28",
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
