//! What many tests go through: reductions, labels, a context without threads, both precisions.

use drlim::loss::Reduction;
use drlim::{Cx, Isa, Par};

/// Every reduction, `Factors` with factors that no count gives.
pub const REDUCTIONS: [Reduction; 6] = [
    Reduction::Sum,
    Reduction::Mean,
    Reduction::MeanNonZero,
    Reduction::Balanced,
    Reduction::BalancedNonZero,
    Reduction::Factors { similar: 0.25, dissimilar: -3.0 },
];

/// A tier on the calling thread.
pub fn serial(isa: Isa) -> Cx {
    Cx { isa, par: Par::Serial }
}

/// Labels of so many classes, out of order, some of them negative.
pub fn labels(n: usize, classes: usize) -> Vec<i64> {
    (0..n).map(|i| (i * 7919 % classes.max(1)) as i64 - 3).collect()
}

/// Makes two tests of each check that is generic over the element type.
macro_rules! in_both_precisions {
    ($($check:ident)*) => {
        $(mod $check {
            #[test]
            fn f32() {
                super::$check::<f32>();
            }
            #[test]
            fn f64() {
                super::$check::<f64>();
            }
        })*
    };
}
pub(crate) use in_both_precisions;
