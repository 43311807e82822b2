//! Real decoder damage: packets of a moving scene get lost, and the decoder does what it can.

use image::RgbImage;

use super::Error;
use super::canvas::{Canvas, luma};
use super::random::Random;
use super::video::{self, Codec, Route};

/// Bytes of a network packet.
const PACKET: usize = 1400;
/// Side of the squares in which damage is counted, in pixels of the final picture.
const SQUARE: usize = 8;
/// Difference from which a square counts as damaged: its mean, of 0 to 1.
const VISIBLE: f32 = 0.065;
/// Share of the squares from which a picture counts as damaged.
pub(crate) const LEAST: f64 = 0.15;

/// Encodes a moving scene, loses some of it, and returns the frames that are visibly damaged, with the share of the
/// picture that is, and their numbers. `side` is the shorter side of the final pictures.
///
/// # Errors
/// If GStreamer fails.
pub(crate) fn lose(
    scene: &[Canvas],
    route: &Route,
    side: usize,
    random: &mut Random,
) -> Result<Vec<(usize, RgbImage, f64)>, Error> {
    // Several slices a frame, as many cameras send; or one, which a gap cuts short.
    let slices = [1, 1, 2, 4, 8][random.below(5)];
    let options = format!("key-int-max={} option-string=slices={slices}", 3 + random.below(12));
    let units = video::encode(scene, route, if route.codec.is_predictive() { &options } else { "" })?;
    let clean = video::decode(&units, route)?;
    let damaged: Vec<Vec<u8>> = match route.codec.is_predictive() {
        true => {
            let rate = random.within(0.04, 0.35);
            let glue = random.unit() < 0.65;
            units.iter().map(|unit| with_losses(unit, rate, glue, random)).collect()
        }
        false => units.iter().map(|unit| cut_short(unit, random)).collect(),
    };
    // A decoder that gets too little fails: there is nothing to show then.
    let Ok(shown) = video::decode(&damaged, route) else { return Ok(Vec::new()) };
    let small = |image: &RgbImage| final_centre(image, side);
    let clean: Vec<Canvas> = clean.iter().map(|frame| small(&frame.image)).collect();
    let mut found = Vec::new();
    for frame in shown {
        let centre = small(&frame.image);
        let share = damage(&centre, &clean);
        // Where everything is lost, decoders show grey, as a pattern does.
        if share >= LEAST && centre.contrast() > 0.3 {
            found.push((frame.index, frame.image, share));
        }
    }
    Ok(found)
}

/// What a network sees of a frame whose shorter side becomes `side`.
fn final_centre(image: &RgbImage, side: usize) -> Canvas {
    let frame = Canvas::of(image);
    let factor = side as f64 / frame.short() as f64;
    let side = |side: usize| (side as f64 * factor).round() as usize;
    frame.resized(side(frame.width), side(frame.height)).centre(super::faults::CENTRE)
}

/// The share of the squares of `shown` that look like no frame of `clean`: what merely stands still is not damaged.
pub(crate) fn damage(shown: &Canvas, clean: &[Canvas]) -> f64 {
    let (columns, rows) = (shown.width / SQUARE, shown.height / SQUARE);
    let mut damaged = 0;
    for row in 0..rows {
        for column in 0..columns {
            let pixels = |canvas: &Canvas| {
                let part = canvas.part([column * SQUARE, row * SQUARE, SQUARE, SQUARE]);
                part.pixels
            };
            let here = pixels(shown);
            let least = clean.iter().map(|clean| {
                let difference = |(a, b): (&[f32; 3], [f32; 3])| {
                    let colour: f32 = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum();
                    (luma(*a) - luma(b)).abs().max(colour / 3.0)
                };
                here.iter().zip(pixels(clean)).map(difference).sum::<f32>() / here.len() as f32
            });
            damaged += usize::from(least.fold(f32::MAX, f32::min) > VISIBLE);
        }
    }
    damaged as f64 / (columns * rows).max(1) as f64
}

/// An access unit of H.264 without some of its packets: their slices are gone, or, with `glue`, only the bytes. The
/// parameter sets stay.
fn with_losses(unit: &[u8], rate: f64, glue: bool, random: &mut Random) -> Vec<u8> {
    let mut kept = Vec::with_capacity(unit.len());
    for nal in nals(unit) {
        let header = nal.iter().position(|byte| *byte == 1).map_or(0, |start| start + 1);
        let is_slice = nal.get(header).is_some_and(|byte| matches!(byte & 0x1f, 1 | 5));
        let packets: Vec<&[u8]> = nal.chunks(packet_size(nal)).collect();
        // The first packet has the slice's header, without which the rest is nothing.
        let lost: Vec<bool> = packets.iter().map(|_| is_slice && random.unit() < rate).collect();
        let any = lost.contains(&true);
        if !is_slice || !any {
            kept.extend_from_slice(nal);
        } else if glue {
            let packets = packets.iter().zip(&lost).enumerate();
            packets
                .filter(|(index, (_, lost))| *index == 0 || !**lost)
                .for_each(|(_, (packet, _))| kept.extend(*packet));
        }
    }
    kept
}

/// Bytes of the packets in which a slice travels; small slices of small pictures in at least three.
fn packet_size(nal: &[u8]) -> usize {
    PACKET.min(nal.len().div_ceil(3)).max(24)
}

/// The NAL units of an access unit, with their start codes.
fn nals(unit: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> =
        unit.windows(3).enumerate().filter(|(_, code)| *code == [0, 0, 1]).map(|(at, _)| at).collect();
    starts.push(unit.len());
    starts.windows(2).map(|pair| &unit[pair[0]..pair[1]]).collect()
}

/// A JPEG picture of which the end did not arrive, with the marker that ends it.
fn cut_short(unit: &[u8], random: &mut Random) -> Vec<u8> {
    let keep = (unit.len() as f64 * random.within(0.25, 0.8)) as usize;
    let mut kept = unit[..keep].to_vec();
    kept.extend([0xff, 0xd9]);
    kept
}

/// The routes on which damage is made.
pub(crate) fn route(random: &mut Random) -> Route {
    let mut route = Route::random(random, false);
    while route.height > 768 && random.unit() < 0.8 {
        route = Route::random(random, false);
    }
    route.format = "I420";
    route.codec = match random.below(8) {
        0 => Codec::Jpeg { quality: random.within(30.0, 90.0) as u32 },
        _ => Codec::H264Quality { quantizer: random.within(20.0, 34.0) as u32 },
    };
    route
}
