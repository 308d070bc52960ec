//! Macros for code that both x86-64 tiers share: operators on vectors and masks.
//!
//! A vector or a mask of a tier is made only by the methods of the tier's token, so holding one is the same
//! proof as holding the token: every `unsafe` of these macros rests on that.

/// Operators of a vector: each is one instruction.
macro_rules! vector_operators {
    ($vector:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $neg:expr) => {
        vector_operators!(@binary $vector, Add, add, $add);
        vector_operators!(@binary $vector, Sub, sub, $sub);
        vector_operators!(@binary $vector, Mul, mul, $mul);
        vector_operators!(@binary $vector, Div, div, $div);
        impl std::ops::Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: a vector of the tier exists, so the processor has the tier.
                unsafe { Self($neg(self.0)) }
            }
        }
    };
    (@binary $vector:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl std::ops::$trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: a vector of the tier exists, so the processor has the tier.
                unsafe { Self($intrinsic(self.0, other.0)) }
            }
        }
    };
}

/// Methods of a token that are an expression of intrinsics on the wrapped registers.
macro_rules! lane_operations {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $result {
            // SAFETY: the token exists, so the processor has the tier; the only operand
            // that is a pointer is that of a prefetch, which faults on none.
            unsafe { $body }
        }
    )*};
}

pub(super) use {lane_operations, vector_operators};
