//! The portable tier, on the crate `wide`: SSE2, NEON, wasm simd128, or whatever the build enables.

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use wide::{f32x8, f64x4};

use super::{Simd, sealed};

/// The token of the portable tier: any processor has it.
#[derive(Clone, Copy)]
pub struct Portable(());

impl sealed::Sealed for Portable {}

impl Portable {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Portable(())
    }
}

/// The elements, then zeros. A function by itself, like the next one, so that the code for short slices is
/// not compiled at every load and store.
#[inline(never)]
fn padded<T: Copy + Default, const LANES: usize>(from: &[T]) -> [T; LANES] {
    let mut padded = [T::default(); LANES];
    padded[..from.len()].copy_from_slice(from);
    padded
}

/// Stores as many lanes as there is room for.
#[inline(never)]
fn store_some<T: Copy>(lanes: &[T], to: &mut [T]) {
    to.copy_from_slice(&lanes[..to.len()]);
}

macro_rules! portable {
    ($t:ident, $vector:ident, $mask:ident, $wide:ident, $lanes:literal, $bits:ident) => {
        #[derive(Clone, Copy)]
        pub struct $vector($wide);
        /// All bits of a lane set, or none.
        #[derive(Clone, Copy)]
        pub struct $mask($wide);

        impl Add for $vector {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }
        impl Sub for $vector {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }
        impl Mul for $vector {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                Self(self.0 * other.0)
            }
        }
        impl Div for $vector {
            type Output = Self;
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                Self(self.0 / other.0)
            }
        }
        impl Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self(self.0 ^ $wide::splat(-0.0))
            }
        }
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

        impl Simd<$t> for Portable {
            const LANES: usize = $lanes;
            const REGISTERS: usize = 16;
            const TILE_ROWS: usize = 2;
            type F = $vector;
            type M = $mask;

            #[inline(always)]
            fn splat(self, x: $t) -> $vector {
                $vector($wide::splat(x))
            }
            #[inline(always)]
            fn load(self, from: &[$t]) -> $vector {
                if let Some(full) = from.first_chunk::<$lanes>() {
                    $vector($wide::new(*full))
                } else {
                    $vector($wide::new(padded(from)))
                }
            }
            #[inline(always)]
            fn store(self, v: $vector, to: &mut [$t]) {
                let lanes = v.0.to_array();
                if let Some(full) = to.first_chunk_mut::<$lanes>() {
                    *full = lanes;
                } else {
                    store_some(&lanes, to);
                }
            }
            #[inline(always)]
            fn mask(self, from: &[bool]) -> $mask {
                let mut lanes = [0.0; $lanes];
                for (lane, &set) in lanes.iter_mut().zip(from) {
                    *lane = $t::from_bits($bits::from(set).wrapping_neg());
                }
                $mask($wide::new(lanes))
            }
            #[inline(always)]
            fn first(self, n: usize) -> $mask {
                let mut lane = [0.0; $lanes];
                for i in 0..$lanes {
                    lane[i] = i as $t;
                }
                $mask($wide::new(lane).simd_lt($wide::splat(n as $t)))
            }
            #[inline(always)]
            fn bits(self, m: $mask) -> u32 {
                m.0.to_bitmask()
            }
            #[inline(always)]
            fn fma(self, a: $vector, b: $vector, c: $vector) -> $vector {
                $vector(a.0.mul_add(b.0, c.0))
            }
            #[inline(always)]
            fn sqrt(self, v: $vector) -> $vector {
                $vector(v.0.sqrt())
            }
            #[inline(always)]
            fn abs(self, v: $vector) -> $vector {
                $vector(v.0.abs())
            }
            #[inline(always)]
            fn copysign(self, v: $vector, sign: $vector) -> $vector {
                let sign_bit = $wide::splat(-0.0);
                $vector((v.0 & !sign_bit) | (sign.0 & sign_bit))
            }
            #[inline(always)]
            fn lt(self, a: $vector, b: $vector) -> $mask {
                $mask(a.0.simd_lt(b.0))
            }
            #[inline(always)]
            fn eq(self, a: $vector, b: $vector) -> $mask {
                $mask(a.0.simd_eq(b.0))
            }
            #[inline(always)]
            fn select(self, m: $mask, yes: $vector, no: $vector) -> $vector {
                $vector(m.0.select(yes.0, no.0))
            }
            #[inline(always)]
            fn sum(self, v: $vector) -> $t {
                let mut lanes = v.0.to_array();
                let mut width = $lanes / 2;
                while width > 0 {
                    for i in 0..width {
                        lanes[i] += lanes[i + width];
                    }
                    width /= 2;
                }
                lanes[0]
            }
            #[inline(always)]
            fn pow2(self, n: $vector) -> $vector {
                const BIAS: $t = ($t::MAX_EXP - 1) as $t;
                const MANTISSA_BITS: u32 = $t::MANTISSA_DIGITS - 1;
                let biased =
                    (n.0 + $wide::splat(BIAS + <$t as super::real::Real>::ROUNDER)).to_array();
                $vector($wide::new(biased.map(|x| $t::from_bits(x.to_bits() << MANTISSA_BITS))))
            }
            #[inline(always)]
            fn pair_sums(self, v: [$vector; 2]) -> $vector {
                let lanes = v.map(|v| v.0.to_array());
                let at = |i: usize| lanes[i / $lanes][i % $lanes];
                $vector($wide::new(std::array::from_fn(|i| at(2 * i) + at(2 * i + 1))))
            }
            #[inline(always)]
            fn spread_pairs(self, v: $vector) -> [$vector; 2] {
                let lanes = v.0.to_array();
                std::array::from_fn(|part| {
                    $vector($wide::new(std::array::from_fn(|i| lanes[(part * $lanes + i) / 2])))
                })
            }
            #[inline(always)]
            fn triple_sums(self, v: [$vector; 3]) -> $vector {
                let lanes = v.map(|v| v.0.to_array());
                let at = |i: usize| lanes[i / $lanes][i % $lanes];
                $vector($wide::new(std::array::from_fn(|i| {
                    at(3 * i) + at(3 * i + 1) + at(3 * i + 2)
                })))
            }
            #[inline(always)]
            fn spread_triples(self, v: $vector) -> [$vector; 3] {
                let lanes = v.0.to_array();
                std::array::from_fn(|part| {
                    $vector($wide::new(std::array::from_fn(|i| lanes[(part * $lanes + i) / 3])))
                })
            }
            #[inline(always)]
            #[allow(unsafe_code, reason = "implements an unsafe operation by a plain write")]
            unsafe fn stream(self, v: $vector, to: *mut $t) {
                // SAFETY: the caller's promise covers `LANES` elements behind `to`.
                unsafe { to.cast::<[$t; $lanes]>().write_unaligned(v.0.to_array()) }
            }
            #[inline(always)]
            fn prefetch(self, _: *const $t) {}
            #[inline(always)]
            fn fence(self) {}
        }
    };
}

portable!(f32, F32s, MaskF32, f32x8, 8, u32);
portable!(f64, F64s, MaskF64, f64x4, 4, u64);
