//! Numbers of things, as a caller may give them: mostly small, sometimes absurd.

use arbitrary::Arbitrary;

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Size {
    Tiny(u8),
    Few(u8),
    Some(u16),
    /// Near a power of two.
    Power(u8, i8),
    FromEnd(u8),
    Any(usize),
}

impl Size {
    pub fn value(self) -> usize {
        match self {
            Size::Tiny(n) => 1 + usize::from(n % 8),
            Size::Few(n) => n.into(),
            Size::Some(n) => n.into(),
            Size::Power(exponent, more) => {
                (1_usize << (u32::from(exponent) % usize::BITS)).wrapping_add_signed(more.into())
            }
            Size::FromEnd(n) => usize::MAX - usize::from(n),
            Size::Any(n) => n,
        }
    }
}
