//! The short names that workloads give to versions of their templates.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Serialize;

/// A name for a template: stable while the template is, different (as good as always) when it is not. `collisions` makes another name
/// when this one is taken by something else. Only Coracle's own names have to be stable, so this is not upstream's hash of Go's memory.
pub fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    hash(template, collisions)
}

/// As [`template_hash`], for anything that serialises in a stable order.
pub fn hash(value: &impl Serialize, collisions: i32) -> String {
    // Maps are sorted, so equal values have equal bytes.
    let mut sum = fnv(0x811c_9dc5, &serde_json::to_vec(value).unwrap_or_default());
    if collisions > 0 {
        sum = fnv(sum, &collisions.to_le_bytes());
    }
    safe(sum)
}

fn fnv(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Letters that spell no words, as upstream does.
fn safe(sum: u32) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    sum.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}
