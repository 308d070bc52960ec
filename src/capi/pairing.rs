//! Lists with an element for each pair: flags and weights that are read, outputs that are written.

use super::places::{List, ListMut, PointerArgs};
use super::status::Refusal;
use crate::loss::Pairing;
use crate::simd::real::Real;

/// The lists of a [`Pairing`], checked.
pub(super) struct PairingLists<T> {
    similar: List<bool>,
    weights: Option<List<T>>,
    ignored: Option<List<bool>>,
}

impl<T: Real> PairingLists<T> {
    pub fn new(
        places: &mut PointerArgs,
        similar: *const bool,
        weights: *const T,
        ignored: *const bool,
        pairs: usize,
    ) -> Result<Self, Refusal> {
        Ok(PairingLists {
            similar: places.input("similar", similar, pairs)?,
            weights: places.optional_input("weights", weights, pairs)?,
            ignored: places.optional_input("ignored", ignored, pairs)?,
        })
    }

    /// # Safety
    /// As for [`List::lend`].
    pub unsafe fn lend<'a>(self) -> Result<Pairing<'a, T>, Refusal> {
        // SAFETY: as promised.
        unsafe {
            let mut pairing = Pairing::new(self.similar.lend_flags("similar")?);
            if let Some(weights) = self.weights {
                pairing = pairing.weighted(weights.lend());
            }
            if let Some(ignored) = self.ignored {
                pairing = pairing.ignoring(ignored.lend_flags("ignored")?);
            }
            Ok(pairing)
        }
    }
}

/// `out` with one more output, if that is wanted.
pub(super) fn with<O, X>(out: O, wanted: Option<X>, add: impl FnOnce(O, X) -> O) -> O {
    match wanted {
        Some(wanted) => add(out, wanted),
        None => out,
    }
}

/// Distances, values and slopes with an element for each pair, each if it is wanted.
pub(super) struct PerPairLists<T>([Option<ListMut<T>>; 3]);

impl<T> PerPairLists<T> {
    pub fn new(
        places: &mut PointerArgs,
        lists: [*mut T; 3],
        pairs: usize,
    ) -> Result<Self, Refusal> {
        let [distances, values, slopes] = lists;
        Ok(PerPairLists([
            places.optional("out.distances", distances, pairs)?,
            places.optional("out.values", values, pairs)?,
            places.optional("out.slopes", slopes, pairs)?,
        ]))
    }

    /// # Safety
    /// As for [`ListMut::lend`].
    pub unsafe fn lend<'a>(self) -> [Option<&'a mut [T]>; 3] {
        // SAFETY: as promised.
        self.0.map(|list| list.map(|list| unsafe { list.lend() }))
    }
}
