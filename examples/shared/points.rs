//! Points of an embedding, and how well their neighbours tell what they are.

use drlim::{Cx, Error, Mat, metrics};

use super::digits::{Digits, VOTERS};

/// Points in the plane as a matrix.
pub fn points(points: &[[f32; 2]]) -> Result<Mat<'_, f32>, Error> {
    Mat::new(points.as_flattened(), points.len(), 2)
}

/// The share of the test images that their nearest training images give a wrong class.
pub fn knn_error(cx: &Cx, digits: &Digits, train: Mat<f32>, test: Mat<f32>) -> Result<f64, Error> {
    metrics::knn_error(cx, train, &digits.train.labels, test, &digits.test.labels, VOTERS)
}
