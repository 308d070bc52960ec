//! What a call refuses.

use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::Objective;
use drlim::{Cx, Error, Mat, MatMut, Similar};

use super::MARGIN;
use crate::support::Element;

#[test]
fn what_does_not_match_is_refused_and_nothing_is_written() {
    let loss = f32::contrastive(MARGIN);
    let objective = Objective::sum(&*loss);
    let z = [0.0_f32; 12];
    let z = Mat::new(&z, 4, 3).unwrap();
    let mut scratch = AllPairsScratch::new();
    let cx = Cx::default();
    let error = all_pairs(&cx, &objective, z, Similar::Labels(&[1; 3]), None, &mut scratch);
    let message = "all_pairs: similar has 3 elements, expected 4 (the rows of z)";
    assert_eq!(error.unwrap_err().to_string(), message);
    let mut grad = [7.0_f32; 12];
    let to = Some(MatMut::new(&mut grad, 3, 4).unwrap());
    let error = all_pairs(&cx, &objective, z, Similar::Labels(&[1; 4]), to, &mut scratch);
    assert!(matches!(error, Err(Error::Shape { arg: "grad", got: [3, 4], .. })));
    assert_eq!(grad, [7.0; 12]);
}
