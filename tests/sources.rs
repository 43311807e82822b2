//! Every kind of source, through the whole program, with real encoders and a real RTSP server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::io::BufRead as _;
use std::path::Path;

use common::{Running, data, encode, folder, hardnetd, of_stream, run, seqs, wait_for};
use rustix::process::Signal;

/// Encodes the moving ball, 1080p, 30 frames a second.
fn clip(path: &Path, frames: u32, encoder: &str) {
    let source =
        format!("videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,width=1920,height=1080,framerate=30/1");
    encode(&format!("{source} ! {encoder}"), path);
}

const H264: &str = "x264enc speed-preset=ultrafast bframes=2 key-int-max=60 ! h264parse ! mp4mux";

fn every_frame_in_order(name: &str, encoder: &str) {
    let folder = folder();
    let path = folder.path().join(name);
    clip(&path, 300, encoder);
    let outcome = run(["run", "--source", path.to_str().unwrap()]);
    assert_eq!(seqs(&outcome.records()), (0..300).collect::<Vec<_>>());
}

#[test]
fn a_test_pattern_prints_exactly_the_frames_asked_for() {
    let outcome = run(["run", "--source", "test:ball", "--frames", "50", "--sink", "stdout"]);
    let records = outcome.records();
    assert_eq!(records.len(), 50);
    assert!(records.iter().all(|record| record["model"]["trained"] == true && record["model"]["name"] == "signal"));
    assert!(records.iter().all(|record| record["top"].as_array().unwrap().len() == 5));
    assert_eq!(records[0]["top"][0]["label"], "pattern ball");
}

#[test]
fn an_h264_mp4_gives_every_frame_in_order() {
    every_frame_in_order("clip.mp4", H264);
}

/// How many coded pictures of an H.264 byte stream there are, how many others refer to, and how many are key frames
/// (ITU-T H.264, 7.4.1: `nal_ref_idc` and `nal_unit_type`), by the first slice of each.
fn coded_pictures(stream: &[u8]) -> [usize; 3] {
    let starts = stream.windows(3).enumerate().filter(|(_, bytes)| *bytes == [0, 0, 1]).map(|(at, _)| at + 3);
    let slices = starts.filter(|at| matches!(stream[*at] & 31, 1 | 5) && stream[at + 1] & 0x80 != 0);
    let headers: Vec<u8> = slices.map(|at| stream[at]).collect();
    let count = |is: fn(u8) -> bool| headers.iter().filter(|header| is(**header)).count();
    [headers.len(), count(|header| header & 0x60 != 0), count(|header| header & 31 == 5)]
}

#[test]
fn only_the_pictures_that_are_wanted_are_decoded_and_the_others_are_counted() {
    let folder = folder();
    let (stream, path) = (folder.path().join("clip.h264"), folder.path().join("clip.mp4"));
    // Groups of twelve, with two B-frames between the others, to which nothing refers.
    let encoder = "x264enc speed-preset=ultrafast bframes=2 b-adapt=false b-pyramid=false key-int-max=12 \
        option-string=scenecut=0:min-keyint=12:open-gop=0";
    let encode_to = |path: &Path, mux: &str| {
        let source = "videotestsrc pattern=ball num-buffers=60 ! video/x-raw,width=320,height=240,framerate=30/1";
        encode(&format!("{source} ! {encoder} ! {mux}"), path);
    };
    encode_to(&stream, "video/x-h264,stream-format=byte-stream");
    encode_to(&path, "h264parse ! mp4mux");
    let [pictures, references, keys] = coded_pictures(&std::fs::read(&stream).unwrap());
    assert_eq!((pictures, keys), (60, 5));
    assert!((20..=30).contains(&references), "{references}");
    for (decode, decoded) in [("all", pictures), ("reference", references), ("key", keys)] {
        let config = folder.path().join("hardnetd.toml");
        let text = format!("[[stream]]\nname = \"clip\"\nsource = \"{}\"\ndecode = \"{decode}\"\n", path.display());
        std::fs::write(&config, text).unwrap();
        let outcome = run(["run", "-c", config.to_str().unwrap()]);
        let records = outcome.records();
        assert_eq!(seqs(&records), (0..decoded as u64).collect::<Vec<_>>(), "{decode}: {}", outcome.stderr);
        let left_out = format!("captured={decoded} classified={decoded} dropped=0 failed=0 left_out={}", 60 - decoded);
        assert!(outcome.stderr.contains(&left_out), "{decode}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("frames are left out"), "{decode}: {}", outcome.stderr);
    }
}

#[test]
fn nothing_is_decoded_between_the_last_wanted_picture_and_the_next_key_frame() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    // Groups of two seconds, of which each frame refers to the one before.
    let source = "videotestsrc pattern=ball num-buffers=400 ! video/x-raw,width=320,height=240,framerate=25/1";
    let encoder = "x264enc speed-preset=ultrafast bframes=0 key-int-max=50 option-string=scenecut=0:min-keyint=50";
    encode(&format!("{source} ! {encoder} ! h264parse ! mp4mux"), &path);
    let config = folder.path().join("hardnetd.toml");
    std::fs::write(&config, format!("[[stream]]\nname = \"clip\"\nsource = \"{}\"\nmax_fps = 2\n", path.display()))
        .unwrap();
    let outcome = run(["run", "-c", config.to_str().unwrap()]);
    assert_eq!(seqs(&outcome.records()), (0..32).collect::<Vec<_>>(), "two in each second of 16");
    // The last picture of each group is due 1.5 s after its beginning, and comes as frame 38. What a group is becomes known
    // with the third key frame.
    let left_out = format!("captured=32 classified=32 dropped=0 failed=0 left_out={}", 6 * 11);
    assert!(outcome.stderr.contains(&left_out), "{}", outcome.stderr);
}

#[test]
fn a_decoder_gets_no_more_threads_than_it_takes() {
    let folder = folder();
    let path = folder.path().join("clip.webm");
    let source = "videotestsrc num-buffers=5 ! video/x-raw,width=64,height=64,framerate=30/1";
    encode(&format!("{source} ! vp8enc deadline=1 ! webmmux"), &path);
    let config = folder.path().join("hardnetd.toml");
    let text = format!("[[stream]]\nname = \"clip\"\nsource = \"{}\"\ndecoder_threads = 64\n", path.display());
    std::fs::write(&config, text).unwrap();
    assert_eq!(run(["run", "-c", config.to_str().unwrap()]).records().len(), 5);
}

#[test]
fn a_motion_jpeg_avi_gives_every_frame_in_order() {
    every_frame_in_order("clip.avi", "jpegenc ! avimux");
}

#[test]
fn a_vp9_webm_gives_every_frame_in_order() {
    every_frame_in_order("clip.webm", "vp9enc deadline=1 cpu-used=8 threads=2 ! webmmux");
}

#[test]
fn a_folder_of_pictures_gives_every_picture_in_the_order_of_names() {
    let folder = folder();
    for name in ["b.JPG", "a.jpg", "c.jpeg"] {
        std::fs::copy(data("photos/coffee.jpg"), folder.path().join(name)).unwrap();
    }
    std::fs::copy(data("photos/rocket.jpg"), folder.path().join("a.jpg")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a picture").unwrap();
    let records = run(["run", "--source", &format!("images:{}", folder.path().display())]).records();
    assert_eq!(seqs(&records), [0, 1, 2]);
    assert_ne!(records[0]["top"], records[1]["top"], "the rocket comes first");
    assert_eq!(records[1]["top"], records[2]["top"], "the same picture twice");
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let files: Vec<_> = records.iter().map(|record| record["file"].as_str().unwrap()).collect();
    assert_eq!(files, [file("a.jpg"), file("b.JPG"), file("c.jpeg")]);
}

/// A folder with the pictures a to d, of which b and d are broken, and its address.
fn with_broken_pictures() -> (tempfile::TempDir, String) {
    let folder = folder();
    for name in ["a.jpg", "c.jpg"] {
        std::fs::copy(data("photos/coffee.jpg"), folder.path().join(name)).unwrap();
    }
    for name in ["b.jpg", "d.jpg"] {
        std::fs::write(folder.path().join(name), "not a picture").unwrap();
    }
    let source = format!("images:{}", folder.path().display());
    (folder, source)
}

#[test]
fn a_broken_picture_in_a_folder_is_named_and_counted_and_the_others_are_classified() {
    let (_folder, source) = with_broken_pictures();
    let outcome = run(["run", "--source", &source]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    let records = common::records(&outcome.stdout);
    assert_eq!(seqs(&records), [0, 2]);
    common::numbers_add_up(&records);
    for name in ["b.jpg", "d.jpg"] {
        assert_eq!(outcome.stderr.matches(name).count(), 1, "{}", outcome.stderr);
    }
    assert!(outcome.stderr.contains("captured=4 classified=2 dropped=0 failed=2"), "{}", outcome.stderr);
    assert!(outcome.message().ends_with("2 of 4 frames cannot be classified"), "{}", outcome.stderr);
}

#[test]
fn pictures_beyond_the_number_of_results_are_not_looked_at() {
    let (_folder, source) = with_broken_pictures();
    for (frames, numbers, counts) in [
        ("1", &[0_u64][..], "captured=1 classified=1 dropped=0 failed=0"),
        ("2", &[0, 2], "captured=3 classified=2 dropped=0 failed=1"),
    ] {
        let outcome = run(["run", "--source", &source, "--frames", frames]);
        assert_eq!(seqs(&common::records(&outcome.stdout)), numbers, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(counts), "{}", outcome.stderr);
        let broken = numbers.len() == 2;
        assert_eq!(outcome.code(), if broken { 65 } else { 0 }, "{}", outcome.stderr);
        assert_eq!(outcome.stderr.matches("b.jpg").count(), usize::from(broken), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("d.jpg"), "{}", outcome.stderr);
    }
}

#[test]
fn each_of_several_streams_tells_its_failures_once() {
    let (_folder, source) = with_broken_pictures();
    let missing = "images:/nowhere";
    let outcome = run(["run", "--source", &source, "--source", &source, "--source", missing, "--frames", "2"]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    // The first two have the same source.
    assert_eq!(outcome.stderr.matches("b.jpg").count(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("1 of 3 frames cannot be classified").count(), 2, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("cannot read /nowhere").count(), 1, "{}", outcome.stderr);
    assert!(
        outcome.message().ends_with("hardnetd: 3 of 3 streams failed: stream-1, stream-2, stream-3"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn two_streams_at_once_give_the_results_of_both() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 20, H264);
    let outcome = run(["run", "--source", path.to_str().unwrap(), "--source", "test:snow?frames=15&live=false"]);
    let records = outcome.records();
    let of = |stream| seqs(&of_stream(&records, stream).into_iter().cloned().collect::<Vec<_>>());
    assert_eq!(of("stream-1"), (0..20).collect::<Vec<_>>());
    assert_eq!(of("stream-2"), (0..15).collect::<Vec<_>>());
}

#[test]
fn two_workers_keep_the_order_of_each_stream() {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    std::fs::write(
        &config,
        "[[stream]]\nname = \"a\"\nsource = \"test:ball?frames=10&live=false\"\n\
         [[stream]]\nname = \"b\"\nsource = \"test:bar?frames=10&live=false\"\n\
         [inference]\nworkers = 2\n",
    )
    .unwrap();
    let records = run(["run", "-c", config.to_str().unwrap()]).records();
    for stream in ["a", "b"] {
        let of = of_stream(&records, stream).into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(seqs(&of), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn every_test_pattern_can_be_classified() {
    for pattern in hardnetd::capture::PATTERNS {
        let source = format!("test:{pattern}?frames=1&live=false&size=64x64");
        assert_eq!(run(["run", "--source", &source]).records().len(), 1, "{pattern}");
    }
}

#[test]
fn every_pixel_format_of_a_source_gives_the_same_classes() {
    let top = |format: &str| {
        let source = format!("test:smpte?frames=1&live=false&size=320x240&format={format}");
        run(["run", "--source", &source]).records()[0]["top"][0]["index"].clone()
    };
    let expected = top("RGB");
    for format in ["NV12", "I420", "YUY2", "BGRx", "UYVY", "Y444", "I420_10LE", "AYUV64"] {
        assert_eq!(top(format), expected, "{format}");
    }
}

#[test]
fn a_source_that_loops_goes_on_with_the_next_number() {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    let stream = "[[stream]]\nname = \"loop\"\nsource = \"test:ball?frames=5&live=false\"\nat_end = \"loop\"\n";
    std::fs::write(&config, stream).unwrap();
    let records = run(["run", "-c", config.to_str().unwrap(), "--frames", "12"]).records();
    let numbers: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..12).collect::<Vec<_>>());
}

/// A folder with one picture, and a file that only looks like one.
fn pictures(has_good: bool) -> tempfile::TempDir {
    let folder = folder();
    std::fs::write(folder.path().join("broken.jpg"), "no picture").unwrap();
    if has_good {
        let text = "videotestsrc num-buffers=1 ! video/x-raw,width=64,height=64 ! pngenc";
        encode(text, &folder.path().join("good.png"));
        std::fs::remove_file(folder.path().join("good.log")).unwrap();
    }
    folder
}

fn read_again(source: &str, at_end: &str) -> (tempfile::TempDir, String) {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    let text =
        format!("[[stream]]\nname = \"again\"\nsource = \"{source}\"\nat_end = \"{at_end}\"\nretry_first_s = 0.5\n");
    std::fs::write(&config, text).unwrap();
    (folder, config.to_str().unwrap().to_owned())
}

#[test]
fn a_folder_in_a_loop_names_a_broken_picture_once() {
    let pictures = pictures(true);
    let (_folder, config) = read_again(&format!("images:{}", pictures.path().display()), "loop");
    let outcome = run(["run", "-c", &config, "--frames", "20"]);
    assert_eq!(outcome.stdout.lines().count(), 20, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("broken.jpg is not a readable picture").count(), 1, "{}", outcome.stderr);
}

#[test]
fn a_folder_in_a_loop_without_a_readable_picture_is_read_again_after_a_wait() {
    let pictures = pictures(false);
    let (_folder, config) = read_again(&format!("images:{}", pictures.path().display()), "loop");
    let running = Running::start(&mut hardnetd(["run", "-c", &config]));
    wait_for("a wait", || (running.log().matches("will be reopened").count() >= 2).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.stderr.matches("broken.jpg is not").count(), 1, "{}", outcome.stderr);
}

#[test]
fn a_file_that_is_read_again_may_be_half_written_at_first() {
    let clips = folder();
    let (whole, clip) = (clips.path().join("whole.mp4"), clips.path().join("clip.mp4"));
    encode("videotestsrc num-buffers=30 ! video/x-raw,width=64,height=64 ! x264enc ! mp4mux", &whole);
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&clip, &bytes[..bytes.len() / 2]).unwrap();
    let (_folder, config) = read_again(clip.to_str().unwrap(), "retry");
    let running = Running::start(&mut hardnetd(["run", "-c", &config]));
    wait_for("a failure", || running.log().contains("has failed and will be reopened").then_some(()));
    std::fs::rename(&whole, &clip).unwrap();
    wait_for("results", || (running.output().lines().count() >= 60).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert!(
        outcome.stderr.contains("INFO ") && outcome.stderr.contains("the source ended after 30 frames"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_rate_cap_leaves_frames_out_at_the_source() {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    let stream = "[[stream]]\nname = \"slow\"\nsource = \"test:ball?frames=60&live=false\"\nmax_fps = 5\n";
    std::fs::write(&config, stream).unwrap();
    let records = run(["run", "-c", config.to_str().unwrap()]).records();
    assert!((9..=12).contains(&records.len()), "60 frames at 30 per second, capped to 5: {}", records.len());
    assert!(records.iter().all(|record| record["dropped"] == 0));
    let source = "test:ball?frames=60&live=false";
    let records = run(["run", "--source", source, "--max-fps", "5", "--top", "2"]).records();
    assert!((9..=12).contains(&records.len()), "{}", records.len());
    assert!(records.iter().all(|record| record["top"].as_array().unwrap().len() == 2 && record["file"].is_null()));
    for (arguments, message) in [
        (&["--max-fps", "5"][..], "--source"),
        (&["--source", source, "--top", "0"], "--top 0: expected a whole number from 1 to 1000"),
        (&["--source", source, "--max-fps", "2000"], "expected a number from 0.001 to 1000, or 0"),
    ] {
        let outcome = run(["run"].iter().chain(arguments));
        assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
        assert!(outcome.message().contains(message), "{}", outcome.stderr);
    }
}

/// Opening the path again to find the end of the file would block on a pipe without a writer.
#[test]
fn a_file_that_is_replaced_while_it_plays_is_played_to_its_end() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 60, H264);
    let mut command = hardnetd(["run", "--source", path.to_str().unwrap()]);
    let running = Running::start(&mut command);
    wait_for("a result", || running.output().contains('\n').then_some(()));
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let outcome = running.finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(outcome.records().len(), 60);
}

/// Sets a quarter-turn rotation in the track header of a QuickTime file (ISO/IEC 14496-12, 8.3.2, the matrix).
fn turn(movie: &mut [u8]) {
    const PLAIN: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    const TURNED: [u32; 9] = [0, 0x1_0000, 0, 0xffff_0000, 0, 0, 0, 0, 0x4000_0000];
    let bytes = |matrix: [u32; 9]| matrix.map(u32::to_be_bytes).concat();
    let header = movie.windows(4).position(|name| name == b"tkhd").unwrap();
    let at = header + movie[header..].windows(36).position(|window| window == bytes(PLAIN)).unwrap();
    movie[at..at + 36].copy_from_slice(&bytes(TURNED));
}

#[test]
fn a_file_that_was_filmed_upright_is_classified_upright() {
    let folder = folder();
    let path = folder.path().join("clip.mov");
    let source = "videotestsrc pattern=smpte num-buffers=2 ! video/x-raw,width=640,height=480,framerate=30/1";
    encode(&format!("{source} ! jpegenc ! qtmux"), &path);
    let format = || {
        let outcome = run(["run", "--source", path.to_str().unwrap()]);
        assert_eq!(outcome.records().len(), 2);
        outcome.stderr
    };
    assert!(format().contains("a new format: 640x480"));
    let mut movie = std::fs::read(&path).unwrap();
    turn(&mut movie);
    std::fs::write(&path, movie).unwrap();
    assert!(format().contains("a new format: 480x640"));
}

#[test]
fn a_picture_of_wide_pixels_is_classified_as_it_is_shown() {
    let folder = folder();
    let scores = |name: &str, caps: &str| {
        let path = folder.path().join(name);
        let source = "videotestsrc pattern=ball num-buffers=1 ! video/x-raw,width=854,height=480,framerate=30/1";
        let scaled = format!("{source} ! videoscale add-borders=false ! video/x-raw,{caps}");
        encode(&format!("{scaled} ! x264enc pass=quant quantizer=10 ! qtmux"), &path);
        let outcome = run(["run", "--top", "1000", "--source", path.to_str().unwrap()]);
        let mut top = outcome.records()[0]["top"].as_array().unwrap().clone();
        top.sort_by_key(|class| class["index"].as_u64());
        top.iter().map(|class| class["score"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>();
    let square = scores("square.mov", "width=854,height=480,pixel-aspect-ratio=1/1");
    let wide = scores("wide.mov", "width=640,height=480,pixel-aspect-ratio=427/320");
    let thin = scores("thin.mov", "width=640,height=480,pixel-aspect-ratio=1/1");
    let (near, far) = (distance(&square, &wide), distance(&square, &thin));
    assert!(near < far / 3.0, "{near} for wide pixels, {far} for square ones");
}

#[test]
fn frames_keep_the_format_that_the_decoder_gave_them() {
    let outcome = run(["run", "-v", "--source", "test:ball?frames=1&live=false&format=YUY2"]);
    assert!(outcome.stderr.contains("format=(string)YUY2"), "{}", outcome.stderr);
}

#[test]
fn numbers_go_on_after_a_reload_and_tell_a_restart() {
    let folder = folder();
    let config = folder.path().join("hardnetd.toml");
    let stream = "[[stream]]\nname = \"door\"\nsource = \"test:ball?size=64x64\"\n";
    let write = |top: u32| std::fs::write(&config, format!("{stream}[model]\ntop = {top}\n")).unwrap();
    let start = || {
        write(5);
        let mut command = common::hardnetd(["run", "-c", config.to_str().unwrap()]);
        let (running, output) = common::Running::start_with_output(&mut command);
        (running, std::io::BufReader::new(output).lines().map(Result::unwrap))
    };
    let (running, mut lines) = start();
    let mut text: Vec<String> = lines.by_ref().take(3).collect();
    for top in [4, 3] {
        write(top);
        running.signal(rustix::process::Signal::HUP);
        let mut of_it = 0;
        while of_it < 3 {
            text.push(lines.next().unwrap());
            let record = &common::records(text.last().unwrap())[0];
            of_it += u32::from(record["top"].as_array().unwrap().len() == top as usize);
        }
    }
    running.signal(rustix::process::Signal::TERM);
    text.extend(lines);
    assert_eq!(running.finish().code(), 0);
    let records = common::records(&text.join("\n"));
    common::numbers_add_up(&records);

    let (_running, mut lines) = start();
    let again = common::records(&lines.next().unwrap());
    assert_ne!(again[0]["run"], records[0]["run"]);
    common::numbers_add_up(&again);
}
