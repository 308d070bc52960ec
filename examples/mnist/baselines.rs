//! What the embedding is compared with: the same classifier on pixels, and after PCA.

use drlim::{Cx, Error, Mat, metrics};

use crate::digits::{Digits, VOTERS};
use crate::pca::Pca;

/// Errors of the 5-NN classifier, test images against training images.
pub struct Baselines {
    /// On raw pixels.
    pub raw: f64,
    /// On the first two principal components.
    pub pca: f64,
}

impl Baselines {
    /// Measures both.
    pub fn measure(cx: &Cx, digits: &Digits) -> Result<Self, Error> {
        let (train, test) = (digits.train.pixels()?, digits.test.pixels()?);
        let pca = Pca::fit(train);
        Ok(Baselines {
            raw: knn_error(cx, digits, train, test)?,
            pca: knn_error(cx, digits, points(&pca.project(train))?, points(&pca.project(test))?)?,
        })
    }
}

/// Points in the plane as a matrix.
pub fn points(points: &[[f32; 2]]) -> Result<Mat<'_, f32>, Error> {
    Mat::new(points.as_flattened(), points.len(), 2)
}

/// The share of the test images that their nearest training images give a wrong class.
pub fn knn_error(cx: &Cx, digits: &Digits, train: Mat<f32>, test: Mat<f32>) -> Result<f64, Error> {
    metrics::knn_error(cx, train, &digits.train.labels, test, &digits.test.labels, VOTERS)
}
