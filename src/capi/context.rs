//! Contexts: the instruction tier and the threads that calls run on.

use std::ffi::c_char;

use super::handle::{free, lend, make};
use super::places::PointerArgs;
use super::status::{Refusal, drlim_status, guard};
use crate::capi::places::Written;
use crate::parallel::cx::Cx;
use crate::parallel::threads::Threads;
use crate::simd::isa::Isa;
use crate::simd::tier::Tier;

/// Which vector instructions calls use. Results of two tiers differ in their last bits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_tier(pub u32);

impl drlim_tier {
    /// the best of this processor, or what the environment variable DRLIM_ISA names
    pub const DEFAULT: drlim_tier = drlim_tier(0);
    /// what the library was built for: SSE2, NEON
    pub const PORTABLE: drlim_tier = drlim_tier(1);
    /// AVX2, FMA and POPCNT
    pub const AVX2: drlim_tier = drlim_tier(2);
    /// AVX-512 F, BW, DQ and VL
    pub const AVX512: drlim_tier = drlim_tier(3);

    fn of(tier: Tier) -> Self {
        match tier {
            Tier::Portable => drlim_tier::PORTABLE,
            Tier::Avx2 => drlim_tier::AVX2,
            Tier::Avx512 => drlim_tier::AVX512,
        }
    }

    fn isa(self) -> Result<Isa, Refusal> {
        match self {
            drlim_tier::DEFAULT => Ok(Isa::from_env()?),
            drlim_tier::PORTABLE => Ok(Isa::new(Tier::Portable)?),
            drlim_tier::AVX2 => Ok(Isa::new(Tier::Avx2)?),
            drlim_tier::AVX512 => Ok(Isa::new(Tier::Avx512)?),
            drlim_tier(got) => Err(Refusal::Code { arg: "tier", got }),
        }
    }
}

/// The instruction tier and the threads that calls run on. Calls may share a context, from several threads at
/// once. Wherever a context is asked for, null stands for the default one: the best tier (or DRLIM_ISA) and
/// the threads of the process (a thread a core, or RAYON_NUM_THREADS). Results do not depend on threads.
pub struct drlim_context {
    isa: Isa,
    threads: Threads,
    /// Handles are aligned to 8 bytes, so that some pointers that are no handles can be told from them.
    _aligned: [u64; 0],
}

/// Makes a context.
///
/// tier: a DRLIM_TIER. threads: 1 for the calling thread alone, more for that many threads of the context's
/// own, 0 for the threads of the process. context: where its handle goes, to be given back with
/// drlim_context_free(). Refused: a tier that is unknown or that this processor lacks, more threads than 4096
/// or than the system starts, null or misaligned. In a child of a process that forked, calls run on the
/// calling thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_context_new(
    tier: drlim_tier,
    threads: usize,
    context: *mut *mut drlim_context,
) -> drlim_status {
    guard(|| {
        let to = Written::needed("context", context)?;
        let made =
            drlim_context { isa: tier.isa()?, threads: Threads::new(threads)?, _aligned: [] };
        // SAFETY: the caller's to be written.
        unsafe { to.put(make(made)) };
        Ok(())
    })
}

/// Gives a context back and ends its threads. Null is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_context_free(context: *mut drlim_context) {
    // SAFETY: the caller gives up a handle that it has from drlim_context_new().
    unsafe { free(context) };
}

/// The tier and the number of threads of a context, or with null of the default one.
///
/// tier, threads: written; each may be null. Refused: misaligned pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_context_describe(
    context: *const drlim_context,
    tier: *mut drlim_tier,
    threads: *mut usize,
) -> drlim_status {
    guard(|| {
        let mut places = PointerArgs::new();
        let tier = places.result("tier", tier)?;
        let threads = places.result("threads", threads)?;
        places.check_apart()?;
        // SAFETY: null, or a handle that has not been given back.
        let context = unsafe { lend("context", context)? };
        let isa = context.map_or_else(Isa::default, |context| context.isa);
        let count = match context {
            Some(context) => context.threads.count(),
            None => Threads::new(0)?.count(),
        };
        // SAFETY: each is null, or the caller's to be written.
        unsafe {
            tier.put(drlim_tier::of(isa.tier()));
            threads.put(count);
        }
        Ok(())
    })
}

/// The name of a tier: "portable", "avx2" or "avx512"; null for any other code. The text belongs to the
/// library and stays.
#[unsafe(no_mangle)]
pub extern "C" fn drlim_tier_name(tier: drlim_tier) -> *const c_char {
    match tier {
        drlim_tier::PORTABLE => c"portable".as_ptr(),
        drlim_tier::AVX2 => c"avx2".as_ptr(),
        drlim_tier::AVX512 => c"avx512".as_ptr(),
        _ => std::ptr::null(),
    }
}

/// The version of the library, such as "0.1.0". The text belongs to the library and stays.
#[unsafe(no_mangle)]
pub extern "C" fn drlim_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Runs a call on the tier and threads of a context, or with null of the default one.
///
/// # Safety
/// `context` is null, misaligned, or a handle that has not been given back.
pub(super) unsafe fn run<R: Send>(
    context: *const drlim_context,
    call: impl FnOnce(&Cx) -> R + Send,
) -> Result<R, Refusal> {
    // SAFETY: as promised.
    match unsafe { lend("context", context)? } {
        Some(context) => Ok(context.threads.run(context.isa, call)),
        None => Ok(Threads::new(0)?.run(Isa::default(), call)),
    }
}
