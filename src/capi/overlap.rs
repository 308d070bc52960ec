//! Whether two matrices share a byte, exactly: column halves of one array do not, though they lie in each
//! other's range.

#![forbid(unsafe_code)]

use super::places::Extent;

impl Extent {
    /// The first byte past the last row.
    fn end(&self) -> usize {
        self.start + self.rows.saturating_sub(1) * self.stride + self.width
    }

    /// The first row that ends past `byte`.
    fn row_past(&self, byte: usize) -> usize {
        match byte.checked_sub(self.start + self.width) {
            None => 0,
            Some(_) if self.stride == 0 => self.rows,
            Some(beyond) => beyond / self.stride + 1,
        }
    }
}

/// Whether a byte is in both.
pub(super) fn overlap(a: &Extent, b: &Extent) -> bool {
    if a.rows == 0 || b.rows == 0 || a.end() <= b.start || b.end() <= a.start {
        return false;
    }
    // Each row of the one with fewer rows against the first row of the other that ends past its start.
    let (few, many) = if a.rows <= b.rows { (a, b) } else { (b, a) };
    (0..few.rows).any(|i| {
        let start = few.start + i * few.stride;
        let row = many.row_past(start);
        row < many.rows && many.start + row * many.stride < start + few.width
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extents() -> impl Strategy<Value = Extent> {
        (0_usize..40, 0_usize..6, 1_usize..8, 0_usize..8).prop_map(|(start, rows, width, gap)| {
            let stride = if rows == 1 { 0 } else { width + gap };
            if rows == 0 {
                Extent { start: 0, rows: 0, width: 0, stride: 0 }
            } else {
                Extent { start, rows, width, stride }
            }
        })
    }

    fn bytes(extent: &Extent) -> Vec<usize> {
        let row = |i: usize| extent.start + i * extent.stride..;
        (0..extent.rows).flat_map(|i| row(i).take(extent.width)).collect()
    }

    proptest! {
        /// What two matrices share is found, and nothing else.
        #[test]
        fn exact(a in extents(), b in extents()) {
            let (of_a, of_b) = (bytes(&a), bytes(&b));
            let shared = of_a.iter().any(|byte| of_b.contains(byte));
            prop_assert_eq!(overlap(&a, &b), shared);
            prop_assert_eq!(overlap(&b, &a), shared);
        }
    }
}
