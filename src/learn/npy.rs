//! Writes NumPy files (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, version 1.0): a table of
//! little-endian 32-bit floats, row by row.
//!
//! The number of rows is known only at the end: the header has a fixed length and is written again then, so that memory
//! does not depend on the number of rows.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};

/// First bytes: the format and its version.
const MAGIC: [u8; 8] = *b"\x93NUMPY\x01\x00";

/// Length of the magic, the length of the header and the header: a multiple of 64, with room for two large numbers.
const START: usize = 128;

/// A table that is being written.
#[derive(Debug)]
pub struct NpyWriter<'a> {
    file: BufWriter<&'a mut File>,
    columns: usize,
    rows: u64,
}

impl<'a> NpyWriter<'a> {
    /// Begins a table with rows of `columns` numbers.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn new(file: &'a mut File, columns: usize) -> io::Result<Self> {
        let mut table = Self { file: BufWriter::with_capacity(1 << 16, file), columns, rows: 0 };
        table.file.write_all(&header(0, columns))?;
        Ok(table)
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Any error of the system; [`io::ErrorKind::InvalidInput`] if the row has another length.
    pub fn push(&mut self, row: &[f32]) -> io::Result<()> {
        if row.len() != self.columns {
            let message = format!("a row of {} numbers in a table of {} columns", row.len(), self.columns);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        row.iter().try_for_each(|value| self.file.write_all(&value.to_le_bytes()))?;
        self.rows += 1;
        Ok(())
    }

    /// Completes the table and returns its number of rows.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn finish(mut self) -> io::Result<u64> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.rows, self.columns))?;
        self.file.flush()?;
        Ok(self.rows)
    }
}

/// Magic, length and header.
fn header(rows: u64, columns: usize) -> Vec<u8> {
    let length = START - MAGIC.len() - 2;
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let mut bytes = MAGIC.to_vec();
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_table_has_the_layout_of_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let mut file = File::create(&path).unwrap();
        let mut table = NpyWriter::new(&mut file, 3).unwrap();
        table.push(&[1.0, -2.0, 0.5]).unwrap();
        table.push(&[f32::NAN, 0.0, 3.0]).unwrap();
        assert_eq!(table.push(&[1.0]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(table.finish().unwrap(), 2);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let text = std::str::from_utf8(&bytes[10..128]).unwrap();
        assert_eq!(text.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
        assert!(text.ends_with('\n'));
        assert_eq!(bytes.len(), 128 + 24);
        assert_eq!(bytes[128..132], 1.0_f32.to_le_bytes());
        assert_eq!(bytes[132..136], (-2.0_f32).to_le_bytes());
    }

    #[test]
    fn the_largest_numbers_fit_into_the_header() {
        assert_eq!(header(u64::MAX, usize::MAX).len(), START);
    }
}
