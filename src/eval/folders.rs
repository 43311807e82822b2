//! A folder with one subfolder per class, as people and recorders' disks have it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, DatasetError, Doubt, Sample};
use crate::capture::{self, is_picture};

/// The pictures of a folder with one subfolder per class, in byte order of folders and files, and of folders below
/// these. Hidden files and folders are left out.
///
/// If the subfolders have names of `labels`, in any case and with `_` for spaces, these are their classes. If all have
/// numbers as names, these are the classes. If none has the name of a label, the subfolders are the classes in order, as
/// in torchvision's `ImageFolder`, and their number must match. Only the first `classes` of the labels have numbers and an
/// order; the others are answers for pictures of no class.
///
/// # Errors
/// If a folder is unreadable, the folders do not match the classes, or there are no pictures.
pub fn from_folders<L: AsRef<str>>(images: &Path, labels: &[L], classes: usize) -> Result<Dataset, DatasetError> {
    let (folders, beside): (Vec<PathBuf>, Vec<PathBuf>) = visible(images)?.into_iter().partition(|path| path.is_dir());
    let (classes, doubt) = classes_of(images, &folders, labels, classes)?;
    // Those in no folder have no class.
    let left_out = beside.into_iter().filter(|path| is_picture(path)).collect();
    let mut set = Dataset { samples: Vec::new(), left_out, doubt };
    let root = place(images)?;
    for (folder, class) in folders.iter().zip(classes) {
        collect(folder, class, &mut HashSet::from([root]), &mut set)?;
    }
    if set.samples.is_empty() { Err(DatasetError::Empty { path: images.to_owned() }) } else { Ok(set) }
}

/// The class of each folder.
fn classes_of<L: AsRef<str>>(
    images: &Path,
    folders: &[PathBuf],
    labels: &[L],
    classes: usize,
) -> Result<(Vec<usize>, Option<Doubt>), DatasetError> {
    let names: Vec<String> =
        folders.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into())).collect();
    let by_label = by_label(&names, labels);
    let path = images.to_owned();
    if by_label.iter().any(Option::is_some) {
        if let Some(classes) = by_label.iter().copied().collect() {
            return Ok((classes, None));
        }
        let folders = names.iter().zip(&by_label).filter(|(_, class)| class.is_none()).map(|(name, _)| name.clone());
        let named: HashSet<usize> = by_label.iter().copied().flatten().collect();
        let labels = labels.iter().enumerate().filter(|(index, _)| !named.contains(index));
        let labels = labels.map(|(_, label)| label.as_ref().to_owned()).collect();
        return Err(DatasetError::Misnamed { path, folders: folders.collect(), labels });
    }
    let labels = &labels[..classes.min(labels.len())];
    let number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok())?;
    let by_number: Option<Vec<usize>> = names.iter().map(number).collect();
    if let Some(numbers) = by_number.filter(|numbers| !numbers.is_empty()) {
        if let Some(index) = numbers.iter().position(|number| *number >= labels.len()) {
            let (number, last) = (numbers[index], labels.len().saturating_sub(1));
            return Err(DatasetError::Number { path: folders[index].clone(), number, last });
        }
        let doubt = (!numbers.is_sorted()).then_some(Doubt::Numbers);
        return Ok((numbers, doubt));
    }
    match names.as_slice() {
        [first, .., last] if names.len() == labels.len() => {
            let doubt = Doubt::Order { first: first.clone(), last: last.clone() };
            Ok(((0..names.len()).collect(), Some(doubt)))
        }
        [_] if labels.len() == 1 => Ok((vec![0], None)),
        _ => {
            let labels = labels.iter().map(|label| label.as_ref().to_owned()).collect();
            Err(DatasetError::Folders { path, folders: names, labels })
        }
    }
}

/// The class whose label each name is: exactly, or else as [`plain`] writes it, unless several labels are written alike.
fn by_label<L: AsRef<str>>(names: &[String], labels: &[L]) -> Vec<Option<usize>> {
    let (mut exact, mut alike) = (HashMap::new(), HashMap::new());
    for (index, label) in labels.iter().map(AsRef::as_ref).enumerate() {
        exact.entry(label).or_insert(index);
        alike.entry(plain(label)).and_modify(|index| *index = None).or_insert(Some(index));
    }
    let class = |name: &String| exact.get(name.as_str()).copied().or_else(|| *alike.get(&plain(name))?);
    names.iter().map(class).collect()
}

/// A label as it may be written for a folder: in any case, with `_` for spaces.
fn plain(text: &str) -> String {
    text.to_lowercase().replace('_', " ")
}

/// What tells the folder, whatever links lead to it.
fn place(folder: &Path) -> Result<(u64, u64), DatasetError> {
    capture::place(folder).map_err(|source| DatasetError::Unreadable { path: folder.to_owned(), source })
}

/// Adds the pictures of `folder` and of the folders in it, except those that have been `seen`: a link may lead back.
fn collect(folder: &Path, class: usize, seen: &mut HashSet<(u64, u64)>, set: &mut Dataset) -> Result<(), DatasetError> {
    if !seen.insert(place(folder)?) {
        return Ok(());
    }
    for path in visible(folder)? {
        if path.is_dir() {
            collect(&path, class, seen, set)?;
        } else if is_picture(&path) {
            set.samples.push(Sample { path, class });
        } else {
            set.left_out.push(path);
        }
    }
    Ok(())
}

fn visible(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    capture::visible(folder).map_err(|source| DatasetError::Unreadable { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    /// Pictures with their classes, what is left out, and whether the classes are in doubt.
    type Found = (Vec<(String, usize)>, Vec<String>, bool);

    fn set(files: &[&str], labels: &[&str]) -> Result<Found, DatasetError> {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let name = |path: PathBuf| path.strip_prefix(root.path()).unwrap().to_str().unwrap().to_owned();
        let Dataset { samples, left_out, doubt } = from_folders(root.path(), labels, labels.len())?;
        let samples = samples.into_iter().map(|Sample { path, class }| (name(path), class)).collect();
        Ok((samples, left_out.into_iter().map(name).collect(), doubt.is_some()))
    }

    fn of(samples: &[(&str, usize)]) -> Vec<(String, usize)> {
        samples.iter().map(|(name, class)| ((*name).to_owned(), *class)).collect()
    }

    #[test]
    fn folders_are_classes_by_name_or_in_their_order() {
        let files = ["cat/2.jpg", "cat/1.PNG", "cat/notes.txt", "ant/3.jpeg", "README"];
        let both = |ant, cat| of(&[("ant/3.jpeg", ant), ("cat/1.PNG", cat), ("cat/2.jpg", cat)]);
        let left_out = vec!["cat/notes.txt".to_owned()];
        assert_eq!(set(&files, &["dog", "cat", "ant"]).unwrap(), (both(2, 1), left_out.clone(), false));
        assert_eq!(set(&files, &["Ant", "Cat", "cat"]).unwrap(), (both(0, 2), left_out.clone(), false));
        assert_eq!(set(&files, &["class 0", "class 1"]).unwrap(), (both(0, 1), left_out, true));
        let spaced = set(&["fire_truck/a.jpg"], &["Ambulance", "Fire truck"]).unwrap().0;
        assert_eq!(spaced, of(&[("fire_truck/a.jpg", 1)]));
    }

    #[test]
    fn an_answer_that_is_no_class_has_a_name_but_no_number_and_no_place_in_the_order() {
        let root = tempfile::tempdir().unwrap();
        for file in ["box/a.jpg", "cat/b.jpg"] {
            fs::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
            fs::write(root.path().join(file), "").unwrap();
        }
        let labels = ["closed", "open", "unknown"];
        assert!(from_folders(root.path(), &labels, 2).unwrap().doubt.is_some());
        assert!(from_folders(root.path(), &labels, 3).is_err());
        fs::rename(root.path().join("box"), root.path().join("unknown")).unwrap();
        fs::rename(root.path().join("cat"), root.path().join("open")).unwrap();
        let classes: Vec<usize> =
            from_folders(root.path(), &labels, 2).unwrap().samples.iter().map(|sample| sample.class).collect();
        assert_eq!(classes, [1, 2]);
    }

    #[test]
    fn a_name_that_fits_several_labels_is_none_of_them_unless_it_is_one_exactly() {
        let labels = ["cardigan", "Cardigan", "dog"];
        assert_eq!(set(&["Cardigan/a.jpg"], &labels).unwrap().0, of(&[("Cardigan/a.jpg", 1)]));
        let error = set(&["CARDIGAN/a.jpg", "dog/a.jpg"], &labels).unwrap_err();
        assert!(matches!(error, DatasetError::Misnamed { .. }), "{error}");
    }

    #[test]
    fn folders_that_do_not_match_the_classes_are_named_with_these() {
        let misnamed = set(&["ant/1.jpg", "cat/1.jpg"], &["cat", "dog", "fox"]).unwrap_err().to_string();
        assert!(misnamed.contains("has 1 folder (ant) not named after a class"), "{misnamed}");
        assert!(misnamed.contains("without a folder: 2 classes (dog, fox)"), "{misnamed}");
        let few = set(&["ant/1.jpg"], &["a", "b", "c", "d", "e", "f"]).unwrap_err().to_string();
        assert!(few.contains("1 folder (ant), but the model has 6 classes (a, b, c, d, e, …)"), "{few}");
        let none = set(&["1.jpg"], &["cat"]).unwrap_err().to_string();
        assert!(none.contains("no folders, but the model has 1 class (cat)"), "{none}");
    }

    #[test]
    fn numbers_are_numbers() {
        let files: Vec<String> = (0..12).map(|class| format!("{class}/a.jpg")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let labels: Vec<String> = (0..12).map(|class| format!("thing {class}")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let (samples, _, is_in_doubt) = set(&files, &labels).unwrap();
        assert!(is_in_doubt, "as text, 10 comes before 2");
        assert!(!set(&files[..10], &labels).unwrap().2);
        for (name, class) in samples {
            assert_eq!(name, format!("{class}/a.jpg"));
        }
        assert_eq!(set(&["007/a.jpg"], &labels).unwrap().0, of(&[("007/a.jpg", 7)]), "some classes have no picture");
        let error = set(&["0/a.jpg", "12/a.jpg"], &labels).unwrap_err().to_string();
        assert!(error.contains("the number 12") && error.contains("0 to 11"), "{error}");
    }

    #[test]
    fn hidden_files_and_folders_are_no_classes_and_no_pictures() {
        let files = [
            ".ipynb_checkpoints/a.jpg",
            "@eaDir/a.jpg",
            "__MACOSX/cat/._a.jpg",
            "cat/a.jpg",
            "cat/._a.jpg",
            "cat/.DS_Store",
            "cat/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
            "dog/b.jpg",
        ];
        let pictures = of(&[("cat/a.jpg", 0), ("dog/b.jpg", 1)]);
        assert_eq!(set(&files, &["cat", "dog"]).unwrap(), (pictures, Vec::new(), false));
        // One class has no folder, and one hidden folder is there instead.
        let error = set(&[".trash/a.jpg", "n01/a.jpg"], &["cat", "dog"]).unwrap_err();
        assert!(matches!(error, DatasetError::Folders { .. }), "{error}");
    }

    #[test]
    fn pictures_of_every_known_kind_are_found_at_any_depth() {
        let files = ["cat/a.webp", "cat/day/b.BMP", "cat/day/one/c.gif", "cat/d.tif", "cat/e.jfif", "cat/f.heic"];
        let (samples, left_out, _) = set(&files, &["cat"]).unwrap();
        let found: Vec<&str> = samples.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, ["cat/a.webp", "cat/d.tif", "cat/day/b.BMP", "cat/day/one/c.gif", "cat/e.jfif"]);
        assert_eq!(left_out, ["cat/f.heic"]);
    }

    #[test]
    fn a_link_to_a_folder_above_ends() {
        let root = tempfile::tempdir().unwrap();
        let cat = root.path().join("cat");
        fs::create_dir(&cat).unwrap();
        fs::write(cat.join("a.jpg"), "").unwrap();
        let dog = root.path().join("dog");
        fs::create_dir(&dog).unwrap();
        fs::write(dog.join("b.jpg"), "").unwrap();
        std::os::unix::fs::symlink(&cat, cat.join("again")).unwrap();
        std::os::unix::fs::symlink("..", cat.join("up")).unwrap();
        let set = from_folders(root.path(), &["cat", "dog"], 2).unwrap();
        let samples = [Sample { path: cat.join("a.jpg"), class: 0 }, Sample { path: dog.join("b.jpg"), class: 1 }];
        assert_eq!(set.samples, samples);
    }
}
