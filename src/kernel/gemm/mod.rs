//! Matrix products for layers and gradients. Most operands are read where they lie; few are packed.

pub(crate) mod add_up;
pub(crate) mod dots;
pub(crate) mod packed;
pub(crate) mod product;
pub(crate) mod transpose;
