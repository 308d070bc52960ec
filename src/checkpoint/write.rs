//! Turns tensors into the bytes of a safetensors file.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashSet;

use safetensors::{Dtype, View};

use super::{ARCHITECTURE, dtype};
use crate::error::{Error, Result};
use crate::simd::real::{Real, compiled};

/// A tensor to be written.
pub(super) struct Tensor<'a, T: Copy> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Values<'a, T>,
}

/// Its elements, row-major.
pub(super) enum Values<'a, T: Copy> {
    Real(Cow<'a, [T]>),
    Words(Vec<u64>),
}

impl<T: Real> View for Tensor<'_, T> {
    fn dtype(&self) -> Dtype {
        match self.values {
            Values::Real(_) => dtype::<T>(),
            Values::Words(_) => Dtype::U64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The format is little-endian, whatever the machine is.
    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        match &self.values {
            Values::Real(values) => values.iter().for_each(|value| value.push_le(&mut bytes)),
            Values::Words(words) => words.iter().for_each(|word| bytes.extend(word.to_le_bytes())),
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        match &self.values {
            Values::Real(values) => size_of_val(&**values),
            Values::Words(words) => size_of_val(&**words),
        }
    }
}

/// The bytes of a file of these tensors: the same in whatever order the tensors come.
#[inline(never)]
pub(super) fn encode<T: Real>(tensors: Vec<Tensor<T>>, architecture: String) -> Result<Vec<u8>> {
    let refuse = |reason| Error::Network { layer: "all".to_owned(), reason };
    let mut names = HashSet::new();
    if let Some(twice) = tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
        return Err(refuse(format!("two tensors of a checkpoint are called {}", twice.name)));
    }
    let named = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor));
    let about = [(ARCHITECTURE.to_owned(), architecture)].into_iter().collect();
    safetensors::serialize(named, Some(about)).map_err(|error| refuse(error.to_string()))
}

compiled!(encode::<T>);
