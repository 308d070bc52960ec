//! The forward and backward pass of a network, part by part. Between parts, samples lie as rows.

#![forbid(unsafe_code)]

use super::Network;
use super::image_run::RowsOf;
use super::parts::Part;
use super::workspace::Workspace;
use crate::error::{Result, check_len, check_shape};
use crate::memory::mat::{Mat, MatMut};
use crate::nn::layer::{Backward, Forward};
use crate::parallel::cx::Cx;
use crate::simd::real::{Real, compiled};

impl<T: Real> Network<T> {
    /// The outputs of N samples, the rows of `x`: N rows, which stay in the workspace.
    ///
    /// The workspace keeps a copy of all that a backward pass needs of `x`, so `x` need not outlive the call;
    /// it may have gaps between its rows. Refused where `x` is wider or narrower than an input sample, or the
    /// workspace belongs to another network or is for smaller batches.
    #[inline(never)]
    pub fn forward<'w>(
        &self,
        cx: &Cx,
        x: Mat<T>,
        workspace: &'w mut Workspace<T>,
    ) -> Result<Mat<'w, T>> {
        let input = self.input().len();
        check_shape("forward", "x", x.shape(), [x.rows(), input], "the network's input")?;
        self.forward_rows(cx, x.rows(), &|i| x.row(i), workspace)
    }

    /// As [`forward`](Network::forward), for samples that `rows` gives by their number, each as long as the
    /// network's input.
    #[inline(never)]
    pub(crate) fn forward_rows<'w>(
        &self,
        cx: &Cx,
        samples: usize,
        rows: RowsOf<T>,
        workspace: &'w mut Workspace<T>,
    ) -> Result<Mat<'w, T>> {
        self.check_workspace("forward", workspace, samples)?;
        // If a layer panics, no backward pass may follow.
        workspace.samples = 0;
        let last = self.parts().len();
        if !matches!(self.parts().next(), Some(Part::ImageRun(_))) {
            let width = self.input().len();
            for (i, to) in workspace.between[0].chunks_exact_mut(width).take(samples).enumerate() {
                to.copy_from_slice(rows(i));
            }
        }
        for (i, part) in self.parts().enumerate() {
            let [inputs, outputs] = part.lens();
            let (before, after) = (workspace.slot(i), workspace.slot(i + 1));
            let Workspace { between, kept, scratch, keeps_all, .. } = &mut *workspace;
            let [x, y] = between.get_disjoint_mut([before, after]).expect("slots of their own");
            let y = &mut y[..samples * outputs];
            match part {
                Part::ImageRun(run) => {
                    let kept = keeps_all.then(|| &mut kept[i][..samples * run.kept()]);
                    match i {
                        0 => run.forward(cx, samples, rows, kept, scratch, y),
                        _ => {
                            let row = |sample: usize| &x[sample * inputs..][..inputs];
                            run.forward(cx, samples, &row, kept, scratch, y);
                        }
                    }
                }
                Part::One(stage, params) => {
                    let (params, x) = (&params[stage.params.clone()], &x[..samples * inputs]);
                    stage.layer.forward(cx, Forward { params, x, y, scratch });
                }
            }
        }
        workspace.samples = if workspace.keeps_all { samples } else { 0 };
        let (z, width) = (&workspace.between[workspace.slot(last)], self.output().len());
        Mat::new(&z[..samples * width], samples, width)
    }

    /// Computes the gradient of the parameters, and of the input if asked for, from `dz`, that of the output.
    ///
    /// The pass belongs to the last [`forward`](Network::forward) pass on the workspace; `dz` has a row for
    /// each of its samples. `gradient` and `dx` are overwritten; `gradient` is as long as the parameters and
    /// holds the sum over the samples.
    #[inline(never)]
    pub fn backward(
        &self,
        cx: &Cx,
        dz: Mat<T>,
        workspace: &mut Workspace<T>,
        gradient: &mut [T],
        dx: Option<MatMut<T>>,
    ) -> Result<()> {
        let samples = workspace.samples;
        let (input, output) = (self.input().len(), self.output().len());
        self.check_workspace("backward", workspace, samples)?;
        let like = "the samples of the last forward pass on a training workspace";
        check_shape("backward", "dz", dz.shape(), [samples, output], like)?;
        check_len("backward", "gradient", gradient.len(), self.params().len(), "the parameters")?;
        if let Some(dx) = &dx {
            check_shape("backward", "dx", dx.shape(), [samples, input], "as the input")?;
        }
        if !workspace.keeps_all {
            gradient.fill(T::ZERO);
            return Ok(());
        }
        let Workspace { between, kept, gradients: [current, next], scratch, .. } = workspace;
        for (row, to) in dz.iter().zip(current.chunks_exact_mut(output)) {
            to.copy_from_slice(row);
        }
        for (i, part) in self.parts().enumerate().rev() {
            let [inputs, outputs] = part.lens().map(|len| samples * len);
            let dy = &mut current[..outputs];
            let below = (i > 0 || dx.is_some()).then_some(&mut next[..inputs]);
            match part {
                Part::ImageRun(run) => {
                    let kept = &kept[i][..samples * run.kept()];
                    run.backward(cx, samples, kept, dy, below, gradient, scratch);
                }
                Part::One(stage, params) => {
                    let pass = Backward {
                        params: &params[stage.params.clone()],
                        x: &between[i][..inputs],
                        y: &between[i + 1][..outputs],
                        dy,
                        dx: below,
                        d_params: &mut gradient[stage.params.clone()],
                        scratch,
                    };
                    stage.layer.backward(cx, pass);
                }
            }
            std::mem::swap(current, next);
        }
        if let Some(mut dx) = dx {
            for (i, row) in current.chunks_exact(input).take(samples).enumerate() {
                dx.row_mut(i).copy_from_slice(row);
            }
        }
        Ok(())
    }
}

compiled!(Network::<T>::forward, Network::<T>::forward_rows, Network::<T>::backward);
