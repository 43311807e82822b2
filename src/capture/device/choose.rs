//! The rule by which a stream takes one of the formats that a camera offers.
//!
//! Networks read some 224 to 256 rows, so a moderate size is enough: from 360 to 720 rows and at most 1280 columns. What
//! the configuration asks for is kept to. Of what is left, in this order:
//!
//! 1. a moderate size with 15 frames per second or more; else a larger one with as many; else a moderate one with fewer;
//!    else a smaller one with 15 or more;
//! 2. pixels before JPEG, which has to be decoded, and JPEG before H.264 and H.265, whose frames refer to others;
//! 3. the size nearest to 640×480, by its number of pixels;
//! 4. formats of pixels in the order of `offer.rs`, those that are read without a conversion first.
//!
//! Of the rates of a size, the highest up to 30 frames per second; if all are higher, the lowest.

use super::offer::{Offer, Rate, shown};
use crate::choice::CameraFormat;

/// Columns and rows to come near to.
const SIZE: (u32, u32) = (640, 480);
/// Rows of a moderate size.
const ROWS: std::ops::RangeInclusive<u32> = 360..=720;
/// Most columns of a moderate size.
const COLUMNS: u32 = 1280;
/// Frames per second that are enough.
const ENOUGH: f64 = 15.0;
/// Most frames per second that are taken unasked. 30000/1001 and the like count as what they stand for.
const RATE: f64 = 30.0;
/// By which part a rate may differ from the one that is asked for: 30000/1001 is 30.
const SAME: f64 = 0.01;

/// What a stream wants of a camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// Format.
    pub format: CameraFormat,
    /// Columns; 0: any.
    pub width: u32,
    /// Rows; 0: any.
    pub height: u32,
    /// Frames per second; 0: any.
    pub fps: f64,
}

impl Wanted {
    /// For people: `mjpeg 1280x720 at 30 fps`.
    pub(in crate::capture) fn shown(&self) -> String {
        let format = if self.format == CameraFormat::Auto { "a usable format" } else { self.format.name() };
        let size = match (self.width, self.height) {
            (0, 0) => String::new(),
            (width, 0) => format!(" with {width} columns"),
            (0, height) => format!(" with {height} rows"),
            (width, height) => format!(" {width}x{height}"),
        };
        let rate = if self.fps > 0.0 { format!(" at {} fps", self.fps) } else { String::new() };
        format!("{format}{size}{rate}")
    }
}

/// What a stream takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::capture) struct Choice {
    /// Media type in GStreamer.
    pub(in crate::capture) media: String,
    /// Format of pixels in GStreamer; empty for coded pictures.
    pub(in crate::capture) pixels: String,
    /// The word for the format.
    pub(in crate::capture) word: String,
    /// Columns.
    pub(in crate::capture) width: u32,
    /// Rows.
    pub(in crate::capture) height: u32,
    /// Frames per second; `None`: the camera's own.
    pub(in crate::capture) rate: Option<Rate>,
}

impl Choice {
    /// For people: `yuyv 640x480 at 30 fps`.
    pub(in crate::capture) fn shown(&self) -> String {
        let rate = self.rate.map(|rate| format!(" at {} fps", shown(rate))).unwrap_or_default();
        format!("{} {}x{}{rate}", self.word, self.width, self.height)
    }
}

/// What to take of `offers`; `None` if nothing is as it is `wanted` and usable.
pub(in crate::capture) fn choose(offers: &[Offer], wanted: &Wanted) -> Option<Choice> {
    let fitting = offers.iter().filter_map(|offer| {
        let rank = offer.rank().filter(|_| offer.is(wanted.format))?;
        let side = |span: super::Span, wanted: u32, wish| match wanted {
            0 => Some(span.nearest(wish)),
            side => Some(side).filter(|side| span.nearest(*side) == *side),
        };
        let (width, height) = (side(offer.width, wanted.width, SIZE.0)?, side(offer.height, wanted.height, SIZE.1)?);
        let rate = rate(offer, wanted.fps)?;
        let pixels = u64::from(width) * u64::from(height);
        let distance = pixels.abs_diff(u64::from(SIZE.0) * u64::from(SIZE.1));
        Some(((tier(width, height, rate), offer.work(), distance, rank), (offer, width, height, rate)))
    });
    let (_, (offer, width, height, rate)) = fitting.min_by_key(|(key, _)| *key)?;
    let (media, pixels, word) = (offer.media.clone(), offer.pixels.clone(), offer.word().to_owned());
    Some(Choice { media, pixels, word, width, height, rate })
}

/// How well size and rate suit, the best first.
fn tier(width: u32, height: u32, rate: Option<Rate>) -> u8 {
    let is_moderate = ROWS.contains(&height) && width <= COLUMNS;
    let is_enough = rate.is_none_or(|rate| rate.fps() >= ENOUGH * (1.0 - SAME));
    match (is_moderate, is_enough) {
        (true, true) => 0,
        (false, true) if height >= *ROWS.start() => 1,
        (true, false) => 2,
        (false, true) => 3,
        (false, false) => 4,
    }
}

/// The rate to ask for, `Some(None)` if the camera tells none; `None` if it has none that is wanted.
fn rate(offer: &Offer, wanted: f64) -> Option<Option<Rate>> {
    let is_same = |rate: &Rate| (rate.fps() - wanted).abs() <= wanted * SAME;
    if let Some((least, most)) = offer.between {
        let asked = if wanted > 0.0 { Rate::of(wanted) } else { Rate { frames: 30, seconds: 1 } };
        let nearest = if asked.fps() < least.fps() { least } else { asked };
        let nearest = if nearest.fps() > most.fps() { most } else { nearest };
        return (wanted <= 0.0 || is_same(&nearest)).then_some(Some(nearest));
    }
    let rates = offer.rates.iter().copied();
    if wanted > 0.0 {
        let distance = |rate: &Rate| (rate.fps() - wanted).abs();
        return rates.filter(is_same).min_by(|a, b| distance(a).total_cmp(&distance(b))).map(Some);
    }
    let by_rate = |a: &Rate, b: &Rate| a.fps().total_cmp(&b.fps());
    let moderate = rates.clone().filter(|rate| rate.fps() <= RATE * (1.0 + SAME)).max_by(by_rate);
    Some(moderate.or_else(|| rates.min_by(by_rate)))
}

impl Rate {
    /// The fraction of a number of frames per second that has three decimals at most.
    fn of(fps: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0.1 to 1000")]
        let frames = (fps * 1000.0).round() as u32;
        Self { frames, seconds: 1000 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Span;
    use super::*;

    const ANY: Wanted = Wanted { format: CameraFormat::Auto, width: 0, height: 0, fps: 0.0 };

    /// An offer out of `FORMAT WxH RATE,RATE`.
    fn offer(text: &str) -> Offer {
        let parts: Vec<&str> = text.split(' ').collect();
        let (media, pixels) = match parts[0] {
            "mjpeg" => ("image/jpeg", ""),
            "h264" => ("video/x-h264", ""),
            "bayer" => ("video/x-bayer", ""),
            pixels => ("video/x-raw", pixels),
        };
        let number = |text: &str| text.parse().unwrap_or_default();
        let (width, height) = parts[1].split_once('x').unwrap_or_default();
        let rates = parts[2].split(',').map(|rate| Rate { frames: number(rate), seconds: 1 }).collect();
        let (width, height) = (Span::one(number(width)), Span::one(number(height)));
        Offer { media: media.into(), pixels: pixels.into(), width, height, rates, between: None }
    }

    fn of(offers: &[&str], wanted: Wanted) -> String {
        let offers: Vec<Offer> = offers.iter().map(|text| offer(text)).collect();
        choose(&offers, &wanted).map_or_else(|| "none".into(), |choice| choice.shown())
    }

    #[test]
    fn without_wishes_the_rule_decides() {
        for (offers, chosen) in [
            // A plain webcam.
            (
                &["YUY2 1920x1080 5", "YUY2 640x480 30,15", "mjpeg 1920x1080 30", "mjpeg 640x480 30"][..],
                "yuyv 640x480 at 30 fps",
            ),
            // Pixels are too slow over USB 2.
            (&["YUY2 1280x720 10", "mjpeg 1280x720 30", "h264 1280x720 30"], "mjpeg 1280x720 at 30 fps"),
            (&["YUY2 640x480 5", "mjpeg 640x480 15", "h264 640x480 30"], "mjpeg 640x480 at 15 fps"),
            (&["YUY2 160x120 30", "h264 1280x720 30"], "h264 1280x720 at 30 fps"),
            // Pixels of a moderate size, also if JPEG comes nearer.
            (&["YUY2 1280x720 15", "mjpeg 640x480 30"], "yuyv 1280x720 at 15 fps"),
            (&["YUY2 640x360 30", "YUY2 1280x720 30", "YUY2 320x240 30"], "yuyv 640x360 at 30 fps"),
            // None is moderate.
            (&["YUY2 1920x1080 30", "YUY2 3840x2160 30", "YUY2 320x240 30"], "yuyv 1920x1080 at 30 fps"),
            (&["YUY2 320x240 30", "YUY2 160x120 30"], "yuyv 320x240 at 30 fps"),
            (&["YUY2 320x240 30", "YUY2 640x480 10"], "yuyv 640x480 at 10 fps"),
            // Of several formats of pixels, those that are read as they are; grey last.
            (&["GRAY8 640x480 30", "NV24 640x480 30", "YUY2 640x480 30"], "yuyv 640x480 at 30 fps"),
            (&["GRAY8 640x480 30", "NV24 640x480 30"], "NV24 640x480 at 30 fps"),
            (&["bayer 640x480 30", "GRAY8 640x480 30"], "grey 640x480 at 30 fps"),
            // Rates.
            (&["YUY2 640x480 120,60,30,15"], "yuyv 640x480 at 30 fps"),
            (&["YUY2 640x480 120,60"], "yuyv 640x480 at 60 fps"),
            (&["bayer 640x480 30"], "none"),
            (&[], "none"),
        ] {
            assert_eq!(of(offers, ANY), chosen, "{offers:?}");
        }
    }

    #[test]
    fn wishes_are_kept_to() {
        let offers = [
            "YUY2 640x480 30,15",
            "YUY2 1280x720 10",
            "mjpeg 1280x720 30,15",
            "mjpeg 1920x1080 30",
            "h264 1920x1080 30",
        ];
        for (wanted, chosen) in [
            (Wanted { format: CameraFormat::Mjpeg, ..ANY }, "mjpeg 1280x720 at 30 fps"),
            (Wanted { format: CameraFormat::H264, ..ANY }, "h264 1920x1080 at 30 fps"),
            (Wanted { width: 1280, ..ANY }, "mjpeg 1280x720 at 30 fps"),
            (Wanted { height: 1080, ..ANY }, "mjpeg 1920x1080 at 30 fps"),
            (Wanted { fps: 15.0, ..ANY }, "yuyv 640x480 at 15 fps"),
            (Wanted { fps: 10.0, ..ANY }, "yuyv 1280x720 at 10 fps"),
            (Wanted { format: CameraFormat::Yuyv, width: 1280, height: 720, fps: 30.0 }, "none"),
            (Wanted { format: CameraFormat::Nv12, ..ANY }, "none"),
            (Wanted { width: 800, ..ANY }, "none"),
            (Wanted { fps: 25.0, ..ANY }, "none"),
        ] {
            assert_eq!(of(&offers, wanted), chosen, "{wanted:?}");
        }
    }

    #[test]
    fn ranges_of_sizes_and_rates_are_narrowed_down() {
        let span = |least, most, step| Span { least, most, step };
        let rate = |frames, seconds| Rate { frames, seconds };
        let wide = Offer {
            width: span(16, 4096, 8),
            height: span(16, 2160, 8),
            rates: vec![],
            between: Some((rate(0, 1), rate(60, 1))),
            ..offer("NV12 0x0 0")
        };
        let shown = |wanted| choose(std::slice::from_ref(&wide), &wanted).map(|choice| choice.shown());
        assert_eq!(shown(ANY).as_deref(), Some("nv12 640x480 at 30 fps"));
        assert_eq!(
            shown(Wanted { width: 1920, height: 1080, fps: 7.5, ..ANY }).as_deref(),
            Some("nv12 1920x1080 at 7.5 fps")
        );
        assert_eq!(shown(Wanted { width: 1921, ..ANY }), None);
        assert_eq!(shown(Wanted { fps: 90.0, ..ANY }), None);
        let ntsc = Offer { rates: vec![rate(30_000, 1001), rate(15_000, 1001)], ..offer("YUY2 640x480 0") };
        let chosen = |fps| choose(std::slice::from_ref(&ntsc), &Wanted { fps, ..ANY }).and_then(|choice| choice.rate);
        assert_eq!(
            (chosen(30.0), chosen(15.0), chosen(0.0)),
            (Some(rate(30_000, 1001)), Some(rate(15_000, 1001)), Some(rate(30_000, 1001)))
        );
    }

    #[test]
    fn a_wish_is_shown_in_words() {
        let wanted = Wanted { format: CameraFormat::Mjpeg, width: 1280, height: 720, fps: 30.0 };
        assert_eq!(wanted.shown(), "mjpeg 1280x720 at 30 fps");
        assert_eq!(Wanted { height: 480, ..ANY }.shown(), "a usable format with 480 rows");
    }
}
