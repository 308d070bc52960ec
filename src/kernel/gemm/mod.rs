//! Matrix products, as layers and gradients need them: operands lie where they are, few are packed.

pub(crate) mod add_up;
pub(crate) mod dots;
pub(crate) mod packed;
pub(crate) mod product;
pub(crate) mod transpose;
