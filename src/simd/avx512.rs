//! The AVX-512 tier (F, BW, DQ, VL): 16 `f32` or 8 `f64`, masks in registers of their own.

#![allow(unsafe_code, reason = "every intrinsic stands behind the token of the tier")]

use std::arch::x86_64::*;
use std::ops::{BitAnd, BitOr, Not};

use super::x86::{lane_operations, vector_operators};
use super::{Simd, sealed};

/// The token of the tier: proof that the processor has AVX-512 F, BW, DQ and VL, and what the AVX2 tier needs.
#[derive(Clone, Copy)]
pub struct Avx512(());

impl sealed::Sealed for Avx512 {}

impl Avx512 {
    /// # Safety
    /// The processor has AVX-512 F, BW, DQ and VL, and what the AVX2 tier needs.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Self {
        Avx512(())
    }
}

#[derive(Clone, Copy)]
pub struct F32s(__m512);
#[derive(Clone, Copy)]
pub struct F64s(__m512d);
#[derive(Clone, Copy)]
pub struct MaskF32(__mmask16);
#[derive(Clone, Copy)]
pub struct MaskF64(__mmask8);

vector_operators!(F32s, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_div_ps, |v| {
    _mm512_xor_ps(v, _mm512_set1_ps(-0.0))
});
vector_operators!(F64s, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_div_pd, |v| {
    _mm512_xor_pd(v, _mm512_set1_pd(-0.0))
});

macro_rules! mask_operators {
    ($mask:ident) => {
        impl BitAnd for $mask {
            type Output = Self;
            #[inline(always)]
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }
        impl BitOr for $mask {
            type Output = Self;
            #[inline(always)]
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
        impl Not for $mask {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                Self(!self.0)
            }
        }
    };
}
mask_operators!(MaskF32);
mask_operators!(MaskF64);

/// The lanes below `n` as bits.
#[inline(always)]
fn first_bits(n: usize) -> u32 {
    if n >= 16 { 0xFFFF } else { (1 << n) - 1 }
}

macro_rules! load_and_store {
    ($t:ident, $vector:ident, $lanes:literal, $bits:ident,
     $load:ident, $load_some:ident, $store:ident, $store_some:ident, $stream:ident) => {
        #[inline(always)]
        fn load(self, from: &[$t]) -> $vector {
            // SAFETY: the token proves the tier; a full vector is read only where the slice holds
            // one, and otherwise just the lanes below its length, which the mask enables.
            unsafe {
                if from.len() >= $lanes {
                    $vector($load(from.as_ptr()))
                } else {
                    $vector($load_some(first_bits(from.len()) as $bits, from.as_ptr()))
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
                    $store_some(to.as_mut_ptr(), first_bits(to.len()) as $bits, v.0);
                }
            }
        }
        #[inline(always)]
        unsafe fn stream(self, v: $vector, to: *mut $t) {
            // SAFETY: the caller promises room and alignment for a vector; the token the tier.
            unsafe { $stream(to.cast(), v.0) }
        }
        #[inline(always)]
        fn first(self, n: usize) -> Self::M {
            // The truncation keeps the bits of the lanes that exist.
            Self::M::from_bits(first_bits(n) as $bits)
        }
        #[inline(always)]
        fn bits(self, m: Self::M) -> u32 {
            m.0.into()
        }
    };
}

impl MaskF32 {
    #[inline(always)]
    fn from_bits(bits: __mmask16) -> Self {
        Self(bits)
    }
}
impl MaskF64 {
    #[inline(always)]
    fn from_bits(bits: __mmask8) -> Self {
        Self(bits)
    }
}

/// Transposes quarters: the first quarters of all four, then the second ones, and so on.
///
/// # Safety
/// The processor has AVX-512 F.
#[inline(always)]
unsafe fn quarters([a, b, c, d]: [__m512d; 4]) -> [__m512d; 4] {
    // SAFETY: the caller proves the tier.
    unsafe {
        let (ab, cd) = (_mm512_shuffle_f64x2::<0x44>(a, b), _mm512_shuffle_f64x2::<0x44>(c, d));
        let (first, second) =
            (_mm512_shuffle_f64x2::<0x88>(ab, cd), _mm512_shuffle_f64x2::<0xDD>(ab, cd));
        let (ab, cd) = (_mm512_shuffle_f64x2::<0xEE>(a, b), _mm512_shuffle_f64x2::<0xEE>(c, d));
        let (third, fourth) =
            (_mm512_shuffle_f64x2::<0x88>(ab, cd), _mm512_shuffle_f64x2::<0xDD>(ab, cd));
        [first, second, third, fourth]
    }
}

/// The bytes of truth values as bits, false past the end.
///
/// # Safety
/// The processor has AVX-512 BW and VL.
#[inline(always)]
unsafe fn bits_of(from: &[bool]) -> __mmask16 {
    let enabled = first_bits(from.len()) as __mmask16;
    // SAFETY: only bytes below the slice's length are read; a `bool` is the byte 0 or 1; the
    // caller proves the tier.
    unsafe {
        let bytes = _mm_maskz_loadu_epi8(enabled, from.as_ptr().cast());
        _mm_test_epi8_mask(bytes, bytes)
    }
}

impl Simd<f32> for Avx512 {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    const TILE_ROWS: usize = 8;
    type F = F32s;
    type M = MaskF32;

    load_and_store!(
        f32,
        F32s,
        16,
        __mmask16,
        _mm512_loadu_ps,
        _mm512_maskz_loadu_ps,
        _mm512_storeu_ps,
        _mm512_mask_storeu_ps,
        _mm512_stream_ps
    );
    lane_operations! {
        fn splat(x: f32) -> F32s = F32s(_mm512_set1_ps(x));
        fn mask(from: &[bool]) -> MaskF32 = MaskF32(bits_of(from));
        fn fma(a: F32s, b: F32s, c: F32s) -> F32s = F32s(_mm512_fmadd_ps(a.0, b.0, c.0));
        fn sqrt(v: F32s) -> F32s = F32s(_mm512_sqrt_ps(v.0));
        fn abs(v: F32s) -> F32s = F32s(_mm512_abs_ps(v.0));
        // Truth table 0xD8: bits of `sign` where the third operand has ones, of `v` elsewhere.
        fn copysign(v: F32s, sign: F32s) -> F32s =
            F32s(_mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xD8>(
                _mm512_castps_si512(v.0), _mm512_castps_si512(sign.0), _mm512_set1_epi32(i32::MIN)
            )));
        fn lt(a: F32s, b: F32s) -> MaskF32 = MaskF32(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0));
        fn eq(a: F32s, b: F32s) -> MaskF32 = MaskF32(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a.0, b.0));
        fn select(m: MaskF32, yes: F32s, no: F32s) -> F32s =
            F32s(_mm512_mask_blend_ps(m.0, no.0, yes.0));
        fn sum(v: F32s) -> f32 = _mm512_reduce_add_ps(v.0);
        fn sums(v: [F32s; 4]) -> [f32; 4] = {
            // Pairs within each quarter, then within pairs of vectors, then the quarters.
            let [a, b, c, d] = [v[0].0, v[1].0, v[2].0, v[3].0];
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let fours = _mm512_add_ps(
                _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
            );
            let eights = _mm256_add_ps(
                _mm512_castps512_ps256(fours),
                _mm512_extractf32x8_ps::<1>(fours),
            );
            let all =
                _mm_add_ps(_mm256_castps256_ps128(eights), _mm256_extractf128_ps::<1>(eights));
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), all);
            sums
        };
        fn pow2(n: F32s) -> F32s =
            F32s(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(
                _mm512_add_ps(n.0, _mm512_set1_ps(127.0 + <f32 as crate::Real>::ROUNDER))
            ))));
        fn interleave(v: [F32s; 4]) -> [F32s; 4] = {
            let [a, b, c, d] = [v[0].0, v[1].0, v[2].0, v[3].0];
            // Elements 0, 1, 2 and 3 of each quarter, of all four vectors.
            let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            let (zeros, ones) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
            let (ab, cd) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            let (twos, threes) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
            let parts = quarters([zeros, ones, twos, threes]);
            [
                F32s(_mm512_castpd_ps(parts[0])),
                F32s(_mm512_castpd_ps(parts[1])),
                F32s(_mm512_castpd_ps(parts[2])),
                F32s(_mm512_castpd_ps(parts[3])),
            ]
        };
        fn pair_sums(v: [F32s; 2]) -> F32s = {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
            let pick = |index| _mm512_permutex2var_ps(v[0].0, index, v[1].0);
            F32s(_mm512_add_ps(pick(even), pick(odd)))
        };
        fn spread_pairs(v: F32s) -> [F32s; 2] = {
            let low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
            let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
            [low, high].map(|index| F32s(_mm512_permutexvar_ps(index, v.0)))
        };
        fn triple_sums(v: [F32s; 3]) -> F32s = {
            // 3 and 16 have no common factor, so member k of all triples lies in 16 different
            // lanes: two blends bring them together, one permutation puts them in order.
            const FROM_SECOND: [__mmask16; 3] =
                [0b0100_1001_0010_0100, 0b1001_0010_0100_1001, 0b0010_0100_1001_0010];
            const FROM_THIRD: [__mmask16; 3] =
                [0b0010_0100_1001_0010, 0b0100_1001_0010_0100, 0b1001_0010_0100_1001];
            let start = _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 2, 5, 8, 11, 14, 1, 4, 7, 10, 13);
            let member = |k: usize| {
                let gathered = _mm512_mask_blend_ps(FROM_SECOND[k], v[0].0, v[1].0);
                let gathered = _mm512_mask_blend_ps(FROM_THIRD[k], gathered, v[2].0);
                let index = _mm512_add_epi32(start, _mm512_set1_epi32(k as i32));
                _mm512_permutexvar_ps(index, gathered)
            };
            F32s(_mm512_add_ps(_mm512_add_ps(member(0), member(1)), member(2)))
        };
        fn spread_triples(v: F32s) -> [F32s; 3] = [
            _mm512_setr_epi32(0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5),
            _mm512_setr_epi32(5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10),
            _mm512_setr_epi32(10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15),
        ].map(|index| F32s(_mm512_permutexvar_ps(index, v.0)));
        fn prefetch(at: *const f32) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
        fn fence() -> () = _mm_sfence();
    }
}

impl Simd<f64> for Avx512 {
    const LANES: usize = 8;
    const REGISTERS: usize = 32;
    const TILE_ROWS: usize = 8;
    type F = F64s;
    type M = MaskF64;

    load_and_store!(
        f64,
        F64s,
        8,
        __mmask8,
        _mm512_loadu_pd,
        _mm512_maskz_loadu_pd,
        _mm512_storeu_pd,
        _mm512_mask_storeu_pd,
        _mm512_stream_pd
    );
    lane_operations! {
        fn splat(x: f64) -> F64s = F64s(_mm512_set1_pd(x));
        fn mask(from: &[bool]) -> MaskF64 = MaskF64(bits_of(&from[..from.len().min(8)]) as __mmask8);
        fn fma(a: F64s, b: F64s, c: F64s) -> F64s = F64s(_mm512_fmadd_pd(a.0, b.0, c.0));
        fn sqrt(v: F64s) -> F64s = F64s(_mm512_sqrt_pd(v.0));
        fn abs(v: F64s) -> F64s = F64s(_mm512_abs_pd(v.0));
        // Truth table 0xD8: bits of `sign` where the third operand has ones, of `v` elsewhere.
        fn copysign(v: F64s, sign: F64s) -> F64s =
            F64s(_mm512_castsi512_pd(_mm512_ternarylogic_epi64::<0xD8>(
                _mm512_castpd_si512(v.0), _mm512_castpd_si512(sign.0), _mm512_set1_epi64(i64::MIN)
            )));
        fn lt(a: F64s, b: F64s) -> MaskF64 = MaskF64(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(a.0, b.0));
        fn eq(a: F64s, b: F64s) -> MaskF64 = MaskF64(_mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a.0, b.0));
        fn select(m: MaskF64, yes: F64s, no: F64s) -> F64s =
            F64s(_mm512_mask_blend_pd(m.0, no.0, yes.0));
        fn sum(v: F64s) -> f64 = _mm512_reduce_add_pd(v.0);
        fn sums(v: [F64s; 4]) -> [f64; 4] = {
            let [a, b, c, d] = [v[0].0, v[1].0, v[2].0, v[3].0];
            let ab = _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
            let cd = _mm512_add_pd(_mm512_unpacklo_pd(c, d), _mm512_unpackhi_pd(c, d));
            // Quarters 0 and 2 of both, then 1 and 3.
            let fours = _mm512_add_pd(
                _mm512_shuffle_f64x2::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_f64x2::<0b11_01_11_01>(ab, cd),
            );
            let eights = _mm512_add_pd(fours, _mm512_permutex_pd::<0b01_00_11_10>(fours));
            let mut sums = [0.0; 4];
            let all = _mm512_shuffle_f64x2::<0b10_00_10_00>(eights, eights);
            _mm256_storeu_pd(sums.as_mut_ptr(), _mm512_castpd512_pd256(all));
            sums
        };
        fn pow2(n: F64s) -> F64s =
            F64s(_mm512_castsi512_pd(_mm512_slli_epi64::<52>(_mm512_castpd_si512(
                _mm512_add_pd(n.0, _mm512_set1_pd(1023.0 + <f64 as crate::Real>::ROUNDER))
            ))));
        fn interleave(v: [F64s; 4]) -> [F64s; 4] = {
            let [a, b, c, d] = [v[0].0, v[1].0, v[2].0, v[3].0];
            let parts = quarters([
                _mm512_unpacklo_pd(a, b),
                _mm512_unpacklo_pd(c, d),
                _mm512_unpackhi_pd(a, b),
                _mm512_unpackhi_pd(c, d),
            ]);
            [F64s(parts[0]), F64s(parts[1]), F64s(parts[2]), F64s(parts[3])]
        };
        fn pair_sums(v: [F64s; 2]) -> F64s = {
            let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
            let odd = _mm512_add_epi64(even, _mm512_set1_epi64(1));
            let pick = |index| _mm512_permutex2var_pd(v[0].0, index, v[1].0);
            F64s(_mm512_add_pd(pick(even), pick(odd)))
        };
        fn spread_pairs(v: F64s) -> [F64s; 2] = {
            let low = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
            let high = _mm512_add_epi64(low, _mm512_set1_epi64(4));
            [low, high].map(|index| F64s(_mm512_permutexvar_pd(index, v.0)))
        };
        fn triple_sums(v: [F64s; 3]) -> F64s = {
            // As for f32: 3 and 8 have no common factor.
            const FROM_SECOND: [__mmask8; 3] = [0b1001_0010, 0b0010_0100, 0b0100_1001];
            const FROM_THIRD: [__mmask8; 3] = [0b0010_0100, 0b0100_1001, 0b1001_0010];
            let start = _mm512_setr_epi64(0, 3, 6, 1, 4, 7, 2, 5);
            let member = |k: usize| {
                let gathered = _mm512_mask_blend_pd(FROM_SECOND[k], v[0].0, v[1].0);
                let gathered = _mm512_mask_blend_pd(FROM_THIRD[k], gathered, v[2].0);
                let index = _mm512_add_epi64(start, _mm512_set1_epi64(k as i64));
                _mm512_permutexvar_pd(index, gathered)
            };
            F64s(_mm512_add_pd(_mm512_add_pd(member(0), member(1)), member(2)))
        };
        fn spread_triples(v: F64s) -> [F64s; 3] = [
            _mm512_setr_epi64(0, 0, 0, 1, 1, 1, 2, 2),
            _mm512_setr_epi64(2, 3, 3, 3, 4, 4, 4, 5),
            _mm512_setr_epi64(5, 5, 6, 6, 6, 7, 7, 7),
        ].map(|index| F64s(_mm512_permutexvar_pd(index, v.0)));
        fn prefetch(at: *const f64) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
        fn fence() -> () = _mm_sfence();
    }
}
