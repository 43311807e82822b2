//! Whether others refer to a coded frame of H.264 or H.265, by the headers of its NAL units.

/// A coding of video, and how its NAL units are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Units {
    /// Whether it is H.265; H.264 otherwise.
    pub(super) is_h265: bool,
    /// Bytes of the length before each unit, 1 to 4; 0 if units follow start codes.
    pub(super) length_bytes: usize,
}

impl Units {
    /// Whether another frame may refer to the one in `data`. True if it cannot be told.
    ///
    /// H.264 says so in `nal_ref_idc` (ITU-T H.264, 7.4.1); H.265 in the type of a unit, for frames of the same temporal
    /// sub-layer (ITU-T H.265, 7.4.2.2), above which there is none in the streams of cameras.
    pub(super) fn is_reference(self, data: &[u8]) -> bool {
        let of_slice = |unit: &[u8]| {
            let first = *unit.first()?;
            // Slices: types 1 to 5, or 0 to 31.
            if self.is_h265 {
                let kind = first >> 1 & 0x3f;
                (kind < 32).then_some(kind >= 16 || kind % 2 == 1)
            } else {
                matches!(first & 0x1f, 1..=5).then_some(first >> 5 & 3 != 0)
            }
        };
        let found = match self.length_bytes {
            0 => starts(data).find_map(of_slice),
            bytes => lengths(data, bytes).find_map(of_slice),
        };
        found.unwrap_or(true)
    }
}

/// What follows each start code, to the end of the data.
fn starts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.windows(3).enumerate().filter(|(_, code)| *code == [0, 0, 1]).map(|(at, _)| &data[at + 3..])
}

/// The units after each length; as far as lengths are right.
fn lengths(mut data: &[u8], bytes: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_at_checked(bytes)?;
        let length = length.iter().fold(0, |length: usize, byte| length << 8 | usize::from(*byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        data = rest;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(length_bytes: usize) -> Units {
        Units { is_h265: false, length_bytes }
    }

    #[test]
    fn a_slice_that_nothing_refers_to_is_found_behind_other_units() {
        // A delimiter, then a slice with nal_ref_idc 0, then one of 2.
        let (delimiter, none, some) = ([9, 0xf0], [0x01, 7], [0x41, 7]);
        let start = [0, 0, 0, 1];
        assert!(!h264(0).is_reference(&[&start[..], &delimiter, &start, &none].concat()));
        assert!(h264(0).is_reference(&[&start[..], &delimiter, &start, &some].concat()));
        let length = [0, 0, 0, 2];
        assert!(!h264(4).is_reference(&[&length[..], &delimiter, &length, &none].concat()));
        assert!(h264(4).is_reference(&[&length[..], &delimiter, &length, &some].concat()));
        let h265 = Units { is_h265: true, length_bytes: 4 };
        // TRAIL_N, TRAIL_R, IDR_W_RADL.
        for (kind, is_reference) in [(0, false), (1, true), (19, true), (8, false)] {
            assert_eq!(h265.is_reference(&[0, 0, 0, 2, kind << 1, 1]), is_reference, "{kind}");
        }
    }

    #[test]
    fn what_cannot_be_told_counts_as_a_reference() {
        for data in [&[][..], &[0], &[0, 0, 1], &[0, 0, 0, 200, 1], &[0, 0, 0, 0], &[255; 40], &[0, 0, 0, 2, 0x09, 1]] {
            for units in [h264(0), h264(1), h264(4), Units { is_h265: true, length_bytes: 2 }] {
                if units.length_bytes == 4 || data.len() < 4 {
                    assert!(units.is_reference(data), "{units:?} {data:?}");
                } else {
                    // It ends, whatever it says.
                    let _ = units.is_reference(data);
                }
            }
        }
    }
}
