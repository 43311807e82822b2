//! CIFAR-10 and CIFAR-100 in their published binary form.
//!
//! <https://www.cs.toronto.edu/~kriz/cifar.html>, "Binary version": a file is a row of records. A record of CIFAR-10 has
//! one byte for the class, one of CIFAR-100 a byte for the coarse class and one for the fine one; then follow 1024 bytes
//! of red, of green and of blue, each 32 rows of 32.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::regular;

use super::data::{DataError, Set};
use super::raster::Raster;
use super::sample::Sample;

/// Rows and columns of a picture.
const SIDE: usize = 32;

/// Bytes of one colour.
const PLANE: usize = SIDE * SIDE;

/// Most bytes of a file: the largest one, CIFAR-100's training set, has 154 MB.
const LARGEST: u64 = 200_000_000;

/// A set in this form.
struct Form {
    /// File with the names of the classes, one per line.
    labels: &'static str,
    /// Number of classes.
    classes: usize,
    /// Bytes before a picture; the last of them is its class.
    header: usize,
    /// Files for training.
    train: &'static [&'static str],
    /// The file for testing.
    test: &'static str,
}

const FORMS: [Form; 2] = [
    Form {
        labels: "batches.meta.txt",
        classes: 10,
        header: 1,
        train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
        test: "test_batch.bin",
    },
    Form { labels: "fine_label_names.txt", classes: 100, header: 2, train: &["train.bin"], test: "test.bin" },
];

/// Largest list of labels in bytes.
const LARGEST_LABELS: u64 = 1 << 20;

/// The sets for training and for testing in `folder`; `None` if it holds no such set.
///
/// # Errors
/// If a file of the set is missing or damaged.
pub fn read(folder: &Path) -> Result<Option<(Set, Set)>, DataError> {
    let Some(form) = FORMS.iter().find(|form| folder.join(form.train[0]).is_file()) else { return Ok(None) };
    let labels = folder.join(form.labels);
    let text = regular::read_text(&labels, LARGEST_LABELS)
        .map_err(|source| DataError::Unreadable { path: labels.clone(), source })?;
    let labels: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if labels.len() != form.classes {
        let (expected, found) = (form.classes, labels.len());
        return Err(DataError::CifarLabels { path: folder.join(form.labels), expected, found });
    }
    let set = |files: &[&str]| {
        let mut samples = Vec::new();
        for file in files {
            records(&folder.join(file), form, &mut samples)?;
        }
        Ok::<_, DataError>(Set { labels: labels.clone(), others: Vec::new(), samples, root: folder.to_owned() })
    };
    Ok(Some((set(form.train)?, set(&[form.test])?)))
}

fn records(path: &Path, form: &Form, samples: &mut Vec<Sample>) -> Result<(), DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
    let mut content = Vec::new();
    regular::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content)).map_err(unreadable)?;
    let (length, record) = (content.len() as u64, form.header + 3 * PLANE);
    if length > LARGEST {
        return Err(DataError::CifarSize { path: path.to_owned(), most: LARGEST });
    }
    if length == 0 || length % record as u64 != 0 {
        return Err(DataError::CifarLength { path: path.to_owned(), length, record });
    }
    for (number, bytes) in content.chunks_exact(record).enumerate() {
        let (header, planes) = bytes.split_at(form.header);
        let class = header.last().map_or(0, |class| usize::from(*class));
        if class >= form.classes {
            let (path, last) = (path.to_owned(), form.classes - 1);
            return Err(DataError::CifarClass { path, byte: number * record + form.header - 1, class, last });
        }
        let data = (0..PLANE).flat_map(|pixel| [0, 1, 2].map(|colour| planes[colour * PLANE + pixel])).collect();
        let raster = Raster { width: SIDE, height: SIDE, data };
        samples.push(Sample::in_memory(PathBuf::from(format!("{}#{number}", path.display())), class, raster));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    fn write(folder: &Path, file: &str, records: &[(u8, u8)]) {
        let bytes: Vec<u8> = records
            .iter()
            .flat_map(|&(class, value)| {
                let planes = [value, value.wrapping_add(1), value.wrapping_add(2)].map(|value| vec![value; PLANE]);
                [vec![0, class], planes.concat()].concat()
            })
            .collect();
        fs::write(folder.join(file), bytes).unwrap();
    }

    #[test]
    fn records_are_pictures_with_their_fine_class() {
        let root = tempfile::tempdir().unwrap();
        assert!(read(root.path()).unwrap().is_none());
        write(root.path(), "train.bin", &[(99, 10), (3, 20)]);
        write(root.path(), "test.bin", &[(0, 30)]);
        let labels: String = (0..100).map(|class| format!("thing_{class}\n")).collect();
        fs::write(root.path().join("fine_label_names.txt"), labels).unwrap();
        let (train, test) = read(root.path()).unwrap().unwrap();
        assert_eq!((train.labels.len(), train.samples.len(), test.samples.len()), (100, 2, 1));
        assert_eq!((train.samples[0].class, train.samples[1].class), (99, 3));
        assert_eq!(train.samples[1].read().unwrap().data[..6], [20, 21, 22, 20, 21, 22]);

        write(root.path(), "test.bin", &[(0, 30), (100, 30)]);
        let error = read(root.path()).unwrap_err().to_string();
        assert!(error.contains("byte 3075") && error.contains("100"), "{error}");
        fs::write(root.path().join("test.bin"), [0; 3000]).unwrap();
        assert!(read(root.path()).unwrap_err().to_string().contains("3074"));
        fs::File::create(root.path().join("test.bin")).unwrap().set_len(3074 * 100_000).unwrap();
        assert!(matches!(read(root.path()), Err(DataError::CifarSize { .. })));
        fs::remove_file(root.path().join("test.bin")).unwrap();
        assert!(matches!(read(root.path()), Err(DataError::Unreadable { .. })));
    }
}
