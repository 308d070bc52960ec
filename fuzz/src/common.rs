//! What the crate's own tests compare with.

#![allow(dead_code, reason = "of which a part is used here")]

#[path = "../../tests/common/element.rs"]
pub mod element;
#[path = "../../tests/common/formulas.rs"]
pub mod formulas;
#[path = "../../tests/common/oracle.rs"]
pub mod oracle;
#[path = "../../tests/common/random.rs"]
mod random;

pub use element::Element;
pub use random::Random;
