//! The reference files: arrays that PyTorch's autograd computed in f64, as safetensors with keys
//! `case/array`.
//!
//! They lie in `tests/data/`; `DRLIM_REFERENCE_DIR` names another folder of the same files,
//! with other seeds, cases and shapes. Cases are found from the keys, so a test says only what a
//! case of its kind is compared with. A missing or empty file fails.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};

use super::Element;

enum Values {
    Reals(Vec<f64>),
    Integers(Vec<i64>),
}

struct Array {
    shape: Vec<usize>,
    values: Values,
}

/// One file of reference arrays.
pub struct Reference {
    path: PathBuf,
    arrays: BTreeMap<String, Array>,
    compared: Cell<usize>,
}

fn folder() -> PathBuf {
    match std::env::var_os("DRLIM_REFERENCE_DIR") {
        Some(folder) => folder.into(),
        None => [env!("CARGO_MANIFEST_DIR"), "tests", "data"].iter().collect(),
    }
}

/// The relative tolerance of the reference comparisons, of the largest entry of an array.
pub fn tolerance<T: Element>() -> f64 {
    if size_of::<T>() == size_of::<f64>() { 1e-10 } else { 2e-5 }
}

impl Reference {
    /// Reads `name`.safetensors.
    pub fn open(name: &str) -> Self {
        let path = folder().join(name).with_extension("safetensors");
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file =
            SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let arrays: BTreeMap<String, Array> = file
            .iter()
            .map(|(key, array)| {
                let data = array.data();
                let values = match array.dtype() {
                    Dtype::F64 => Values::Reals(eights(data).map(f64::from_le_bytes).collect()),
                    Dtype::I64 => Values::Integers(eights(data).map(i64::from_le_bytes).collect()),
                    Dtype::U8 => Values::Integers(data.iter().map(|&x| x.into()).collect()),
                    other => panic!("{}: {key} is of type {other:?}", path.display()),
                };
                (key.to_owned(), Array { shape: array.shape().to_vec(), values })
            })
            .collect();
        assert!(!arrays.is_empty(), "{} holds no array", path.display());
        Reference { path, arrays, compared: Cell::new(0) }
    }

    /// The cases whose name starts with `prefix`: what comes before the last `/` of a key.
    ///
    /// # Panics
    /// Where there are none.
    pub fn cases(&self, prefix: &str) -> Vec<&str> {
        let mut cases: Vec<&str> = self
            .arrays
            .keys()
            .filter(|key| key.starts_with(prefix))
            .filter_map(|key| key.rsplit_once('/').map(|(case, _)| case))
            .collect();
        cases.dedup();
        assert!(!cases.is_empty(), "{} has no case {prefix}", self.path.display());
        cases
    }

    fn array(&self, case: &str, name: &str) -> &Array {
        self.arrays
            .get(&format!("{case}/{name}"))
            .unwrap_or_else(|| panic!("{} lacks {case}/{name}", self.path.display()))
    }

    /// Whether a case has an array of this name.
    pub fn has(&self, case: &str, name: &str) -> bool {
        self.arrays.contains_key(&format!("{case}/{name}"))
    }

    pub fn shape(&self, case: &str, name: &str) -> &[usize] {
        &self.array(case, name).shape
    }

    /// An array of real numbers, rounded to `T`.
    pub fn reals<T: Element>(&self, case: &str, name: &str) -> Vec<T> {
        match &self.array(case, name).values {
            Values::Reals(values) => values.iter().map(|&x| T::from_f64(x)).collect(),
            Values::Integers(_) => panic!("{case}/{name} holds integers"),
        }
    }

    /// An array of integers.
    pub fn integers(&self, case: &str, name: &str) -> &[i64] {
        match &self.array(case, name).values {
            Values::Integers(values) => values,
            Values::Reals(_) => panic!("{case}/{name} holds real numbers"),
        }
    }

    /// An array of truth values.
    pub fn flags(&self, case: &str, name: &str) -> Vec<bool> {
        self.integers(case, name).iter().map(|&x| x != 0).collect()
    }

    /// An array of one real number.
    pub fn real<T: Element>(&self, case: &str, name: &str) -> T {
        match self.reals(case, name)[..] {
            [x] => x,
            ref other => panic!("{case}/{name} holds {} numbers, not one", other.len()),
        }
    }

    /// An array of one integer, as a size.
    pub fn size(&self, case: &str, name: &str) -> usize {
        match *self.integers(case, name) {
            [x] => {
                usize::try_from(x).unwrap_or_else(|_| panic!("{case}/{name} is {x}, not a size"))
            }
            ref other => panic!("{case}/{name} holds {} numbers, not one", other.len()),
        }
    }

    /// Compares an array with what was computed: every entry within [`tolerance`] times the
    /// largest one. `by` says what computed it.
    pub fn compare<T: Element>(&self, case: &str, name: &str, got: &[T], by: &str) {
        self.compare_sums(case, name, got, 0.0, by);
    }

    /// As [`compare`](Reference::compare), for sums that may cancel: relative to the largest entry
    /// or the largest term of a sum, whichever is larger.
    pub fn compare_sums<T: Element>(&self, case: &str, name: &str, got: &[T], term: f64, by: &str) {
        self.check(case, name, got, [tolerance::<T>(), term], by);
    }

    /// As [`compare`](Reference::compare), with a tolerance of its own.
    pub fn compare_within<T: Element>(
        &self,
        case: &str,
        name: &str,
        got: &[T],
        tolerance: f64,
        by: &str,
    ) {
        self.check(case, name, got, [tolerance, 0.0], by);
    }

    fn check<T: Element>(
        &self,
        case: &str,
        name: &str,
        got: &[T],
        [tolerance, term]: [f64; 2],
        by: &str,
    ) {
        let expected: Vec<f64> = self.reals(case, name);
        let largest = expected.iter().fold(term, |largest: f64, x| largest.max(x.abs()));
        let allowed = tolerance * largest;
        assert_eq!(got.len(), expected.len(), "length of {case}/{name} by {by}");
        for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let error = (got.to_f64() - expected).abs();
            // Written such that a NaN fails.
            assert!(
                error <= allowed,
                "{case}/{name}[{at}] by {by} in {}: got {got}, expected {expected}, \
                 off by {error:e} where {allowed:e} is allowed",
                T::NAME
            );
        }
        self.compared.set(self.compared.get() + 1);
    }

    /// Says how many arrays were compared.
    ///
    /// # Panics
    /// Where there were none.
    pub fn report(&self, test: &str) {
        let compared = self.compared.get();
        assert!(compared > 0, "{test} compared nothing with {}", self.path.display());
        println!("{test}: compared {compared} arrays with {}", self.path.display());
    }
}

fn eights(data: &[u8]) -> impl Iterator<Item = [u8; 8]> {
    data.as_chunks::<8>().0.iter().copied()
}
