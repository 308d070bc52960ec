//! The memory that an argument covers, and whether two arguments share a byte. The answer is exact: column
//! halves of one array share none, though they lie in each other's range.

#![forbid(unsafe_code)]

/// Rows of bytes in memory, in ascending order. A list is one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub start: usize,
    pub rows: usize,
    /// Bytes of a row.
    pub width: usize,
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
}

impl Extent {
    pub(super) const EMPTY: Extent = Extent { start: 0, rows: 0, width: 0, stride: 0 };

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

/// Whether two extents share a byte.
pub(super) fn overlap(a: &Extent, b: &Extent) -> bool {
    if a.rows == 0 || b.rows == 0 || a.end() <= b.start || b.end() <= a.start {
        return false;
    }
    // Compares each row of the extent with fewer rows with the first row of the other that ends past its
    // start.
    let (few, many) = if a.rows <= b.rows { (a, b) } else { (b, a) };
    (0..few.rows).any(|i| {
        let start = few.start + i * few.stride;
        let row = many.row_past(start);
        row < many.rows && many.start + row * many.stride < start + few.width
    })
}
