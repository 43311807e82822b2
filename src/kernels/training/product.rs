//! Products of matrices, by the crate `gemm`.

/// A matrix in a slice, with any distance between its rows and between its columns.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix of `rows` × `columns` values, row by row.
    ///
    /// # Panics
    /// If `values` has another length.
    #[must_use]
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "{rows} x {columns}");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transposed matrix.
    #[must_use]
    pub fn transposed(self) -> Self {
        let Self { values, rows, columns, row_stride, column_stride } = self;
        Self { values, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }
}

/// What a product does with the values that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// They are overwritten.
    New,
    /// The product is added to them.
    Sum,
}

/// Writes `a · b` into `out`, row by row, or adds it. It runs on the calling thread.
///
/// # Panics
/// If the matrices do not fit each other or `out`.
pub fn product(out: &mut [f32], into: Into, a: Matrix<'_>, b: Matrix<'_>) {
    let (rows, columns, depth) = (a.rows, b.columns, a.columns);
    assert_eq!(depth, b.rows, "the inner sizes of a product");
    assert_eq!(out.len(), rows * columns, "{rows} x {columns}");
    if depth == 0 && into == Into::New {
        out.fill(0.0);
    }
    if out.is_empty() || depth == 0 {
        return;
    }
    let stride = |length: usize| length as isize;
    // SAFETY: a matrix of `rows` × `columns` lies in its slice, as `Matrix::new` has checked and transposing does not
    // change, with strides that are distances in it; `out` has the length of the product and overlaps neither, because
    // it is borrowed exclusively.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            1,
            stride(columns),
            into == Into::Sum,
            a.values.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.values.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, values};
    use super::*;

    #[test]
    fn a_product_is_the_sum_of_products_for_any_size_and_order() {
        for (rows, depth, columns) in [(1, 1, 1), (3, 5, 2), (17, 9, 33), (64, 130, 48), (5, 0, 3)] {
            let (a, b) = (values(rows * depth, 1), values(depth * columns, 2));
            let start = values(rows * columns, 3);
            let mut expected = start.clone();
            for row in 0..rows {
                for column in 0..columns {
                    let sum: f64 =
                        (0..depth).map(|k| f64::from(a[row * depth + k]) * f64::from(b[k * columns + column])).sum();
                    expected[row * columns + column] += sum as f32;
                }
            }
            let mut sum = start.clone();
            product(&mut sum, Into::Sum, Matrix::new(&a, rows, depth), Matrix::new(&b, depth, columns));
            assert_close(&sum, &expected, 1e-4);

            let (mut across, mut down) = (vec![0.0; a.len()], vec![0.0; b.len()]);
            for row in 0..rows {
                (0..depth).for_each(|k| across[k * rows + row] = a[row * depth + k]);
            }
            for k in 0..depth {
                (0..columns).for_each(|column| down[column * depth + k] = b[k * columns + column]);
            }
            let mut fresh = vec![f32::NAN; rows * columns];
            let (a, b) = (Matrix::new(&across, depth, rows), Matrix::new(&down, columns, depth));
            product(&mut fresh, Into::New, a.transposed(), b.transposed());
            let plain: Vec<f32> = expected.iter().zip(&start).map(|(sum, start)| sum - start).collect();
            assert_close(&fresh, &plain, 1e-4);
        }
    }
}
