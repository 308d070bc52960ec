//! The tier of AVX2, FMA and POPCNT: 8 `f32` or 4 `f64`, masks as lanes of all ones.

#![allow(unsafe_code, reason = "every intrinsic stands behind the token of the tier")]

use std::arch::x86_64::*;
use std::ops::{BitAnd, BitOr, Not};

use super::x86::{lane_operations, vector_operators};
use super::{Simd, sealed};

/// The token of the tier: proof that the processor has AVX2, FMA and POPCNT.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl sealed::Sealed for Avx2 {}

impl Avx2 {
    /// # Safety
    /// The processor has AVX2, FMA and POPCNT.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Self {
        Avx2(())
    }
}

#[derive(Clone, Copy)]
pub struct F32s(__m256);
#[derive(Clone, Copy)]
pub struct F64s(__m256d);
/// All bits of a lane set, or none.
#[derive(Clone, Copy)]
pub struct MaskF32(__m256);
/// All bits of a lane set, or none.
#[derive(Clone, Copy)]
pub struct MaskF64(__m256d);

vector_operators!(F32s, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_div_ps, |v| {
    _mm256_xor_ps(v, _mm256_set1_ps(-0.0))
});
vector_operators!(F64s, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_div_pd, |v| {
    _mm256_xor_pd(v, _mm256_set1_pd(-0.0))
});

macro_rules! mask_operators {
    ($mask:ident, $and:ident, $or:ident, $xor:ident, $ones:expr) => {
        impl BitAnd for $mask {
            type Output = Self;
            #[inline(always)]
            fn bitand(self, other: Self) -> Self {
                // SAFETY: a mask of the tier exists, so the processor has the tier.
                unsafe { Self($and(self.0, other.0)) }
            }
        }
        impl BitOr for $mask {
            type Output = Self;
            #[inline(always)]
            fn bitor(self, other: Self) -> Self {
                // SAFETY: a mask of the tier exists, so the processor has the tier.
                unsafe { Self($or(self.0, other.0)) }
            }
        }
        impl Not for $mask {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                // SAFETY: a mask of the tier exists, so the processor has the tier.
                unsafe { Self($xor(self.0, $ones)) }
            }
        }
    };
}
mask_operators!(
    MaskF32,
    _mm256_and_ps,
    _mm256_or_ps,
    _mm256_xor_ps,
    _mm256_castsi256_ps(_mm256_set1_epi32(-1))
);
mask_operators!(
    MaskF64,
    _mm256_and_pd,
    _mm256_or_pd,
    _mm256_xor_pd,
    _mm256_castsi256_pd(_mm256_set1_epi64x(-1))
);

/// All ones in the 32-bit lanes below `n`.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn first_of_8(n: usize) -> __m256i {
    let n = n.min(8) as i32;
    // SAFETY: the caller proves the tier.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

/// All ones in the 64-bit lanes below `n`.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn first_of_4(n: usize) -> __m256i {
    let n = n.min(4) as i64;
    // SAFETY: the caller proves the tier.
    unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)) }
}

/// Truth values as bytes, 0 past the end.
#[inline(always)]
fn bytes<const N: usize>(from: &[bool]) -> [u8; N] {
    match from.first_chunk::<N>() {
        Some(full) => full.map(u8::from),
        None => std::array::from_fn(|i| u8::from(i < from.len() && from[i])),
    }
}

macro_rules! load_and_store {
    ($t:ident, $vector:ident, $lanes:literal, $first:ident,
     $load:ident, $load_some:ident, $store:ident, $store_some:ident, $stream:ident) => {
        #[inline(always)]
        fn load(self, from: &[$t]) -> $vector {
            // SAFETY: the token proves the tier; a full vector is read only where the slice holds
            // one, and otherwise just the lanes below its length, which the mask enables.
            unsafe {
                if from.len() >= $lanes {
                    $vector($load(from.as_ptr()))
                } else {
                    $vector($load_some(from.as_ptr(), $first(from.len())))
                }
            }
        }
        #[inline(always)]
        fn store(self, v: $vector, to: &mut [$t]) {
            // SAFETY: as in `load`: no lane at or past the slice's length is written.
            unsafe {
                if to.len() >= $lanes {
                    $store(to.as_mut_ptr(), v.0);
                } else {
                    $store_some(to.as_mut_ptr(), $first(to.len()), v.0);
                }
            }
        }
        #[inline(always)]
        unsafe fn stream(self, v: $vector, to: *mut $t) {
            // SAFETY: the caller promises room and alignment for a vector; the token the tier.
            unsafe { $stream(to, v.0) }
        }
    };
}

impl Simd<f32> for Avx2 {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    const TILE_ROWS: usize = 6;
    type F = F32s;
    type M = MaskF32;

    load_and_store!(
        f32,
        F32s,
        8,
        first_of_8,
        _mm256_loadu_ps,
        _mm256_maskload_ps,
        _mm256_storeu_ps,
        _mm256_maskstore_ps,
        _mm256_stream_ps
    );
    lane_operations! {
        fn splat(x: f32) -> F32s = F32s(_mm256_set1_ps(x));
        fn mask(from: &[bool]) -> MaskF32 = {
            let lanes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes(from))));
            MaskF32(_mm256_castsi256_ps(_mm256_cmpgt_epi32(lanes, _mm256_setzero_si256())))
        };
        fn first(n: usize) -> MaskF32 = MaskF32(_mm256_castsi256_ps(first_of_8(n)));
        fn bits(m: MaskF32) -> u32 = _mm256_movemask_ps(m.0) as u32;
        fn fma(a: F32s, b: F32s, c: F32s) -> F32s = F32s(_mm256_fmadd_ps(a.0, b.0, c.0));
        fn sqrt(v: F32s) -> F32s = F32s(_mm256_sqrt_ps(v.0));
        fn abs(v: F32s) -> F32s = F32s(_mm256_andnot_ps(_mm256_set1_ps(-0.0), v.0));
        fn copysign(v: F32s, sign: F32s) -> F32s =
            F32s(_mm256_or_ps(
                _mm256_andnot_ps(_mm256_set1_ps(-0.0), v.0),
                _mm256_and_ps(_mm256_set1_ps(-0.0), sign.0)
            ));
        fn lt(a: F32s, b: F32s) -> MaskF32 = MaskF32(_mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0));
        fn eq(a: F32s, b: F32s) -> MaskF32 = MaskF32(_mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0));
        fn select(m: MaskF32, yes: F32s, no: F32s) -> F32s =
            F32s(_mm256_blendv_ps(no.0, yes.0, m.0));
        fn sums(v: [F32s; 4]) -> [f32; 4] = {
            let halves = _mm256_hadd_ps(
                _mm256_hadd_ps(v[0].0, v[1].0),
                _mm256_hadd_ps(v[2].0, v[3].0),
            );
            let all =
                _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), all);
            sums
        };
        fn sum(v: F32s) -> f32 = {
            let fours = _mm_add_ps(_mm256_castps256_ps128(v.0), _mm256_extractf128_ps::<1>(v.0));
            let twos = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
            _mm_cvtss_f32(_mm_add_ss(twos, _mm_movehdup_ps(twos)))
        };
        fn pow2(n: F32s) -> F32s =
            F32s(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(
                _mm256_add_ps(n.0, _mm256_set1_ps(127.0 + <f32 as crate::Real>::ROUNDER))
            ))));
        fn interleave(v: [F32s; 4]) -> [F32s; 4] = {
            let [a, b, c, d] = [v[0].0, v[1].0, v[2].0, v[3].0];
            // Elements 0, 1, 2 and 3 of each half, of all four vectors.
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (zeros, ones) = (
                _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
            );
            let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            let (twos, threes) = (
                _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
            );
            [
                F32s(_mm256_permute2f128_ps::<0x20>(zeros, ones)),
                F32s(_mm256_permute2f128_ps::<0x20>(twos, threes)),
                F32s(_mm256_permute2f128_ps::<0x31>(zeros, ones)),
                F32s(_mm256_permute2f128_ps::<0x31>(twos, threes)),
            ]
        };
        fn pair_sums(v: [F32s; 2]) -> F32s = {
            // The horizontal add works on halves, so the middle pairs of lanes change places.
            let sums = _mm256_castps_pd(_mm256_hadd_ps(v[0].0, v[1].0));
            F32s(_mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(sums)))
        };
        fn spread_pairs(v: F32s) -> [F32s; 2] = [
            _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3),
            _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7),
        ].map(|index| F32s(_mm256_permutevar8x32_ps(v.0, index)));
        fn triple_sums(v: [F32s; 3]) -> F32s = {
            // 3 and 8 have no common factor, so member k of all triples lies in 8 different lanes:
            // two blends bring them together, one permutation puts them in order.
            let [a, b, c] = [v[0].0, v[1].0, v[2].0];
            let k0 = _mm256_blend_ps::<0b0010_0100>(_mm256_blend_ps::<0b1001_0010>(a, b), c);
            let k1 = _mm256_blend_ps::<0b0100_1001>(_mm256_blend_ps::<0b0010_0100>(a, b), c);
            let k2 = _mm256_blend_ps::<0b1001_0010>(_mm256_blend_ps::<0b0100_1001>(a, b), c);
            let k0 = _mm256_permutevar8x32_ps(k0, _mm256_setr_epi32(0, 3, 6, 1, 4, 7, 2, 5));
            let k1 = _mm256_permutevar8x32_ps(k1, _mm256_setr_epi32(1, 4, 7, 2, 5, 0, 3, 6));
            let k2 = _mm256_permutevar8x32_ps(k2, _mm256_setr_epi32(2, 5, 0, 3, 6, 1, 4, 7));
            F32s(_mm256_add_ps(_mm256_add_ps(k0, k1), k2))
        };
        fn spread_triples(v: F32s) -> [F32s; 3] = [
            _mm256_setr_epi32(0, 0, 0, 1, 1, 1, 2, 2),
            _mm256_setr_epi32(2, 3, 3, 3, 4, 4, 4, 5),
            _mm256_setr_epi32(5, 5, 6, 6, 6, 7, 7, 7),
        ].map(|index| F32s(_mm256_permutevar8x32_ps(v.0, index)));
        fn prefetch(at: *const f32) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
        fn fence() -> () = _mm_sfence();
    }
}

impl Simd<f64> for Avx2 {
    const LANES: usize = 4;
    const REGISTERS: usize = 16;
    const TILE_ROWS: usize = 6;
    type F = F64s;
    type M = MaskF64;

    load_and_store!(
        f64,
        F64s,
        4,
        first_of_4,
        _mm256_loadu_pd,
        _mm256_maskload_pd,
        _mm256_storeu_pd,
        _mm256_maskstore_pd,
        _mm256_stream_pd
    );
    lane_operations! {
        fn splat(x: f64) -> F64s = F64s(_mm256_set1_pd(x));
        fn mask(from: &[bool]) -> MaskF64 = {
            let lanes = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(i32::from_le_bytes(bytes(from))));
            MaskF64(_mm256_castsi256_pd(_mm256_cmpgt_epi64(lanes, _mm256_setzero_si256())))
        };
        fn first(n: usize) -> MaskF64 = MaskF64(_mm256_castsi256_pd(first_of_4(n)));
        fn bits(m: MaskF64) -> u32 = _mm256_movemask_pd(m.0) as u32;
        fn fma(a: F64s, b: F64s, c: F64s) -> F64s = F64s(_mm256_fmadd_pd(a.0, b.0, c.0));
        fn sqrt(v: F64s) -> F64s = F64s(_mm256_sqrt_pd(v.0));
        fn abs(v: F64s) -> F64s = F64s(_mm256_andnot_pd(_mm256_set1_pd(-0.0), v.0));
        fn copysign(v: F64s, sign: F64s) -> F64s =
            F64s(_mm256_or_pd(
                _mm256_andnot_pd(_mm256_set1_pd(-0.0), v.0),
                _mm256_and_pd(_mm256_set1_pd(-0.0), sign.0)
            ));
        fn lt(a: F64s, b: F64s) -> MaskF64 = MaskF64(_mm256_cmp_pd::<_CMP_LT_OQ>(a.0, b.0));
        fn eq(a: F64s, b: F64s) -> MaskF64 = MaskF64(_mm256_cmp_pd::<_CMP_EQ_OQ>(a.0, b.0));
        fn select(m: MaskF64, yes: F64s, no: F64s) -> F64s =
            F64s(_mm256_blendv_pd(no.0, yes.0, m.0));
        fn sums(v: [F64s; 4]) -> [f64; 4] = {
            let ab = _mm256_hadd_pd(v[0].0, v[1].0);
            let cd = _mm256_hadd_pd(v[2].0, v[3].0);
            let all = _mm256_add_pd(
                _mm256_permute2f128_pd::<0x20>(ab, cd),
                _mm256_permute2f128_pd::<0x31>(ab, cd),
            );
            let mut sums = [0.0; 4];
            _mm256_storeu_pd(sums.as_mut_ptr(), all);
            sums
        };
        fn sum(v: F64s) -> f64 = {
            let twos = _mm_add_pd(_mm256_castpd256_pd128(v.0), _mm256_extractf128_pd::<1>(v.0));
            _mm_cvtsd_f64(_mm_add_sd(twos, _mm_unpackhi_pd(twos, twos)))
        };
        fn pow2(n: F64s) -> F64s =
            F64s(_mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(
                _mm256_add_pd(n.0, _mm256_set1_pd(1023.0 + <f64 as crate::Real>::ROUNDER))
            ))));
        fn interleave(v: [F64s; 4]) -> [F64s; 4] = {
            let [a, b, c, d] = [v[0].0, v[1].0, v[2].0, v[3].0];
            let (ab, cd) = (_mm256_unpacklo_pd(a, b), _mm256_unpacklo_pd(c, d));
            let (ab_odd, cd_odd) = (_mm256_unpackhi_pd(a, b), _mm256_unpackhi_pd(c, d));
            [
                F64s(_mm256_permute2f128_pd::<0x20>(ab, cd)),
                F64s(_mm256_permute2f128_pd::<0x20>(ab_odd, cd_odd)),
                F64s(_mm256_permute2f128_pd::<0x31>(ab, cd)),
                F64s(_mm256_permute2f128_pd::<0x31>(ab_odd, cd_odd)),
            ]
        };
        fn pair_sums(v: [F64s; 2]) -> F64s =
            F64s(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_hadd_pd(v[0].0, v[1].0)));
        fn spread_pairs(v: F64s) -> [F64s; 2] = [
            F64s(_mm256_permute4x64_pd::<0b01_01_00_00>(v.0)),
            F64s(_mm256_permute4x64_pd::<0b11_11_10_10>(v.0)),
        ];
        fn triple_sums(v: [F64s; 3]) -> F64s = {
            // As for f32: 3 and 4 have no common factor.
            let [a, b, c] = [v[0].0, v[1].0, v[2].0];
            let k0 = _mm256_blend_pd::<0b0010>(_mm256_blend_pd::<0b0100>(a, b), c);
            let k1 = _mm256_blend_pd::<0b0100>(_mm256_blend_pd::<0b1001>(a, b), c);
            let k2 = _mm256_blend_pd::<0b1001>(_mm256_blend_pd::<0b0010>(a, b), c);
            let k0 = _mm256_permute4x64_pd::<0b01_10_11_00>(k0);
            let k1 = _mm256_permute4x64_pd::<0b10_11_00_01>(k1);
            let k2 = _mm256_permute4x64_pd::<0b11_00_01_10>(k2);
            F64s(_mm256_add_pd(_mm256_add_pd(k0, k1), k2))
        };
        fn spread_triples(v: F64s) -> [F64s; 3] = [
            F64s(_mm256_permute4x64_pd::<0b01_00_00_00>(v.0)),
            F64s(_mm256_permute4x64_pd::<0b10_10_01_01>(v.0)),
            F64s(_mm256_permute4x64_pd::<0b11_11_11_10>(v.0)),
        ];
        fn prefetch(at: *const f64) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
        fn fence() -> () = _mm_sfence();
    }
}
