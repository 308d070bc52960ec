//! Dispatch from a tier to its lanes: the functions inside which a kernel is compiled with a tier's
//! features.

#![allow(unsafe_code, reason = "calls functions that need the tier's features")]

use super::Kernel;
use super::isa::Isa;
use super::portable::Portable;

#[cfg(target_arch = "x86_64")]
macro_rules! dispatch {
    ($t:ident) => {
        /// Runs a kernel over lanes of this type.
        #[inline]
        pub(crate) fn $t<K: Kernel<$t>>(isa: Isa, kernel: K) -> K::Output {
            use super::avx2::Avx2;
            use super::avx512::Avx512;
            use crate::simd::tier::Tier;

            #[target_feature(enable = "avx2,fma,popcnt")]
            fn avx2<K: Kernel<$t>>(kernel: K) -> K::Output {
                // SAFETY: this function's own features are those of the tier.
                kernel.run(unsafe { Avx2::assume() })
            }
            #[target_feature(enable = "avx2,fma,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512<K: Kernel<$t>>(kernel: K) -> K::Output {
                // SAFETY: this function's own features are those of the tier.
                kernel.run(unsafe { Avx512::assume() })
            }
            match isa.tier() {
                Tier::Portable => kernel.run(Portable::new()),
                // SAFETY: an `Isa` of this tier exists only where the processor has its features.
                Tier::Avx2 => unsafe { avx2(kernel) },
                // SAFETY: an `Isa` of this tier exists only where the processor has its features.
                Tier::Avx512 => unsafe { avx512(kernel) },
            }
        }
    };
}

#[cfg(not(target_arch = "x86_64"))]
macro_rules! dispatch {
    ($t:ident) => {
        /// Runs a kernel over lanes of this type: there is one tier on this architecture.
        #[inline]
        pub(crate) fn $t<K: Kernel<$t>>(_isa: Isa, kernel: K) -> K::Output {
            kernel.run(Portable::new())
        }
    };
}

dispatch!(f32);
dispatch!(f64);
