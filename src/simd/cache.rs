//! The size of the last cache: outputs beyond it are written past the caches.

use std::sync::OnceLock;

/// The size that is assumed where the processor does not tell.
const UNKNOWN: usize = 32 << 20;

/// Bytes of the last level of cache.
pub(crate) fn last_level_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| detect().unwrap_or(UNKNOWN))
}

/// Reads the cache topology that AMD (leaf 0x8000001D) and Intel (leaf 4) describe alike: EBX holds
/// line size, partitions and ways, ECX the sets, each less one; type 0 in EAX ends the list.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, unused_unsafe, reason = "CPUID became a safe function after the MSRV")]
fn detect() -> Option<usize> {
    use std::arch::x86_64::__cpuid_count;
    // SAFETY: every x86-64 processor has CPUID; an absent leaf returns zeros or the highest one.
    let cpuid = |leaf, subleaf| unsafe { __cpuid_count(leaf, subleaf) };
    let amd = cpuid(0x8000_0000, 0).eax >= 0x8000_001D && cpuid(0x8000_0001, 0).ecx >> 22 & 1 == 1;
    let leaf = if amd { 0x8000_001D } else { 4 };
    if !amd && cpuid(0, 0).eax < leaf {
        return None;
    }
    (0..8)
        .map(|level| cpuid(leaf, level))
        .take_while(|cache| cache.eax & 31 != 0)
        .map(|cache| {
            let field =
                |shift: u32, bits: u32| (cache.ebx >> shift & ((1 << bits) - 1)) as usize + 1;
            field(0, 12) * field(12, 10) * field(22, 10) * (cache.ecx as usize + 1)
        })
        .max()
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Option<usize> {
    None
}
