//! Small programs as data: instructions with labels, of which the jumps are counted at the end.
//!
//! Two machines: classic BPF (accumulator and index, as the 1993 paper has it) and eBPF (ten
//! registers). Only what steering needs; encodings are those of `linux/bpf_common.h` and
//! `linux/bpf.h`.

use super::sys::bpf::Insn;

/// A place in a program, to be jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Label(usize);

/// A jump whose distance is not known yet.
struct Fixup {
    at: usize,
    to: Label,
}

/// Labels and the jumps towards them; shared by both machines.
#[derive(Default)]
struct Labels {
    places: Vec<Option<usize>>,
    fixups: Vec<Fixup>,
}

impl Labels {
    fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// Distance of each jump, counted from the instruction after it.
    fn distances(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.fixups.iter().map(|fixup| {
            let place = self.places[fixup.to.0].expect("every label of a program is bound");
            let distance = place.checked_sub(fixup.at + 1).expect("programs jump forwards only");
            (fixup.at, distance)
        })
    }
}

/// Classic BPF on the payload of a datagram; the value returned is the index of a socket.
#[derive(Default)]
pub(crate) struct Classic {
    code: Vec<libc::sock_filter>,
    labels: Labels,
}

impl Classic {
    pub(crate) fn label(&mut self) -> Label {
        self.labels.label()
    }

    /// The next instruction is what `label` means.
    pub(crate) fn bind(&mut self, label: Label) {
        self.labels.places[label.0] = Some(self.code.len());
    }

    fn push(&mut self, code: u32, k: u32) {
        self.code.push(libc::sock_filter { code: code as u16, jt: 0, jf: 0, k });
    }

    /// A = length of the payload.
    pub(crate) fn load_length(&mut self) {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0);
    }

    /// A = `size` bytes at `at`, big endian; past the end the program returns 0.
    pub(crate) fn load(&mut self, size: u32, at: u32) {
        self.push(libc::BPF_LD | size | libc::BPF_ABS, at);
    }

    /// A = `size` bytes at X + `at`.
    pub(crate) fn load_at_x(&mut self, size: u32, at: u32) {
        self.push(libc::BPF_LD | size | libc::BPF_IND, at);
    }

    /// A = memory word `word`.
    pub(crate) fn recall(&mut self, word: u32) {
        self.push(libc::BPF_LD | libc::BPF_MEM, word);
    }

    /// Memory word `word` = A.
    pub(crate) fn remember(&mut self, word: u32) {
        self.push(libc::BPF_ST, word);
    }

    /// X = A.
    pub(crate) fn move_to_x(&mut self) {
        self.push(libc::BPF_MISC | libc::BPF_TAX, 0);
    }

    /// X = `k`.
    pub(crate) fn set_x(&mut self, k: u32) {
        self.push(libc::BPF_LDX | libc::BPF_IMM, k);
    }

    /// A = A `op` `k`, where `op` is one of `BPF_ADD` …
    pub(crate) fn compute(&mut self, op: u32, k: u32) {
        self.push(libc::BPF_ALU | op | libc::BPF_K, k);
    }

    /// A = A `op` X.
    pub(crate) fn compute_x(&mut self, op: u32) {
        self.push(libc::BPF_ALU | op | libc::BPF_X, 0);
    }

    /// Goes to `to` if A `condition` `k` holds, where `condition` is one of `BPF_JEQ` …
    pub(crate) fn jump_if(&mut self, condition: u32, k: u32, to: Label) {
        // A conditional jump reaches 255 instructions, an unconditional one any distance. The
        // condition that holds falls on the jump, the other one skips it.
        self.code.push(libc::sock_filter {
            code: (libc::BPF_JMP | condition | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k,
        });
        self.jump(to);
    }

    /// Goes to `to` if A < X.
    pub(crate) fn jump_if_below_x(&mut self, to: Label) {
        self.code.push(libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_X) as u16,
            jt: 1,
            jf: 0,
            k: 0,
        });
        self.jump(to);
    }

    /// Goes to `to`.
    pub(crate) fn jump(&mut self, to: Label) {
        self.labels.fixups.push(Fixup { at: self.code.len(), to });
        self.push(libc::BPF_JMP | libc::BPF_JA, 0);
    }

    /// Returns A.
    pub(crate) fn return_a(&mut self) {
        self.push(libc::BPF_RET | libc::BPF_A, 0);
    }

    /// Returns `k`.
    pub(crate) fn return_constant(&mut self, k: u32) {
        self.push(libc::BPF_RET | libc::BPF_K, k);
    }

    /// The program.
    pub(crate) fn finish(mut self) -> Vec<libc::sock_filter> {
        for (at, distance) in self.labels.distances() {
            self.code[at].k = distance as u32;
        }
        self.code
    }
}

/// A register of eBPF: R0 holds results, R1 to R5 arguments, R6 to R9 survive calls, R10 is the
/// stack's upper end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reg {
    R0 = 0,
    R1 = 1,
    R2 = 2,
    R3 = 3,
    R4 = 4,
    R5 = 5,
    R6 = 6,
    R7 = 7,
    R8 = 8,
    R9 = 9,
    Stack = 10,
}

// Classes and modes of linux/bpf.h that classic BPF does not have.
const ALU64: u32 = 0x07;
const STX: u32 = 0x03;
const ST: u32 = 0x02;
const LDX: u32 = 0x01;
const MEM: u32 = 0x60;
const MOV: u32 = 0xb0;
const END: u32 = 0xd0;
const TO_BIG_ENDIAN: u32 = 0x08;
const CALL: u32 = 0x80;
const EXIT: u32 = 0x90;
const DOUBLE: u32 = 0x18;
const PSEUDO_MAP_FD: u8 = 1;
const JNE: u32 = 0x50;
const FROM_REGISTER: u32 = 0x08;

/// Sizes of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Size {
    Byte = 0x10,
    Half = 0x08,
    Word = 0x00,
    Double = 0x18,
}

/// eBPF.
#[derive(Default)]
pub(crate) struct Extended {
    code: Vec<Insn>,
    labels: Labels,
}

impl Extended {
    pub(crate) fn label(&mut self) -> Label {
        self.labels.label()
    }

    /// The next instruction is what `label` means.
    pub(crate) fn bind(&mut self, label: Label) {
        self.labels.places[label.0] = Some(self.code.len());
    }

    fn push(&mut self, code: u32, to: Reg, from: u8, offset: i16, immediate: i32) {
        let registers = from << 4 | to as u8;
        self.code.push(Insn { code: code as u8, registers, offset, immediate });
    }

    /// `to` = `value`.
    pub(crate) fn set(&mut self, to: Reg, value: i32) {
        self.push(ALU64 | MOV, to, 0, 0, value);
    }

    /// `to` = `from`.
    pub(crate) fn copy(&mut self, to: Reg, from: Reg) {
        self.push(ALU64 | MOV | FROM_REGISTER, to, from as u8, 0, 0);
    }

    /// `to` = the stack's address at `offset`, which is negative.
    pub(crate) fn stack_address(&mut self, to: Reg, offset: i16) {
        self.copy(to, Reg::Stack);
        self.compute(libc::BPF_ADD, to, i32::from(offset));
    }

    /// `to` = `to` `op` `value`.
    pub(crate) fn compute(&mut self, op: u32, to: Reg, value: i32) {
        self.push(ALU64 | op, to, 0, 0, value);
    }

    /// `to` = `to` `op` `from`.
    pub(crate) fn compute_from(&mut self, op: u32, to: Reg, from: Reg) {
        self.push(ALU64 | op | FROM_REGISTER, to, from as u8, 0, 0);
    }

    /// `to` = its low 16 bits, turned from network order to that of the machine.
    pub(crate) fn network_half_to_host(&mut self, to: Reg) {
        self.push(libc::BPF_ALU | END | TO_BIG_ENDIAN, to, 0, 0, 16);
    }

    /// `to` = what stands at `from` + `offset`, zero-extended.
    pub(crate) fn load(&mut self, size: Size, to: Reg, from: Reg, offset: i16) {
        self.push(LDX | size as u32 | MEM, to, from as u8, offset, 0);
    }

    /// What stands at the stack's `offset` = `from`.
    pub(crate) fn store(&mut self, size: Size, offset: i16, from: Reg) {
        self.push(STX | size as u32 | MEM, Reg::Stack, from as u8, offset, 0);
    }

    /// What stands at the stack's `offset` = `value`.
    pub(crate) fn store_constant(&mut self, size: Size, offset: i16, value: i32) {
        self.push(ST | size as u32 | MEM, Reg::Stack, 0, offset, value);
    }

    /// `to` = the map with this descriptor.
    pub(crate) fn load_map(&mut self, to: Reg, descriptor: i32) {
        self.push(DOUBLE, to, PSEUDO_MAP_FD, 0, descriptor);
        self.push(0, Reg::R0, 0, 0, 0);
    }

    /// R0 = helper(R1, …, R5).
    pub(crate) fn call(&mut self, helper: i32) {
        self.push(libc::BPF_JMP | CALL, Reg::R0, 0, 0, helper);
    }

    /// Goes to `to` if `register` `condition` `value`, unsigned.
    pub(crate) fn jump_if(&mut self, condition: u32, register: Reg, value: i32, to: Label) {
        self.labels.fixups.push(Fixup { at: self.code.len(), to });
        self.push(libc::BPF_JMP | condition, register, 0, 0, value);
    }

    /// Goes to `to` if `register` is not `value`.
    pub(crate) fn jump_unless(&mut self, register: Reg, value: i32, to: Label) {
        self.jump_if(JNE, register, value, to);
    }

    /// Goes to `to`.
    pub(crate) fn jump(&mut self, to: Label) {
        self.labels.fixups.push(Fixup { at: self.code.len(), to });
        self.push(libc::BPF_JMP | libc::BPF_JA, Reg::R0, 0, 0, 0);
    }

    /// Returns R0.
    pub(crate) fn exit(&mut self) {
        self.push(libc::BPF_JMP | EXIT, Reg::R0, 0, 0, 0);
    }

    /// The program.
    pub(crate) fn finish(mut self) -> Vec<Insn> {
        for (at, distance) in self.labels.distances() {
            self.code[at].offset = i16::try_from(distance).expect("a program of a few dozen steps");
        }
        self.code
    }
}
