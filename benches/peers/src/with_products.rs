//! Dense layers, done with any library of products.

use crate::contest::{Entrant, entrant};
use crate::dense::{Gradients, Grads, Outputs, Rows, bias_gradient};
use crate::product::{Factor, Product};

pub fn outputs<'w>(
    library: &'static str,
    product: Product,
    work: &'w Outputs,
) -> Box<dyn Entrant + 'w> {
    let layer = work.0;
    let [samples, inputs, outputs] = layer.shape;
    entrant(library, "", Rows::new(layer), move |out| {
        out.elements.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(&layer.bias));
        let x = Factor::new(&layer.x, [samples, inputs]);
        let weight = Factor::new(&layer.weight, [outputs, inputs]);
        product(&mut out.elements, 1.0, 1.0, x, weight.transposed());
    })
}

pub fn gradients<'w>(
    library: &'static str,
    product: Product,
    work: &'w Gradients,
) -> Box<dyn Entrant + 'w> {
    let layer = work.layer;
    let [samples, inputs, outputs] = layer.shape;
    entrant(library, "", Grads::new(work), move |out| {
        let x = Factor::new(&layer.x, [samples, inputs]);
        let dy = Factor::new(&layer.dy, [samples, outputs]);
        let (to_weight, to_bias) = out.params.split_at_mut(inputs * outputs);
        product(to_weight, 0.0, 1.0, dy.transposed(), x);
        bias_gradient(&layer.dy, to_bias);
        if work.dx {
            let weight = Factor::new(&layer.weight, [outputs, inputs]);
            product(&mut out.dx, 0.0, 1.0, dy, weight);
        }
    })
}
