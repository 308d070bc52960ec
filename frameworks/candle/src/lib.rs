//! The losses of drlim on tensors of candle, with gradients into its graph.
//!
//! [`loss`] runs any call of drlim on matrices of embeddings. The call gives the value and the gradients at once,
//! in the forward pass; the backward pass multiplies these by the gradient of the value.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use drlim::batch::{AnchorScratch, AnchorsOut, all_anchors};
//! use drlim::loss::{AnchorObjective, Softmax};
//! use drlim::{Cx, Similar};
//!
//! # fn main() -> candle_core::Result<()> {
//! let embeddings = Var::from_tensor(&Tensor::randn(0_f32, 1.0, (64, 16), &Device::Cpu)?)?;
//! let unit = embeddings.broadcast_div(&embeddings.sqr()?.sum_keepdim(1)?.sqrt()?)?;
//! let labels: Vec<i64> = (0..64).map(|row| row % 4).collect();
//!
//! let (cx, softmax) = (Cx::default(), Softmax::temperature(0.1_f32).expect("a temperature"));
//! let objective = AnchorObjective::mean(&softmax);
//! let mut scratch = AnchorScratch::new();
//! let value = drlim_candle::loss([&unit], |[z], [grad]| {
//!     let out = AnchorsOut { grad, ..AnchorsOut::none() };
//!     Ok(all_anchors(&cx, &objective, z, Similar::Labels(&labels), out, &mut scratch)?.value)
//! })?;
//! let grads = value.backward()?;
//! assert_eq!(grads.get(&embeddings).expect("a gradient").dims(), [64, 16]);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Error, Layout, Result, Shape, Tensor,
    WithDType, bail,
};
use drlim::{Mat, MatMut};

/// The elements of embeddings: `f32` or `f64`.
pub trait Element: drlim::Real + WithDType {}

impl Element for f32 {}
impl Element for f64 {}

/// The value, a scalar, of a call of drlim on one to three matrices of embeddings.
///
/// `call` gets the inputs and, for those that a gradient may flow to, a matrix of zeros of the same shape to write it
/// into, and returns the value. Inputs are on the CPU, of two dimensions and of the type `T`; those whose rows do not
/// lie one after the other are copied.
///
/// # Errors
/// Where an input is none of that, or `call` fails.
pub fn loss<T: Element, const N: usize>(
    inputs: [&Tensor; N],
    call: impl FnOnce([Mat<T>; N], [Option<MatMut<T>>; N]) -> drlim::Result<f64>,
) -> Result<Tensor> {
    const { assert!(N >= 1 && N <= 3, "candle has operations of one to three inputs") }
    for input in inputs {
        if !input.device().is_cpu() {
            bail!(
                "drlim: an input is on {:?}, expected the CPU: use to_device",
                input.device().location()
            );
        }
        if input.dtype() != T::DTYPE || input.rank() != 2 {
            bail!(
                "drlim: an input is of {:?} and shape {:?}, expected {:?} and two dimensions",
                input.dtype(),
                input.shape(),
                T::DTYPE
            );
        }
    }
    let shapes = inputs.map(|input| input.dims2().expect("two dimensions"));
    let mut grads = [const { None }; N];
    for (grad, (input, (rows, cols))) in grads.iter_mut().zip(inputs.iter().zip(shapes)) {
        *grad = input.track_op().then(|| vec![<T as drlim::Real>::ZERO; rows * cols]);
    }
    let value = {
        let mut contiguous = Vec::with_capacity(N);
        for input in inputs {
            contiguous.push(input.contiguous()?);
        }
        let storages: Vec<_> = contiguous.iter().map(Tensor::storage_and_layout).collect();
        let mut mats = Vec::with_capacity(N);
        for ((storage, layout), (rows, cols)) in storages.iter().zip(shapes) {
            let candle_core::Storage::Cpu(storage) = &**storage else {
                unreachable!("inputs are on the CPU")
            };
            let all = storage.as_slice::<T>()?;
            let (start, end) = layout.contiguous_offsets().expect("contiguous");
            mats.push(Mat::new(&all[start..end], rows, cols).map_err(Error::wrap)?);
        }
        let mut out = [const { None }; N];
        for ((out, grad), (rows, cols)) in out.iter_mut().zip(&mut grads).zip(shapes) {
            if let Some(grad) = grad {
                *out = Some(MatMut::new(grad, rows, cols).map_err(Error::wrap)?);
            }
        }
        let Ok(mats) = <[Mat<T>; N]>::try_from(mats) else { unreachable!("one for each input") };
        call(mats, out).map_err(Error::wrap)?
    };
    let mut known = Known { value, dtype: T::DTYPE, grads: [const { None }; 3] };
    for ((to, grad), input) in known.grads.iter_mut().zip(grads).zip(inputs) {
        if let Some(grad) = grad {
            *to = Some(Tensor::from_vec(grad, input.shape(), input.device())?);
        }
    }
    match inputs.as_slice() {
        [a] => a.apply_op1(known),
        [a, b] => a.apply_op2(b, known),
        [a, b, c] => a.apply_op3(b, c, known),
        _ => unreachable!("one to three inputs"),
    }
}

/// An operation whose value and gradients are known already.
struct Known {
    value: f64,
    dtype: DType,
    grads: [Option<Tensor>; 3],
}

impl Known {
    const NAME: &str = "drlim";

    fn value(&self) -> Result<(CpuStorage, Shape)> {
        let storage = match self.dtype {
            DType::F64 => CpuStorage::F64(vec![self.value]),
            _ => CpuStorage::F32(vec![self.value as f32]),
        };
        Ok((storage, Shape::from(())))
    }

    /// The gradient of each input, for the gradient of the value.
    fn times(&self, of_value: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let mut all = [const { None }; 3];
        for (to, grad) in all.iter_mut().zip(&self.grads) {
            if let Some(grad) = grad {
                *to = Some(grad.broadcast_mul(of_value)?);
            }
        }
        Ok(all)
    }
}

impl CustomOp1 for Known {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.value()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, of_value: &Tensor) -> Result<Option<Tensor>> {
        let [a, ..] = self.times(of_value)?;
        Ok(a)
    }
}

impl CustomOp2 for Known {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.value()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        of_value: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b, _] = self.times(of_value)?;
        Ok((a, b))
    }
}

impl CustomOp3 for Known {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.value()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        of_value: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.times(of_value)?;
        Ok((a, b, c))
    }
}
