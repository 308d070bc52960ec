//! What the crate's own tests compare with.

#![allow(dead_code, reason = "of which a part is used here")]

#[path = "../../tests/support/anchors.rs"]
pub mod anchors;
#[path = "../../tests/support/double_double.rs"]
mod double_double;
#[path = "../../tests/support/element.rs"]
pub mod element;
#[path = "../../tests/support/formulas.rs"]
pub mod formulas;
#[path = "../../tests/support/number.rs"]
mod number;
#[path = "../../tests/support/oracle.rs"]
pub mod oracle;
#[path = "../../tests/support/random.rs"]
mod random;

pub use element::Element;
pub use random::Random;
