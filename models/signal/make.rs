//! Makes the pictures of a clip.

use std::ops::Range;
use std::sync::OnceLock;

use image::RgbImage;

use super::canvas::{Canvas, luma};
use super::faults::{self, CENTRE, Outcome};
use super::labels::{PATTERN_FAULTS, PATTERNS, State};
use super::list::Record;
use super::photos::{self, Photo};
use super::plan::{Clip, Set};
use super::random::Random;
use super::scenes;
use super::stamps::Stamps;
use super::video::{self, Codec, Route};
use super::{Error, damage};

/// Scenes are drawn with at most this shorter side; larger frames are made of them by GStreamer.
const DRAWN: usize = 480;
/// Least shorter side of the part of a photograph that fills a frame, in its pixels.
const LEAST_VIEW: u32 = 240;
/// Times that a clip is begun anew because too few of its pictures show what they should.
const ATTEMPTS: u64 = 60;
/// Times that a part is looked for in the photograph whose turn it is.
const IN_TURN: u64 = 40;

/// What pictures are made of.
pub(crate) struct Maker {
    seed: u64,
    /// Shorter side of the pictures.
    side: usize,
    photos: Vec<(Photo, OnceLock<RgbImage>)>,
    stamps: Stamps,
}

/// A finished picture and its line.
pub(crate) type Made = (RgbImage, Record);

/// A scene to be shown, before any fault.
struct Scene {
    canvas: Canvas,
    source: String,
    stamp: Option<Main>,
}

/// The main stamp of a scene: which one, its centre and its longer side in pixels.
#[derive(Clone, Copy)]
struct Main {
    index: usize,
    at: [f32; 2],
    side: f32,
}

impl Maker {
    /// For pictures that networks with an input of `size` crop.
    ///
    /// # Errors
    /// If a package is not installed.
    pub(crate) fn new(seed: u64, size: usize) -> Result<Self, Error> {
        let photos = photos::all().into_iter().map(|photo| (photo, OnceLock::new())).collect();
        Ok(Self { seed, side: size + size / 8, photos, stamps: Stamps::list()? })
    }

    /// Number of photographs and of stamps.
    pub(crate) fn sources(&self) -> (usize, usize) {
        (self.photos.len(), self.stamps.count())
    }

    /// Reads all photographs, so that a broken or missing one is found before the work begins.
    ///
    /// # Errors
    /// If one cannot be read.
    pub(crate) fn load(&self) -> Result<(), Error> {
        (0..self.photos.len()).try_for_each(|index| self.photo(index).map(drop))
    }

    /// The pictures of a clip: always the same for the same seed.
    ///
    /// # Errors
    /// If GStreamer fails, a file cannot be read, or the clip's seed gives no pictures that show its state.
    pub(crate) fn make(&self, clip: &Clip) -> Result<Vec<Made>, Error> {
        let set = Set::ALL.iter().position(|set| *set == clip.set).unwrap_or_default() as u64;
        let mut made = Vec::new();
        for attempt in 0..ATTEMPTS {
            let mut random = Random::new(self.seed, &[set, clip.first as u64, attempt]);
            let left = clip.count - made.len();
            let pictures = match (clip.set, clip.state) {
                (Set::Photos, _) => {
                    let places = clip.first + made.len()..clip.first + clip.count;
                    self.unaltered(places, attempt < IN_TURN, &mut random)?
                }
                (_, State::Pattern(index)) => {
                    let patterns = PATTERNS[index].1;
                    let pattern = patterns[random.below(patterns.len())];
                    self.pattern(clip.state, pattern, None, left, &mut random)?
                }
                (_, State::BrokenBlocks) => self.broken(clip.set, left, &mut random)?,
                _ => match pattern_of(clip.state, &mut random) {
                    Some((pattern, parity)) => self.pattern(clip.state, pattern, parity, left, &mut random)?,
                    None => self.scenes(clip, left, &mut random)?,
                },
            };
            made.extend(pictures.into_iter().take(left));
            if made.len() == clip.count {
                return Ok(made);
            }
        }
        Err(Error::Unmade { label: clip.state.label(), set: clip.set.name() })
    }

    fn photo(&self, index: usize) -> Result<&RgbImage, Error> {
        let (photo, image) = &self.photos[index];
        if let Some(image) = image.get() {
            return Ok(image);
        }
        let read = photo.read()?;
        // Another thread may have been faster, with the same picture.
        Ok(image.get_or_init(|| read))
    }

    /// The photographs of a set.
    fn photos_of(&self, set: Set) -> Vec<usize> {
        (0..self.photos.len()).filter(|index| self.photos[*index].0.held_out == (set != Set::Train)).collect()
    }

    /// One of the photographs of a set.
    fn some_photo(&self, set: Set, random: &mut Random) -> usize {
        let mine = self.photos_of(set);
        mine[random.below(mine.len())]
    }

    /// A part of a photograph with the proportions of a frame, at least `least` of the largest such part.
    fn view(
        &self,
        index: usize,
        [width, height]: [usize; 2],
        least: f64,
        random: &mut Random,
    ) -> Result<Canvas, Error> {
        let image = self.photo(index)?;
        let (across, down) = (image.width() as usize, image.height() as usize);
        let largest = (across as f64 / width as f64).min(down as f64 / height as f64);
        let scale = largest * random.within(least, 1.0);
        let part = [width, height].map(|side| ((side as f64 * scale) as usize).max(16));
        let (w, h) = (part[0].min(across), part[1].min(down));
        let (x, y) = (random.below(across - w + 1), random.below(down - h + 1));
        Ok(Canvas::cut(image, [x, y, w, h]))
    }

    /// A scene for frames of a size, a share `stamps` of them with a main stamp.
    fn scene(&self, set: Set, size: [usize; 2], stamps: f64, random: &mut Random) -> Result<Scene, Error> {
        let [width, height] = size;
        let (mut canvas, source) = if random.unit() < 0.75 {
            let index = self.some_photo(set, random);
            let short = self.photo(index)?.width().min(self.photo(index)?.height());
            let least = (f64::from(LEAST_VIEW) / f64::from(short)).clamp(0.25, 1.0);
            let mut view = self.view(index, size, least, random)?.resized(width, height);
            if random.unit() < 0.35 {
                view = view.turned(random.within(-0.2, 0.2) as f32);
            }
            (view, format!("photo:{}", self.photos[index].0.name))
        } else {
            let kind = scenes::kind(random);
            (scenes::render(kind, width, height, random), format!("rendered:{}", scenes::KINDS[kind]))
        };
        if random.unit() < 0.5 {
            for row in canvas.pixels.chunks_exact_mut(width) {
                row.reverse();
            }
        }
        let short = width.min(height) as f32;
        if random.unit() < 0.25 {
            for _ in 0..1 + random.below(3) {
                let at = [random.unit() as f32 * width as f32, random.unit() as f32 * height as f32];
                let (index, side) = (random.below(self.stamps.count()), random.within(0.07, 0.18) as f32 * short);
                self.stamps.paste(&mut canvas, index, at, side, random)?;
            }
        }
        let mut stamp = None;
        if random.unit() < stamps {
            let (index, side) = (random.below(self.stamps.count()), random.within(0.25, 0.65) as f32 * short);
            // Within the part that the networks see.
            let room = (CENTRE as f32 * short - side) / 2.0;
            let at = [width, height].map(|size| size as f32 / 2.0 + random.within(-1.0, 1.0) as f32 * room);
            self.stamps.paste(&mut canvas, index, at, side, random)?;
            stamp = Some(Main { index, at, side });
        }
        Ok(Scene { canvas, source, stamp })
    }

    /// Good pictures, and faults that are changes of pictures.
    fn scenes(&self, clip: &Clip, count: usize, random: &mut Random) -> Result<Vec<Made>, Error> {
        let route = Route::random(random, false);
        let size = drawn(&route);
        let hidden = matches!(clip.state, State::Black | State::OverExposed | State::Covered);
        // Some stamps disappear under a cover.
        let stamps = match clip.state {
            _ if hidden => 0.0,
            State::PartlyCovered => 0.9,
            _ => 0.55,
        };
        let mut canvases = Vec::new();
        let mut records = Vec::new();
        let mut clean = Vec::new();
        for _ in 0..count {
            let Scene { mut canvas, source, stamp } = self.scene(clip.set, size, stamps, random)?;
            faults::vary(&mut canvas, random);
            // A fault shows only in a picture that would be good without it.
            if !hidden && !is_usable(&canvas) {
                continue;
            }
            let before = canvas.clone();
            let Outcome { strength, hidden } = faults::apply(clip.state, &mut canvas, random);
            let is_change = matches!(clip.state, State::ColourCast | State::PartlyCovered);
            if is_change && difference(&before, &canvas) < 0.09 {
                continue;
            }
            let mut record = Record::new(clip.state.label(), source, &route);
            if clip.state != State::Good {
                record = record.with_strength(strength);
            }
            let is_named = |stamp: &Main| {
                let uncovered = hidden.as_ref().is_none_or(|hidden| is_visible(stamp, hidden, size[0]));
                uncovered && is_recognisable(clip.state, strength, stamp.side / size[0].min(size[1]) as f32)
            };
            record.stamp = stamp.filter(is_named).map(|stamp| self.stamps.name(stamp.index).to_owned());
            clean.push(self.small(&before));
            canvases.push(canvas);
            records.push(record);
        }
        if canvases.is_empty() {
            return Ok(Vec::new());
        }
        // The second frame of a scene has what the encoder could not afford in the first.
        let shown = if route.codec.is_predictive() { 2 } else { 1 };
        let pictures = video::send(&canvases, &route, shown)?;
        let made = pictures.iter().map(|picture| self.reduced(picture)).zip(records).zip(&clean);
        Ok(made.filter(|((picture, _), clean)| shows(clip.state, picture, clean)).map(|(made, _)| made).collect())
    }

    /// Frames of `videotestsrc` that show their pattern.
    fn pattern(
        &self,
        state: State,
        pattern: &str,
        parity: Option<u64>,
        count: usize,
        random: &mut Random,
    ) -> Result<Vec<Made>, Error> {
        let route = Route::random(random, true);
        let moves = matches!(pattern, "ball" | "snow" | "smpte");
        // The ball needs some hundred frames for its way; the noise of the others differs from frame to frame.
        let first = if pattern == "ball" { 1 + random.below(400) as u64 } else { parity.unwrap_or(0) };
        let step = match (moves, parity) {
            (true, _) => 4,
            (false, Some(_)) => 2,
            (false, None) => 1,
        };
        // Of a still picture more frames would be the same; a new clip has another size and compression.
        let count = if moves { count } else { 1.min(count) };
        // Frame by frame, an encoder adds what it could not afford in the first.
        let is_still = !moves && parity.is_none();
        let later = if is_still && route.codec.is_predictive() { random.below(6) } else { 0 };
        let frames = video::pattern(pattern, &route, first, later + (count - 1) * step + 1)?;
        let clean = match is_still {
            true => {
                let raw = Route { codec: Codec::Raw, ..route };
                video::pattern(pattern, &raw, first, 1)?.first().map(|frame| Canvas::of(&self.reduced(frame)))
            }
            false => None,
        };
        let source = format!("videotestsrc:{pattern}");
        let mut made = Vec::new();
        for frame in frames.iter().skip(later).step_by(step) {
            let picture = self.reduced(frame);
            let canvas = Canvas::of(&picture);
            // Of fine patterns, strong compression leaves nothing but an even colour.
            let is_shown = match pattern {
                "ball" => shows_ball(&picture),
                "snow" => canvas.centre(CENTRE).contrast() > 0.035,
                _ => clean.as_ref().is_none_or(|clean| difference(&canvas, clean) < 0.08),
            };
            if !is_shown {
                continue;
            }
            made.push((picture, Record::new(state.label(), source.clone(), &route)));
        }
        Ok(made)
    }

    /// Frames of moving scenes that a decoder damages because packets are lost.
    fn broken(&self, set: Set, count: usize, random: &mut Random) -> Result<Vec<Made>, Error> {
        let route = damage::route(random);
        let [width, height] = drawn(&route);
        // The camera moves over a view that is larger than the frame, and something moves within it.
        let wide = [width + width / 4, height + height / 4];
        let Scene { mut canvas, source, stamp } = self.scene(set, wide, 0.9, random)?;
        faults::vary(&mut canvas, random);
        if !is_usable(&canvas) {
            return Ok(Vec::new());
        }
        let moves = route.codec.is_predictive();
        let frames = if moves { 8 } else { 1 };
        let (right, down) = (random.within(-1.0, 1.0) as f32, random.within(-0.6, 0.6) as f32);
        let (other, side) = (random.below(self.stamps.count()), random.within(0.15, 0.4) as f32 * height as f32);
        let start = [random.unit() as f32 * wide[0] as f32, random.unit() as f32 * wide[1] as f32];
        let drift =
            [random.within(-0.03, 0.03) as f32 * width as f32, random.within(-0.02, 0.02) as f32 * height as f32];
        let with_other = random.unit() < 0.4;
        let mut offsets = Vec::new();
        let mut scene = Vec::new();
        for frame in 0..frames {
            let at = frame as f32 / frames as f32 - 0.5;
            let place = |room: usize, speed: f32| (room as f32 * (0.5 + at * speed)) as usize;
            let [x, y] = [place(wide[0] - width, right), place(wide[1] - height, down)];
            let mut view = canvas.part([x, y, width, height]);
            if with_other {
                let middle = [0, 1].map(|axis| start[axis] + drift[axis] * frame as f32 - [x, y][axis] as f32);
                // The same turn in each frame.
                let mut turn = Random::new(self.seed, &[other as u64]);
                self.stamps.paste(&mut view, other, middle, side, &mut turn)?;
            }
            offsets.push([x as f32, y as f32]);
            scene.push(view);
        }
        let label = State::BrokenBlocks.label();
        let mut found = damage::lose(&scene, &route, self.side, random)?;
        // The frames of one clip are damaged alike: one is enough.
        random.shuffle(&mut found);
        let count = count.min(1);
        let half = CENTRE as f32 * width.min(height) as f32 / 2.0;
        let made = found.into_iter().take(count).map(|(index, image, share)| {
            let mut record = Record::new(label.clone(), source.clone(), &route).with_strength(share);
            let offset = offsets.get(index).copied().unwrap_or_default();
            let is_inside = |stamp: &Main| {
                let middle = [width as f32 / 2.0, height as f32 / 2.0];
                let away = |axis: usize| (stamp.at[axis] - offset[axis] - middle[axis]).abs() + stamp.side / 2.0;
                away(0).max(away(1)) < half * 1.1
            };
            let stamp = stamp.filter(|stamp| share < 0.55 && !with_other && is_inside(stamp));
            record.stamp = stamp.map(|stamp| self.stamps.name(stamp.index).to_owned());
            (self.reduced(&image), record)
        });
        Ok(made.collect())
    }

    /// Unaltered parts of photographs for these places of the set, up to the first part that does not look like a good
    /// picture: some show nothing but a blurred background or an even sky. With `in_turn`, the photographs take turns.
    fn unaltered(&self, places: Range<usize>, in_turn: bool, random: &mut Random) -> Result<Vec<Made>, Error> {
        let mut made = Vec::new();
        let photos = self.photos_of(Set::Photos);
        for place in places {
            let index = if in_turn { photos[place % photos.len()] } else { self.some_photo(Set::Photos, random) };
            let (width, height) = video::size(random);
            let view = self.view(index, [width as usize, height as usize], 0.7, random)?;
            let picture = self.small(&view);
            if !is_usable(&view) || !shows(State::Good, &picture, &picture) {
                break;
            }
            let route = Route {
                width: view.width as u32,
                height: view.height as u32,
                format: "RGB",
                colorimetry: "",
                codec: Codec::Raw,
            };
            let source = format!("photo:{}", self.photos[index].0.name);
            made.push((picture, Record { codec: "none", ..Record::new(State::Good.label(), source, &route) }));
        }
        Ok(made)
    }

    /// A frame at the size of the pictures.
    fn reduced(&self, frame: &RgbImage) -> RgbImage {
        self.small(&Canvas::of(frame))
    }

    fn small(&self, frame: &Canvas) -> RgbImage {
        let factor = self.side as f64 / frame.short() as f64;
        let side = |side: usize| ((side as f64 * factor).round() as usize).max(1);
        let mut small = frame.resized(side(frame.width), side(frame.height));
        let longest = self.side * 16 / 9;
        let (width, height) = (small.width.min(longest), small.height.min(longest));
        small = small.part([(small.width - width) / 2, (small.height - height) / 2, width, height]);
        let image = RgbImage::from_raw(width as u32, height as u32, small.bytes());
        image.unwrap_or_default()
    }
}

/// A pattern for a fault that some patterns look like, now and then, and which of its frames.
fn pattern_of(state: State, random: &mut Random) -> Option<(&'static str, Option<u64>)> {
    let patterns: Vec<_> = PATTERN_FAULTS.iter().filter(|(fault, ..)| *fault == state).collect();
    if patterns.is_empty() || random.unit() >= 0.2 {
        return None;
    }
    let (_, pattern, parity) = patterns[random.below(patterns.len())];
    Some((pattern, *parity))
}

/// The size at which the scenes of a route are drawn.
fn drawn(route: &Route) -> [usize; 2] {
    let (width, height) = (route.width as usize, route.height as usize);
    let short = width.min(height);
    match short > DRAWN {
        // Rows of whole words, as GStreamer lays them.
        true => [(width * DRAWN / short).next_multiple_of(4), height * DRAWN / short],
        false => [width, height],
    }
}

/// Whether a picture has the light, the contrast and the colours that a good one needs. What is mostly black or in one
/// colour, such as grass from close by, cannot be told from a fault.
fn is_usable(canvas: &Canvas) -> bool {
    let centre = canvas.centre(CENTRE);
    let mut light: Vec<f32> = centre.pixels.iter().step_by(5).map(|pixel| luma(*pixel).clamp(0.0, 1.0)).collect();
    light.sort_by(f32::total_cmp);
    let at = |share: f64| light[(share * (light.len() - 1) as f64) as usize];
    let clipped = light.iter().filter(|light| **light > 0.985).count() as f64 / light.len() as f64;
    let is_colourful = saturation(&centre) < 0.55;
    let is_lit = at(0.98) > 0.25 && at(0.5) > 0.06;
    is_colourful && is_lit && at(0.97) - at(0.03) > 0.3 && at(0.75) - at(0.25) > 0.04 && clipped < 0.25
}

/// How far the mean colour is from grey, 0 to 1.
fn saturation(canvas: &Canvas) -> f32 {
    let mean = canvas.mean();
    let [low, high] = [f32::min as fn(f32, f32) -> f32, f32::max].map(|pick| mean.into_iter().fold(mean[0], pick));
    (high - low) / high.max(0.01)
}

/// Whether a finished picture shows its state, compared with the same one before the fault and the compression.
fn shows(state: State, picture: &RgbImage, clean: &RgbImage) -> bool {
    let centre = |image: &RgbImage| Canvas::of(image).centre(CENTRE);
    let (picture, clean) = (centre(picture), centre(clean));
    match state {
        // Strong compression may blur a picture as a lens does.
        State::Good => clean.detail() > 0.008 && picture.detail() > 0.6 * clean.detail(),
        State::OutOfFocus => clean.detail() > 0.012 && picture.detail() < 0.5 * clean.detail(),
        // Compression may remove noise, too.
        State::Noise => picture.detail() > clean.detail() + 0.03,
        State::LowContrast => picture.contrast() < 0.36,
        State::ColourCast => saturation(&picture) > 0.35,
        _ => true,
    }
}

/// Whether a stamp of this share of the shorter side can still be made out in a picture with a fault.
fn is_recognisable(state: State, strength: f64, side: f32) -> bool {
    match state {
        State::OutOfFocus => strength < f64::from(0.12 * side),
        State::LowContrast => strength > 0.13,
        State::Noise => strength < 0.3,
        _ => true,
    }
}

/// Mean difference of two pictures of one size.
fn difference(a: &Canvas, b: &Canvas) -> f32 {
    let pixels = a.pixels.iter().flatten().zip(b.pixels.iter().flatten());
    pixels.map(|(a, b)| (a.clamp(0.0, 1.0) - b.clamp(0.0, 1.0)).abs()).sum::<f32>() / (3 * a.pixels.len()) as f32
}

/// Whether most of a stamp can be seen.
fn is_visible(stamp: &Main, hidden: &[f32], width: usize) -> bool {
    let half = stamp.side / 2.0;
    let range = |axis: usize| (stamp.at[axis] - half).max(0.0) as usize..(stamp.at[axis] + half) as usize;
    let rows = hidden.chunks_exact(width).take(range(1).end).skip(range(1).start);
    let shares = rows.flat_map(|row| &row[range(0).start..range(0).end.min(width)]);
    let (sum, count) = shares.fold((0.0, 0), |(sum, count), share| (sum + share, count + 1));
    sum / (count.max(1) as f32) < 0.4
}

/// Whether the ball is in sight in the middle of a picture.
fn shows_ball(picture: &RgbImage) -> bool {
    let centre = Canvas::of(picture).centre(CENTRE);
    let white = centre.pixels.iter().filter(|pixel| luma(**pixel) > 0.5).count();
    white > centre.pixels.len() / 700
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_picture_that_is_black_flat_or_clipped_is_not_good() {
        let mut canvas = Canvas::new(160, 120, [0.0; 3]);
        assert!(!is_usable(&canvas));
        canvas.map(|_| [1.0; 3]);
        assert!(!is_usable(&canvas));
        canvas.map_at(|x, _, _| [x; 3]);
        assert!(is_usable(&canvas));
        canvas.map(|pixel| pixel.map(|value| 0.5 + value * 0.1));
        assert!(!is_usable(&canvas));
    }

    #[test]
    fn a_stamp_under_the_cover_is_not_named() {
        let mut hidden = vec![0.0; 100 * 100];
        hidden[..50 * 100].fill(1.0);
        let stamp = |y| Main { index: 0, at: [50.0, y], side: 30.0 };
        assert!(is_visible(&stamp(80.0), &hidden, 100));
        assert!(!is_visible(&stamp(45.0), &hidden, 100));
    }
}
