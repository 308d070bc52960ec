//! What the embedding is compared with: the same classifier on pixels, and after PCA.

use drlim::{Cx, Error};

use crate::shared::digits::Digits;
use crate::shared::pca::Pca;
use crate::shared::points::{knn_error, points};

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
        let pca = Pca::<2>::fit(train);
        Ok(Baselines {
            raw: knn_error(cx, digits, train, test)?,
            pca: knn_error(cx, digits, points(&pca.project(train))?, points(&pca.project(test))?)?,
        })
    }
}
