//! Any bytes as a delta, against a base of the size it asks for.

use pack::delta::{self, Instruction, Instructions};

const BYTES_MAX: u64 = 1 << 20;

pub(crate) fn run(delta: &[u8]) {
    let Ok((base_size, result_size, _)) = delta::sizes(delta) else { return };
    if base_size > BYTES_MAX {
        return;
    }
    let base: Vec<u8> = (0..=255).cycle().take(base_size as usize).collect();
    let mut out = Vec::new();
    if delta::apply(&base, delta, &mut out, BYTES_MAX).is_err() {
        return;
    }
    assert_eq!(out.len() as u64, result_size);
    let mut again = Vec::new();
    for instruction in Instructions::new(delta).expect("it was applied") {
        match instruction.expect("it was applied") {
            Instruction::Copy { offset, len } => again.extend_from_slice(&base[offset..][..len]),
            Instruction::Insert(bytes) => again.extend_from_slice(bytes),
        }
    }
    assert_eq!(again, out);
}
