//! Medians of the stages on this machine: `make bench`.
//!
//! Preprocessing is compared with GStreamer's video converter, which performs the same steps (crop, bilinear scaling,
//! colour conversion) on one thread; the two run in turns. Next to it is its lower bound, the bytes to be read at the
//! memory bandwidth measured at the start. For inference, the rate of multiply-accumulates is shown.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a program for developers")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer_video as gst_video;
use hardnetd::choice::BackendChoice;
use hardnetd::frame::{ChromaSite, Color, Layout, Matrix, Picture, PixelAspect, PixelFormat, Plane, Range};
use hardnetd::hardnet;
use hardnetd::inference::Engine;
use hardnetd::kernels::runtime::Threads;
use hardnetd::model::{Model, ModelOptions};
use hardnetd::preprocess::{Preprocessor, Transform};
use hardnetd::tensor::Tensor;

/// Time given to each row.
const ROW: Duration = Duration::from_secs(3);

fn main() {
    // `cargo test --benches` only checks that it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let bandwidth = bandwidth_gb_s();
    println!("memory read: {bandwidth:.1} GB/s, one thread\n");
    println!("{:<34} {:>10} {:>10} {:>6}", "stage", "median ms", "min ms", "runs");
    hardnetd::capture::init().unwrap();
    for format in [gst_video::VideoFormat::Nv12, gst_video::VideoFormat::Yuy2, gst_video::VideoFormat::Bgrx] {
        for (width, height) in [(640, 480), (1920, 1080)] {
            preprocess(format, width, height, bandwidth);
        }
    }
    for name in ["hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85"] {
        infer(name, BackendChoice::Native);
        infer(name, BackendChoice::Tract);
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Prints a row and returns its median.
fn row(name: &str, mut times: Vec<Duration>, notes: &str) -> f64 {
    times.sort_unstable();
    let (median, least) = (milliseconds(times[times.len() / 2]), milliseconds(times[0]));
    println!("{name:<34} {median:>10.3} {least:>10.3} {:>6}  {notes}", times.len());
    median
}

/// The times of each of `programs`, run in turns.
fn measure<const N: usize>(mut programs: [&mut dyn FnMut(); N]) -> [Vec<Duration>; N] {
    let mut times = [const { Vec::new() }; N];
    for run in &mut programs {
        run();
    }
    let end = Instant::now() + ROW;
    while times[0].len() < 5 || Instant::now() < end {
        for (run, times) in programs.iter_mut().zip(&mut times) {
            let start = Instant::now();
            run();
            times.push(start.elapsed());
        }
    }
    times
}

fn preprocess(format: gst_video::VideoFormat, width: usize, height: usize, bandwidth: f64) {
    let info = gst_video::VideoInfo::builder(format, width as u32, height as u32).build().unwrap();
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    for (index, byte) in buffer.get_mut().unwrap().map_writable().unwrap().iter_mut().enumerate() {
        *byte = (index * 31 % 251) as u8;
    }
    let frame = gst_video::VideoFrame::from_buffer_readable(buffer, &info).unwrap();

    let (pixels, color) = match format {
        gst_video::VideoFormat::Nv12 => (PixelFormat::Nv12, YUV),
        gst_video::VideoFormat::Yuy2 => (PixelFormat::Yuy2, YUV),
        _ => (PixelFormat::Bgrx, Color::RGB),
    };
    let layout = Layout { format: pixels, width, height, color, aspect: PixelAspect::SQUARE };
    let plane = |index: u32| match frame.plane_data(index) {
        Ok(data) => Plane { data, stride: info.stride()[index as usize] as usize },
        Err(_) => Plane { data: &[], stride: 0 },
    };
    let picture = Picture::new(layout, [plane(0), plane(1), plane(2)]).unwrap();
    let mut preprocessor = Preprocessor::new(Transform::IMAGENET).unwrap();
    let mut tensor = Tensor::zeros(224, 224, 3);
    let mut ours = || preprocessor.run(black_box(&picture), &mut tensor).unwrap();

    let mut peer = Peer::new(&info);
    let mut theirs = || peer.run(black_box(&frame));

    let [ours, theirs] = measure([&mut ours, &mut theirs]);
    let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64());
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let name = format!("{} {width}x{height}", format.to_str());
    let floor = info.size() as f64 / bandwidth / 1e6;
    let notes =
        format!("floor {floor:.3} ms ({} bytes read), ratio to GStreamer {:.2}", info.size(), ratios[ratios.len() / 2]);
    row(&format!("preprocess {name}"), ours, &notes);
    row(&format!("  GStreamer {name}"), theirs, "");
}

const YUV: Color = Color {
    matrix: Matrix::Bt709,
    range: Range::Limited,
    chroma_site: ChromaSite { cosited_x: true, cosited_y: false },
};

/// GStreamer's converter: the centre of the picture to 224 × 224 RGB, then the tensor.
struct Peer {
    converter: gst_video::VideoConverter,
    output: gst_video::VideoFrame<gst_video::video_frame::Writable>,
    tensor: Vec<f32>,
}

impl Peer {
    fn new(info: &gst_video::VideoInfo) -> Self {
        let (width, height) = (info.width() as i32, info.height() as i32);
        let side = width.min(height) * 224 / 256;
        let mut config = gst_video::VideoConverterConfig::new();
        config.set_resampler_method(gst_video::VideoResamplerMethod::Linear);
        config.set_chroma_resampler_method(gst_video::VideoResamplerMethod::Linear);
        config.set_threads(1);
        config.set_src_x((width - side) / 2);
        config.set_src_y((height - side) / 2);
        config.set_src_width(Some(side));
        config.set_src_height(Some(side));
        let rgb = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, 224, 224).build().unwrap();
        let buffer = gst::Buffer::with_size(rgb.size()).unwrap();
        let output = gst_video::VideoFrame::from_buffer_writable(buffer, &rgb).unwrap();
        let converter = gst_video::VideoConverter::new(info, &rgb, Some(config)).unwrap();
        Self { converter, output, tensor: vec![0.0; 224 * 224 * 3] }
    }

    fn run(&mut self, frame: &gst_video::VideoFrame<gst_video::video_frame::Readable>) {
        self.converter.frame(frame, &mut self.output);
        let Transform { mean, std, .. } = Transform::IMAGENET;
        let pixels = self.output.plane_data(0).unwrap().chunks_exact(3);
        for (values, pixel) in self.tensor.chunks_exact_mut(3).zip(pixels) {
            for channel in 0..3 {
                values[channel] = (f32::from(pixel[channel]) / 255.0 - mean[channel]) / std[channel];
            }
        }
        black_box(&mut self.tensor);
    }
}

fn infer(name: &str, backend: BackendChoice) {
    let architecture = hardnet::find(name).unwrap();
    let options = ModelOptions { engine: Engine { backend, ..Engine::default() }, ..ModelOptions::default() };
    let model = Model::load(name, &options).unwrap();
    let backend = model.backend();
    let mut network = model.network(&Threads::one()).unwrap();
    let input = hardnetd::weights::seeded::tensor(224, 224);
    let state = hardnet::seeded(architecture, 1000).unwrap();
    let macs = hardnet::build(architecture, 1000, &state).unwrap().macs(224, 224).unwrap();
    let [times] = measure([&mut || _ = black_box(network.infer(&input).unwrap().len())]);
    let best = times.iter().min().map_or(0.0, Duration::as_secs_f64);
    let notes = format!("{:.2} GMAC, at best {:.1} GMAC/s", macs as f64 / 1e9, macs as f64 / 1e9 / best);
    row(&format!("infer {name} ({backend})"), times, &notes);
}

/// Bytes read per nanosecond from a buffer larger than any cache.
fn bandwidth_gb_s() -> f64 {
    let buffer = vec![1_u64; 32 << 20];
    let times = measure([&mut || {
        black_box(buffer.iter().fold(0_u64, |sum, value| sum.wrapping_add(*value)));
    }]);
    let best = times.into_iter().flatten().min().unwrap();
    (buffer.len() * 8) as f64 / best.as_nanos() as f64
}
