//! The losses of drlim on tensors of burn, with gradients into its graph.
//!
//! [`loss`] runs any call of drlim on matrices of embeddings. The call gives the value and the gradients at once,
//! in the forward pass; the backward pass multiplies these by the gradient of the value.
//!
//! ```
//! use burn_tensor::{Device, Distribution, Tensor};
//! use drlim::batch::{AnchorScratch, AnchorsOut, all_anchors};
//! use drlim::loss::{AnchorObjective, Softmax};
//! use drlim::{Cx, Similar};
//!
//! # fn main() -> Result<(), drlim_burn::Error> {
//! let device = Device::flex().autodiff();
//! let embeddings = Tensor::<2>::random([64, 16], Distribution::Default, &device).require_grad();
//! let unit = embeddings.clone() / embeddings.clone().powi_scalar(2).sum_dim(1).sqrt();
//! let labels: Vec<i64> = (0..64).map(|row| row % 4).collect();
//!
//! let (cx, softmax) = (Cx::default(), Softmax::temperature(0.1_f32)?);
//! let objective = AnchorObjective::mean(&softmax);
//! let mut scratch = AnchorScratch::new();
//! let value = drlim_burn::loss([unit], |[z], [grad]| {
//!     let out = AnchorsOut { grad, ..AnchorsOut::none() };
//!     Ok(all_anchors(&cx, &objective, z, Similar::Labels(&labels), out, &mut scratch)?.value)
//! })?;
//! let grads = value.backward();
//! assert_eq!(embeddings.grad(&grads).expect("a gradient").dims(), [64, 16]);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

use std::fmt;

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use burn_flex::Flex;
use burn_tensor::{Element, Tensor, TensorData};
use drlim::{Mat, MatMut, Real};

/// Why [`loss`] has no value.
#[derive(Debug)]
pub enum Error {
    /// An input is not what it takes: what came, and what was expected.
    Input(String),
    /// The call on the matrices failed.
    Call(drlim::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Input(text) => write!(f, "{text}"),
            Error::Call(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<drlim::Error> for Error {
    fn from(error: drlim::Error) -> Self {
        Error::Call(error)
    }
}

/// The value, a tensor of one element, of a call of drlim on matrices of embeddings.
///
/// `call` gets the inputs, which are copied, and, for those that a gradient may flow to, a matrix of zeros of the same
/// shape to write it into, and returns the value. Inputs are of the type `T`, on burn's device `flex` with autodiff.
///
/// # Errors
/// Where an input is none of that, or `call` fails.
pub fn loss<T: Real + Element, const N: usize>(
    inputs: [Tensor<2>; N],
    call: impl FnOnce([Mat<T>; N], [Option<MatMut<T>>; N]) -> drlim::Result<f64>,
) -> Result<Tensor<1>, Error> {
    let (mut rows, mut shapes, mut nodes) = (Vec::new(), [(0, 0); N], Vec::new());
    for (input, shape) in inputs.into_iter().zip(&mut shapes) {
        *shape = input.dims().into();
        let data = input.to_data();
        let found = data.try_to_vec::<T>();
        rows.push(found.map_err(|_| {
            unexpected(format!("of {:?}", data.dtype()), &format!("{:?}", T::dtype()))
        })?);
        let node = input.try_into_primitive::<Autodiff<Flex>>();
        nodes.push(node.map_err(|error| {
            unexpected(format!("{error:?}"), "a tensor of Device::flex().autodiff()")
        })?);
    }
    let mut grads = [const { None }; N];
    for (grad, (node, (rows, cols))) in grads.iter_mut().zip(nodes.iter().zip(shapes)) {
        *grad = node.is_tracked().then(|| vec![<T as Real>::ZERO; rows * cols]);
    }
    let mut mats = Vec::new();
    for (data, (rows, cols)) in rows.iter().zip(shapes) {
        mats.push(Mat::new(data, rows, cols)?);
    }
    let mut out = [const { None }; N];
    for ((out, grad), (rows, cols)) in out.iter_mut().zip(&mut grads).zip(shapes) {
        if let Some(grad) = grad {
            *out = Some(MatMut::new(grad, rows, cols)?);
        }
    }
    let Ok(mats) = <[Mat<T>; N]>::try_from(mats) else { unreachable!("one for each input") };
    let value = call(mats, out)?;

    let device = Default::default();
    let mut state = Vec::new();
    for (grad, (rows, cols)) in grads.into_iter().zip(shapes) {
        let tensor = |grad| Flex::float_from_data(TensorData::new(grad, [rows, cols]), &device);
        state.push(grad.map(tensor));
    }
    let value = Flex::float_from_data(TensorData::new(vec![T::from_f64(value)], [1]), &device);
    let Ok(nodes) = <[_; N]>::try_from(nodes) else { unreachable!("one for each input") };
    let guards = nodes.map(|node| node.into_parts().1);
    let prepared = Backward::<Flex, N>::prepare::<NoCheckpointing>(Known, guards).compute_bound();
    let value = match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state, value),
        OpsKind::UnTracked(prepared) => prepared.finish(value),
    };
    Ok(Tensor::from_primitive::<Autodiff<Flex>>(value))
}

fn unexpected(came: String, expected: &str) -> Error {
    Error::Input(format!("drlim: an input is {came}, expected {expected}"))
}

/// An operation whose gradients are known already: its state holds one for each input that has one.
#[derive(Debug)]
struct Known;

impl<const N: usize> Backward<Flex, N> for Known {
    type State = Vec<Option<FloatTensor<Flex>>>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let of_value = grads.consume::<Flex>(&ops.node);
        for (parent, grad) in ops.parents.into_iter().zip(ops.state) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                let one = Flex::float_reshape(of_value.clone(), [1, 1].into());
                grads.register::<Flex>(parent.id, Flex::float_mul(grad, one));
            }
        }
    }
}
