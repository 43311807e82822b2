//! What a camera offers: formats, with their sizes and rates.

use crate::choice::CameraFormat;
use crate::system::host::some;

/// Maximum number of formats that a list for people has.
const MOST_FORMATS: usize = 12;
/// Maximum number of rates of a size in such a list.
const MOST_RATES: usize = 6;

/// One format of a camera, in one size or a range of sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::capture) struct Offer {
    /// Media type in GStreamer, such as `video/x-raw`.
    pub(in crate::capture) media: String,
    /// Format of pixels, by its name in GStreamer; empty for coded pictures.
    pub(in crate::capture) pixels: String,
    /// Columns.
    pub(in crate::capture) width: Span,
    /// Rows.
    pub(in crate::capture) height: Span,
    /// Frames per second.
    pub(in crate::capture) rates: Vec<Rate>,
    /// Least and most frames per second, of a camera that takes any between.
    pub(in crate::capture) between: Option<(Rate, Rate)>,
}

/// A number, or bounds and the step from the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::capture) struct Span {
    /// Lower bound.
    pub(in crate::capture) least: u32,
    /// Upper bound.
    pub(in crate::capture) most: u32,
    /// Step, 1 or more.
    pub(in crate::capture) step: u32,
}

impl Span {
    /// The number alone.
    pub(in crate::capture) fn one(number: u32) -> Self {
        Self { least: number, most: number, step: 1 }
    }

    /// The value in the span that is nearest to `wish`.
    pub(super) fn nearest(self, wish: u32) -> u32 {
        let step = self.step.max(1);
        let steps = (wish.clamp(self.least, self.most) - self.least) / step;
        self.least + steps * step
    }
}

/// Frames per second, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::capture) struct Rate {
    /// Numerator.
    pub(in crate::capture) frames: u32,
    /// Denominator, 1 or more.
    pub(in crate::capture) seconds: u32,
}

impl Rate {
    /// As a number.
    pub(in crate::capture) fn fps(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds.max(1))
    }
}

/// Formats by their words, with media type and format of pixels in GStreamer.
const FORMATS: [(CameraFormat, &str, &str); 19] = [
    (CameraFormat::Nv12, RAW, "NV12"),
    (CameraFormat::Nv21, RAW, "NV21"),
    (CameraFormat::I420, RAW, "I420"),
    (CameraFormat::Yv12, RAW, "YV12"),
    (CameraFormat::Yuyv, RAW, "YUY2"),
    (CameraFormat::Uyvy, RAW, "UYVY"),
    (CameraFormat::Yvyu, RAW, "YVYU"),
    (CameraFormat::Nv16, RAW, "NV16"),
    (CameraFormat::I422, RAW, "Y42B"),
    (CameraFormat::Rgb, RAW, "RGB"),
    (CameraFormat::Bgr, RAW, "BGR"),
    (CameraFormat::Rgbx, RAW, "RGBx"),
    (CameraFormat::Bgrx, RAW, "BGRx"),
    (CameraFormat::Xrgb, RAW, "xRGB"),
    (CameraFormat::Xbgr, RAW, "xBGR"),
    (CameraFormat::Grey, RAW, "GRAY8"),
    (CameraFormat::Mjpeg, "image/jpeg", ""),
    (CameraFormat::H264, "video/x-h264", ""),
    (CameraFormat::H265, "video/x-h265", ""),
];

/// Media type of pixels.
const RAW: &str = "video/x-raw";

impl Offer {
    /// Place of its format in the order of preference; `None` if it cannot be used. Formats of pixels that have no word
    /// are converted by GStreamer: after those with colours that have one, before grey.
    pub(super) fn rank(&self) -> Option<usize> {
        let known = FORMATS.iter().position(|(_, media, pixels)| *media == self.media && *pixels == self.pixels);
        let grey = FORMATS.iter().position(|(format, ..)| *format == CameraFormat::Grey);
        match (known, self.media == RAW) {
            (Some(place), _) => Some(place * 2),
            (None, true) => grey.map(|grey| grey * 2 - 1),
            (None, false) => None,
        }
    }

    /// How much work its pictures are before they are pixels: none, JPEG, or video with references between frames.
    pub(super) fn work(&self) -> u8 {
        match self.media.as_str() {
            RAW => 0,
            "image/jpeg" => 1,
            _ => 2,
        }
    }

    /// Whether it is in that format.
    pub(super) fn is(&self, format: CameraFormat) -> bool {
        format == CameraFormat::Auto || self.word() == format.name()
    }

    /// The word for its format; GStreamer's if there is none.
    pub(super) fn word(&self) -> &str {
        let known = FORMATS.iter().find(|(_, media, pixels)| *media == self.media && *pixels == self.pixels);
        match known {
            Some((format, ..)) => format.name(),
            None if self.pixels.is_empty() => &self.media,
            None => &self.pixels,
        }
    }

    fn size(&self) -> String {
        let Self { width, height, .. } = self;
        let least = format!("{}x{}", width.least, height.least);
        if (width.least, height.least) == (width.most, height.most) {
            return least;
        }
        format!("{least} to {}x{}", width.most, height.most)
    }

    fn rates(&self) -> String {
        if let Some((_, most)) = self.between {
            return format!("up to {} fps", shown(most));
        }
        let mut rates = self.rates.clone();
        rates.sort_by(|a, b| b.fps().total_cmp(&a.fps()));
        let more = if rates.len() > MOST_RATES { ", …" } else { "" };
        rates.truncate(MOST_RATES);
        let rates: Vec<String> = rates.into_iter().map(shown).collect();
        format!("{}{more} fps", rates.join(", "))
    }
}

/// A rate for people: `30`, `29.97`, `7.5`.
pub(super) fn shown(rate: Rate) -> String {
    let text = format!("{:.2}", rate.fps());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Offers for people: `yuyv 640x480 (30, 15 fps), 1280x720 (10 fps); mjpeg 1280x720 (30 fps)`.
pub(in crate::capture) fn listed(offers: &[Offer]) -> String {
    let mut formats: Vec<(&str, bool, Vec<String>)> = Vec::new();
    for offer in offers {
        let size = format!("{} ({})", offer.size(), offer.rates());
        match formats.iter_mut().find(|(word, ..)| *word == offer.word()) {
            Some((.., sizes)) if sizes.contains(&size) => {}
            Some((.., sizes)) => sizes.push(size),
            None => formats.push((offer.word(), offer.rank().is_some(), vec![size])),
        }
    }
    let left_out = formats.len().saturating_sub(MOST_FORMATS);
    let show = |(word, usable, sizes): (&str, bool, Vec<String>)| match usable {
        true => format!("{word} {}", some(&sizes)),
        false => format!("{word} (not usable)"),
    };
    let mut lines: Vec<String> = formats.into_iter().take(MOST_FORMATS).map(show).collect();
    if left_out > 0 {
        lines.push(format!("… ({left_out} more formats)"));
    }
    if lines.is_empty() { "nothing".into() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Choice as _;

    fn offer(media: &str, pixels: &str, (width, height): (u32, u32), rates: &[u32]) -> Offer {
        let rates = rates.iter().map(|frames| Rate { frames: *frames, seconds: 1 }).collect();
        let (width, height) = (Span::one(width), Span::one(height));
        Offer { media: media.into(), pixels: pixels.into(), width, height, rates, between: None }
    }

    #[test]
    fn every_word_of_the_configuration_has_a_format() {
        for word in CameraFormat::WORDS.iter().filter(|word| **word != "auto") {
            assert!(FORMATS.iter().any(|(format, ..)| format.name() == *word), "{word}");
        }
    }

    #[test]
    fn offers_are_listed_by_format_with_sizes_and_rates() {
        let range = Span { least: 16, most: 4096, step: 16 };
        let offers = [
            offer(RAW, "YUY2", (640, 480), &[15, 30]),
            offer(RAW, "YUY2", (1280, 720), &[10]),
            Offer {
                width: range,
                height: range,
                rates: vec![],
                between: Some((Rate { frames: 0, seconds: 1 }, Rate { frames: 30000, seconds: 1001 })),
                ..offer("image/jpeg", "", (0, 0), &[])
            },
            offer("video/x-bayer", "", (640, 480), &[30]),
            offer(RAW, "NV24", (640, 480), &[120, 100, 60, 50, 30, 25, 15]),
        ];
        assert_eq!(
            listed(&offers),
            "yuyv 640x480 (30, 15 fps), 1280x720 (10 fps); mjpeg 16x16 to 4096x4096 (up to 29.97 fps); \
             video/x-bayer (not usable); NV24 640x480 (120, 100, 60, 50, 30, 25, … fps)"
        );
        assert_eq!(listed(&[]), "nothing");
    }

    #[test]
    fn the_nearest_value_of_a_span_keeps_to_its_steps() {
        let span = Span { least: 48, most: 1280, step: 16 };
        assert_eq!([0, 640, 650, 9999].map(|wish| span.nearest(wish)), [48, 640, 640, 1280]);
        assert_eq!(Span::one(320).nearest(640), 320);
    }
}
