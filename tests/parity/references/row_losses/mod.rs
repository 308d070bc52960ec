//! `row_losses.safetensors`: losses of rows, each against all others, against the rows of another matrix, or
//! against classes.
//!
//! The libraries themselves computed these values and gradients: pytorch-metric-learning 2.9.0 (`pml_`) with
//! its defaults but as named, sentence-transformers 6.2.0 (`st_`) and open_clip 3.3.0 (`clip`, `siglip`); for
//! the other cases it was PyTorch, from the formula.
//!
//! | cases | arrays | module |
//! |---|---|---|
//! | `pml_NAME`, `simclr`, `supcon_in` | `x` (B x D), `labels`, `value`, `grad` | `among` |
//! | `pml_NAME_ref` | `queries`, `keys`, a label for each, `value`, both gradients | `across` |
//! | `clip`, `infonce_dot`, `decoupled_dot` | two matrices, a scale, `value`, all gradients | `across` |
//! | `siglip` | the same, and a bias | `sigmoid` |
//! | `st_mnrl`, `st_mnrl_symmetric` | `column0` on, `grad0` on, `scale`, `value` | `across` |
//! | `pml_arcface` and others of classes | `x`, `labels`, `weights`, `value`, both gradients | `classes` |
//! | `cross_entropy` | `logits` (N x C), `labels`, `value`, `grad` | `cross_entropy` |

mod across;
mod among;
mod case;
mod classes;
mod cross_entropy;
mod own_losses;
mod rows;
mod sigmoid;

use crate::support::Reference;

fn compare(test: &str, in_each_precision: [fn(&Reference); 2]) {
    let reference = Reference::open("row_losses");
    for compare in in_each_precision {
        compare(&reference);
    }
    reference.report(test);
}

#[test]
fn every_loss_of_one_batch_is_that_of_its_library() {
    compare("losses of one batch", [among::compare_all::<f32>, among::compare_all::<f64>]);
}

#[test]
fn every_loss_of_two_batches_is_that_of_its_library() {
    compare("losses of two batches", [across::compare_all::<f32>, across::compare_all::<f64>]);
    compare("pairwise sigmoids", [sigmoid::compare_all::<f32>, sigmoid::compare_all::<f64>]);
}

#[test]
fn every_loss_of_rows_and_classes_is_that_of_its_library() {
    compare("losses of classes", [classes::compare_all::<f32>, classes::compare_all::<f64>]);
}

#[test]
fn cross_entropy_of_logits_is_that_of_autograd() {
    compare(
        "cross entropy",
        [cross_entropy::compare_all::<f32>, cross_entropy::compare_all::<f64>],
    );
}
