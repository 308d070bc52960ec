//! Loads a network's file that is not quite what the crate writes: other names, narrower types.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::read::Reader;
use super::{expected, file_error};
use crate::error::{Error, Result};
use crate::nn::Network;
use crate::simd::real::Real;

/// The differences that are allowed in the file of a network: names with a prefix, narrower types.
///
/// [`load`](super::load) is this with nothing allowed. Everything else that it refuses is refused here too.
///
/// ```
/// use drlim::checkpoint::{self, Load};
/// use drlim::nn::{Dense, Network, Shape};
/// # use safetensors::{Dtype, tensor::TensorView};
///
/// // What PyTorch has saved of torch.compile(net).bfloat16(): `_orig_mod.out.weight` and its bias.
/// # let view = |shape: &[usize], data| TensorView::new(Dtype::BF16, shape.to_vec(), data).unwrap();
/// # let tensors = [
/// #     ("_orig_mod.out.weight", view(&[1, 2], &[0x80, 0x3f, 0x00, 0xc0])),
/// #     ("_orig_mod.out.bias", view(&[1], &[0x40, 0x3f])),
/// # ];
/// # let bytes = safetensors::serialize(tensors, None).unwrap();
/// # let path = std::env::temp_dir().join(format!("prefix-{}.safetensors", std::process::id()));
/// # std::fs::write(&path, bytes).unwrap();
/// let mut net = Network::<f32>::builder(Shape::flat(2)).layer("out", Dense::new(1)).build(1)?;
/// let error = checkpoint::load(&mut net, &path).unwrap_err().to_string();
/// assert!(error.contains(r#"Load::prefix("_orig_mod.")"#), "{error}");
///
/// Load::new().prefix("_orig_mod.").widened().network(&mut net, &path)?;
/// assert_eq!(net.params(), [1.0, -2.0, 0.75]);
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load<'a> {
    pub(super) prefix: &'a str,
    pub(super) widened: bool,
}

impl<'a> Load<'a> {
    /// Nothing is allowed to be different.
    pub fn new() -> Self {
        Load::default()
    }

    /// Every name in the file is this prefix and a name of the network: `module.` of PyTorch's
    /// `DataParallel`, `_orig_mod.` of `torch.compile`, `encoder.` of a part of a module.
    ///
    /// A tensor whose name begins otherwise is refused, like every tensor that the network lacks.
    pub fn prefix(self, prefix: &'a str) -> Self {
        Load { prefix, ..self }
    }

    /// Converts numbers of narrower types to the network's element type: F16 and BF16, and F32 in a network
    /// of `f64`. Nothing is rounded: F64 in a network of `f32` is still refused.
    pub fn widened(self) -> Self {
        Load { widened: true, ..self }
    }

    /// Reads the parameters of a network from a file.
    ///
    /// On an error, which names the file and what is in it, the network has not changed.
    pub fn network<T: Real>(self, net: &mut Network<T>, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| file_error(path, error))?;
        let params = self.read(net, file).map_err(|reason| file_error(path, reason))?;
        net.params_mut().copy_from_slice(&params);
        Ok(())
    }

    /// As [`network`](Load::network), from bytes that are in memory already.
    pub fn network_from_bytes<T: Real>(self, net: &mut Network<T>, bytes: &[u8]) -> Result<()> {
        let params = self.read(net, bytes).map_err(|reason| Error::File {
            path: "the bytes of a checkpoint".to_owned(),
            reason,
        })?;
        net.params_mut().copy_from_slice(&params);
        Ok(())
    }

    fn read<T: Real>(
        self,
        net: &Network<T>,
        from: impl Read,
    ) -> std::result::Result<Vec<T>, String> {
        let reader = Reader::new(from, self)?;
        reader.check_architecture(&net.architecture())?;
        let expected = expected(net);
        let contents = reader.read(&expected)?;
        Ok(expected.iter().flat_map(|tensor| contents.reals(tensor)).collect())
    }
}
