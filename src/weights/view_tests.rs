#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

/// Storage of the numbers 0, 1, 2, … as `f32`.
fn storage(count: usize) -> Vec<u8> {
    (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect()
}

fn values(view: &View, stored: usize) -> Vec<f32> {
    view.read(Element::F32, &storage(stored)).unwrap().data().to_vec()
}

#[test]
fn views_follow_offset_and_strides() {
    let rows = View::rows(vec![2, 3]).unwrap();
    assert_eq!(values(&rows, 6), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(&View::columns(vec![2, 3]).unwrap(), 6), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    let transposed = rows.transposed();
    assert_eq!(transposed.read(Element::F32, &storage(6)).unwrap().shape(), [3, 2]);
    assert_eq!(values(&transposed, 6), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);

    assert_eq!(values(&View::new(vec![2, 2], vec![5, 2], 1).unwrap(), 9), [1.0, 3.0, 6.0, 8.0]);
    assert_eq!(values(&View::new(vec![], vec![], 4).unwrap(), 5), [4.0]);
    assert_eq!(values(&View::new(vec![2, 0, 3], vec![0, 1, 1], usize::MAX).unwrap(), 0), [0.0_f32; 0]);
    // Strides that repeat elements, as made by `expand` and `unfold`.
    assert_eq!(values(&View::new(vec![2, 2], vec![0, 1], 0).unwrap(), 2), [0.0, 1.0, 0.0, 1.0]);
    assert_eq!(values(&View::new(vec![2, 3], vec![1, 1], 0).unwrap(), 4), [0.0, 1.0, 2.0, 1.0, 2.0, 3.0]);
    assert_eq!(values(&View::rows(vec![2, 1, 2, 1, 2]).unwrap(), 8), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    // The stride of an axis with one element does not matter.
    assert_eq!(values(&View::new(vec![1, 2], vec![usize::MAX, 1], 0).unwrap(), 2), [0.0, 1.0]);
}

#[test]
fn views_beyond_their_storage_are_errors() {
    let view = View::new(vec![2, 2], vec![5, 2], 1).unwrap();
    assert_eq!(view.read(Element::F32, &storage(8)), Err(Error::Outside { last: 8, stored: 8 }));
    assert_eq!(view.read(Element::F64, &storage(16)), Err(Error::Outside { last: 8, stored: 8 }));
    for (shape, strides, offset) in [
        (vec![3, 2], vec![usize::MAX, 1], 0),
        (vec![2], vec![usize::MAX / 2 + 1], 0),
        (vec![2], vec![1], usize::MAX),
        (vec![usize::MAX, 2], vec![0, 0], 0),
        (vec![2, 2], vec![1], 0),
    ] {
        assert!(matches!(View::new(shape, strides, offset), Err(Error::Layout { .. })));
    }
    assert!(matches!(View::rows(vec![usize::MAX, 2]), Err(Error::Layout { .. })));
    assert!(matches!(View::columns(vec![usize::MAX / 2, 3]), Err(Error::Layout { .. })));
}

#[test]
fn every_type_becomes_the_nearest_single() {
    let read = |element, bytes: &[u8]| {
        let count = bytes.len() / element_size(element);
        View::rows(vec![count]).unwrap().read(element, bytes).unwrap().data().to_vec()
    };
    assert_eq!(read(Element::Bool, &[0, 1, 7]), [0.0, 1.0, 1.0]);
    assert_eq!(read(Element::U8, &[0, 255]), [0.0, 255.0]);
    assert_eq!(read(Element::I8, &[1, 255]), [1.0, -1.0]);
    assert_eq!(read(Element::U16, &[1, 255]), [65281.0]);
    assert_eq!(read(Element::I16, &[1, 255]), [-255.0]);
    assert_eq!(read(Element::U32, &u32::MAX.to_le_bytes()), [4_294_967_296.0]);
    assert_eq!(read(Element::I32, &(-7_i32).to_le_bytes()), [-7.0]);
    assert_eq!(read(Element::U64, &u64::MAX.to_le_bytes()), [18_446_744_073_709_551_616.0]);
    assert_eq!(read(Element::I64, &(-7_i64).to_le_bytes()), [-7.0]);
    // 1.5, the smallest and the largest number, infinity.
    assert_eq!(
        read(Element::F16, &[0x00, 0x3e, 0x01, 0x00, 0xff, 0x7b, 0x00, 0x7c]),
        [1.5, 2.0_f32.powi(-24), 65504.0, f32::INFINITY]
    );
    assert_eq!(read(Element::Bf16, &[0xc0, 0x3f]), [1.5]);
    assert_eq!(read(Element::F32, &0.1_f32.to_le_bytes()), [0.1]);
    assert_eq!(read(Element::F64, &0.1_f64.to_le_bytes()), [0.1]);
}

fn element_size(element: Element) -> usize {
    usize::try_from(element.size()).unwrap()
}

#[test]
fn a_budget_grows_with_the_file() {
    let mut budget = Budget::values(1 << 20);
    assert_eq!(budget.take(1 << 20), Ok(()));
    assert_eq!(budget.take(1), Err(Error::Budget { unit: "values", limit: 1 << 20 }));
    assert_eq!(Budget::bytes(1 << 20).take(1 << 22), Ok(()));
    assert!(Budget::bytes(0).take((1 << 16) + 1).is_err());
    assert!(Budget::arrays().take((1 << 14) + 1).is_err());
    assert!(Budget::values(u64::MAX).take(u64::MAX).is_ok());
}
