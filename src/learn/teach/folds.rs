//! Divides pictures for a cross-validation.

use super::signature::Signature;
use crate::learn::random::SplitMix64;

/// Most parts of a cross-validation.
const FOLDS: usize = 5;

/// The part of the cross-validation to which each picture belongs, and the number of parts: as many as possible, with the
/// pictures of each class in two parts at least, and near duplicates together.
pub(super) struct Folds {
    of: Vec<usize>,
    pub(super) count: usize,
    /// For each class, its pictures beyond the first of each group of near duplicates.
    pub(super) near_duplicates: Vec<u64>,
}

impl Folds {
    /// Divides pictures with these classes and signatures.
    pub(super) fn new(classes: &[usize], signatures: &[Signature], count: usize) -> Self {
        let mut group: Vec<usize> = (0..classes.len()).collect();
        for index in 0..classes.len() {
            for other in 0..index {
                let is_new = group[other] != group[index] && classes[other] == classes[index];
                if !is_new || !signatures[other].is_near(&signatures[index]) {
                    continue;
                }
                // What is near both joins their groups. A group has the number of its first picture.
                let (one, two) = (group[index].min(group[other]), group[index].max(group[other]));
                group[..=index].iter_mut().filter(|group| **group == two).for_each(|group| *group = one);
            }
        }
        let mut near_duplicates = Vec::with_capacity(count);
        let mut groups: Vec<(Vec<usize>, bool)> = Vec::new();
        for class in 0..count {
            let members = || (0..classes.len()).filter(|index| classes[*index] == class);
            let mut own: Vec<usize> = members().filter(|index| group[*index] == *index).collect();
            near_duplicates.push((members().count() - own.len()) as u64);
            let is_one = own.len() < 2;
            if is_one {
                // All are nearly the same: neighbours, which are likely to be the most alike, are kept together.
                own = members().collect();
                own.iter().for_each(|index| group[*index] = *index);
            } else {
                SplitMix64::of(&[class as u64, own.len() as u64]).shuffle(&mut own);
            }
            groups.push((own, is_one));
        }
        // A small class is in some of the parts only, so that a layer learns from the rest of it, whatever part is judged.
        let parts = groups.iter().map(|(own, _)| own.len()).max().unwrap_or(0).clamp(2, FOLDS);
        let mut of = vec![0; classes.len()];
        for (own, is_one) in &groups {
            let part = |place: usize| if *is_one { place * parts / own.len() } else { place % parts };
            own.iter().enumerate().for_each(|(place, first)| of[*first] = part(place));
        }
        for index in 0..classes.len() {
            of[index] = of[group[index]];
        }
        Self { of, count: parts, near_duplicates }
    }

    /// The part of a picture.
    pub(super) fn of(&self, picture: usize) -> usize {
        self.of[picture]
    }

    /// The pictures of a part.
    pub(super) fn members(&self, fold: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.of.len()).filter(move |picture| self.of[*picture] == fold)
    }

    /// The pictures of all other parts.
    pub(super) fn others(&self, fold: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.of.len()).filter(move |picture| self.of[*picture] != fold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Transform;
    use crate::tensor::{Tensor, TensorMut};

    /// Signatures of even pictures.
    fn signatures(levels: &[f32]) -> Vec<Signature> {
        let transform = Transform { mean: [0.0; 3], std: [1.0; 3], ..Transform::IMAGENET };
        let of = |level: &f32| {
            let mut input = Tensor::zeros(32, 32, 3);
            input.data_mut().fill(*level);
            Signature::of(&transform, TensorMut::from(&mut input))
        };
        levels.iter().map(of).collect()
    }

    #[test]
    fn near_duplicates_of_near_duplicates_are_in_the_same_part() {
        // The third is near both of the first two, which are not near each other.
        let levels = [0.5, 0.511, 0.5055, 0.1, 0.3, 0.7, 0.9, 0.2, 0.4, 0.6];
        let folds = Folds::new(&[0; 10], &signatures(&levels), 1);
        assert!(folds.of(0) == folds.of(1) && folds.of(1) == folds.of(2));
        assert_eq!(folds.near_duplicates, [2]);
        assert!((0..folds.count).all(|fold| folds.members(fold).count() > 0));
    }

    #[test]
    fn a_class_of_near_duplicates_alone_is_divided_into_neighbours() {
        let levels: Vec<f32> = [0.5; 10].into_iter().chain((0..10).map(|index| index as f32 / 20.0)).collect();
        let classes: Vec<usize> = (0..20).map(|index| index / 10).collect();
        let folds = Folds::new(&classes, &signatures(&levels), 2);
        let parts: Vec<usize> = (0..10).map(|picture| folds.of(picture)).collect();
        assert_eq!(parts, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
        assert_eq!(folds.near_duplicates, [9, 0]);
    }
}
