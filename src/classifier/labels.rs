//! Names of classes.

use std::sync::Arc;

/// The classes of ImageNet-1k, in the order of their numbers.
const IMAGENET: &str = include_str!("../../assets/imagenet_classes.txt");

/// Number of classes of ImageNet-1k.
const IMAGENET_CLASSES: usize = 1000;

/// Names for `classes` classes of a trained model: those of ImageNet-1k where there are as many,
/// otherwise their numbers.
pub(super) fn of_trained(classes: usize) -> Vec<Arc<str>> {
    if classes == IMAGENET_CLASSES { IMAGENET.lines().map(Arc::from).collect() } else { numbers(classes) }
}

/// `class 0`, `class 1` and so on.
pub(super) fn numbers(classes: usize) -> Vec<Arc<str>> {
    (0..classes).map(|index| format!("class {index}").into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_name_for_each_class() {
        let labels = of_trained(1000);
        assert_eq!(labels.len(), 1000);
        assert!(labels.iter().all(|label| !label.trim().is_empty()));
        assert_eq!((&*labels[0], &*labels[1]), ("tench", "goldfish"));
    }

    #[test]
    fn other_numbers_of_classes_have_numbers() {
        assert_eq!(of_trained(2).iter().map(|label| &**label).collect::<Vec<_>>(), ["class 0", "class 1"]);
    }
}
