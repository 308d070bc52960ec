//! What is refused, and what is no refusal though there is nothing to do.

use drlim::batch::{row_distances, row_distances_backward};
use drlim::{Cx, Mat, MatMut};

use crate::distances::DISTANCES;

/// What is refused when one argument of good calls with 3 x 2 matrices is replaced.
#[derive(Clone, Copy)]
struct Refusal {
    b: [usize; 2],
    vector: usize,
    grad_a: [usize; 2],
    grad_b: [usize; 2],
    message: &'static str,
}

const GOOD: Refusal = Refusal { b: [3, 2], vector: 3, grad_a: [3, 2], grad_b: [3, 2], message: "" };

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let data = [1.0_f32; 12];
    let mat = |[rows, cols]: [usize; 2]| Mat::new(&data[..rows * cols], rows, cols).unwrap();
    let cx = Cx::default();
    for distance in DISTANCES {
        let mut out = [7.0; 4];
        for refusal in [
            Refusal { b: [2, 3], message: "b has shape 2x3, expected 3x2 (as a)", ..GOOD },
            Refusal { b: [3, 1], message: "b has shape 3x1, expected 3x2 (as a)", ..GOOD },
            Refusal {
                vector: 2,
                message: "out has 2 elements, expected 3 (the rows of a)",
                ..GOOD
            },
            Refusal {
                vector: 4,
                message: "out has 4 elements, expected 3 (the rows of a)",
                ..GOOD
            },
        ] {
            let out = &mut out[..refusal.vector];
            let refused = row_distances(&cx, distance, mat([3, 2]), mat(refusal.b), out);
            let message = format!("row_distances: {}", refusal.message);
            assert_eq!(refused.unwrap_err().to_string(), message);
        }
        assert_eq!(out, [7.0; 4]);

        let (mut grad_a, mut grad_b) = ([7.0; 12], [7.0; 12]);
        let upstream = [1.0; 4];
        for refusal in [
            Refusal { b: [2, 3], message: "b has shape 2x3, expected 3x2 (as a)", ..GOOD },
            Refusal {
                vector: 2,
                message: "upstream has 2 elements, expected 3 (the rows of a)",
                ..GOOD
            },
            Refusal {
                vector: 4,
                message: "upstream has 4 elements, expected 3 (the rows of a)",
                ..GOOD
            },
            Refusal {
                grad_a: [2, 2],
                message: "grad_a has shape 2x2, expected 3x2 (as a)",
                ..GOOD
            },
            Refusal {
                grad_a: [2, 3],
                message: "grad_a has shape 2x3, expected 3x2 (as a)",
                ..GOOD
            },
            Refusal {
                grad_b: [4, 2],
                message: "grad_b has shape 4x2, expected 3x2 (as a)",
                ..GOOD
            },
            Refusal {
                grad_b: [3, 3],
                message: "grad_b has shape 3x3, expected 3x2 (as a)",
                ..GOOD
            },
        ] {
            let [ga, gb] = [refusal.grad_a, refusal.grad_b];
            let refused = row_distances_backward(
                &cx,
                distance,
                mat([3, 2]),
                mat(refusal.b),
                &upstream[..refusal.vector],
                MatMut::new(&mut grad_a[..ga[0] * ga[1]], ga[0], ga[1]).unwrap(),
                MatMut::new(&mut grad_b[..gb[0] * gb[1]], gb[0], gb[1]).unwrap(),
            );
            let message = format!("row_distances_backward: {}", refusal.message);
            assert_eq!(refused.unwrap_err().to_string(), message);
        }
        assert_eq!((grad_a, grad_b), ([7.0; 12], [7.0; 12]));
    }
}

/// Rows so wide that one of them is a task, none of them, and no memory at all.
#[test]
fn no_rows_of_any_width_are_no_distances() {
    for cols in [0, 1, 16385, 1 << 20, usize::MAX] {
        let none = || Mat::<f32>::new(&[], 0, cols).unwrap();
        for distance in DISTANCES {
            let cx = Cx::default();
            row_distances(&cx, distance, none(), none(), &mut []).unwrap();
            let [grad_a, grad_b] = [&mut [], &mut []].map(|g| MatMut::new(g, 0, cols).unwrap());
            row_distances_backward(&cx, distance, none(), none(), &[], grad_a, grad_b).unwrap();
        }
    }
}
