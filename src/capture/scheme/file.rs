//! `file:PATH`, or just a path: a media file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Carrier, Fault, Launch, Medium, PATH_REMEDY, Scheme, Source, SourceError, path};
use crate::capture::{Error, container};
use crate::config::{Stream, redact};
use crate::regular;

/// The form of the address.
pub(super) const FORM: &str = "a file";

/// A media file.
#[derive(Debug)]
struct MediaFile {
    path: PathBuf,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    Ok(Source::new(MediaFile { path: path(rest, "a path after 'file:'")? }))
}

impl Scheme for MediaFile {
    fn describe(&self) -> String {
        redact(&self.path.display().to_string())
    }

    fn carrier(&self) -> Carrier {
        Carrier::File
    }

    fn launch(&self, stream: &Stream, _password: Option<&str>) -> Option<Launch> {
        let text = "filesrc name=source ! decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY)";
        let mut launch = Launch::of(text, stream);
        // Files store the orientation of the camera.
        launch.text += " ! videoflip video-direction=auto";
        launch.properties.push(("source", "location", self.path.to_string_lossy().into_owned()));
        Some(launch)
    }

    fn demuxer(&self) -> Option<&'static str> {
        demuxer(&self.path)
    }

    fn open(&self) -> Result<Medium<'_>, Error> {
        let file = open(&self.path)?;
        let length = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        Ok(Medium::Pipeline(Box::new(move |frames| end(&self.path, &file, length, frames))))
    }

    fn check_paths(&self) -> Result<(), String> {
        regular::open(&self.path).map(drop).map_err(|error| error.to_string())
    }

    fn examine(&self, _launch: Option<&Launch>, _timeout: Duration) -> Result<String, Fault> {
        let shown = self.path.display();
        match regular::open(&self.path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.len() == 0 => {
                Err(Fault::new(format!("{shown} is empty"), "record it again, or correct stream.source"))
            }
            Ok(metadata) => Ok(format!("{shown}, {:.1} MB", metadata.len() as f64 / 1e6)),
            Err(error) => Err(Fault::new(format!("{shown}: {error}"), PATH_REMEDY)),
        }
    }
}

/// A readable regular file: opening anything else, such as a pipe, could block forever.
fn open(path: &Path) -> Result<File, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    match regular::open(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Err(Error::Folder { path: path.to_owned() }),
        opened => opened.map_err(unreadable),
    }
}

fn demuxer(path: &Path) -> Option<&'static str> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "mp4" | "m4v" | "mov" => Some("qtdemux"),
        "mkv" | "webm" => Some("matroskademux"),
        "avi" => Some("avidemux"),
        "flv" => Some("flvdemux"),
        "ts" | "mts" | "m2ts" => Some("tsdemux"),
        "ogg" | "ogv" => Some("oggdemux"),
        _ => None,
    }
}

/// Whether the name of a file is that of a video.
pub(in crate::capture) fn is_video(path: &Path) -> bool {
    const OTHERS: [&str; 9] = ["3gp", "asf", "h264", "h265", "mjpeg", "mpeg", "mpg", "vob", "wmv"];
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    demuxer(path).is_some() || ending.is_some_and(|ending| OTHERS.iter().any(|known| ending == *known))
}

/// Whether it has the form of `HOST` or `HOST:PORT/PATH`.
fn is_like_a_host(path: &Path) -> bool {
    let first = path.components().next().map(|first| first.as_os_str().to_string_lossy()).unwrap_or_default();
    path.components().count() == 1 || first.contains([':', '.']) || first == "rtsp"
}

/// What a path that cannot be read may have been meant to be; empty if it looks like a file.
pub(in crate::capture) fn hint(path: &Path) -> &'static str {
    if path.starts_with("/dev") {
        " (hardnetd reads files and cameras, such as /dev/video0, not other devices)"
    } else if !path.is_absolute() && !is_video(path) && is_like_a_host(path) {
        " (for a network camera, write rtsp:// before its address)"
    } else {
        ""
    }
}

/// Judges the end of a file that was opened at the start and had `length` bytes then: to a demuxer, a truncated file looks
/// complete.
fn end(path: &Path, file: &File, length: u64, frames: u64) -> Result<(), Error> {
    if frames == 0 {
        return Err(Error::NoVideo);
    }
    let shrunk = || file.metadata().map(|metadata| length.saturating_sub(metadata.len()));
    match container::missing_bytes(file).and_then(|missing| Ok(missing.max(shrunk()?))) {
        Ok(0) => Ok(()),
        Ok(missing) => Err(Error::Truncated { missing, frames }),
        Err(source) => Err(Error::Unreadable { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::launch;
    use super::*;

    #[test]
    fn a_path_never_becomes_launch_text() {
        let launch = launch("/a ! fakesink \" name.mp4", &Stream::default());
        assert!(!launch.text.contains("fakesink"));
        assert_eq!(launch.properties, [("source", "location", "/a ! fakesink \" name.mp4".to_owned())]);
        assert!(!launch.live);
    }

    #[test]
    fn a_file_ends_well_if_it_had_frames_and_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        let judge = |content: &[u8], frames| {
            std::fs::write(&path, content).unwrap();
            let source = parse(path.to_str().unwrap()).unwrap();
            let Medium::Pipeline(end) = source.open().unwrap() else { panic!("a file is played") };
            end(frames)
        };
        let whole = b"\0\0\0\x0cftypisom";
        assert!(judge(whole, 3).is_ok());
        assert!(matches!(judge(whole, 0), Err(Error::NoVideo)));
        assert!(matches!(judge(&whole[..8], 3), Err(Error::Truncated { missing: 4, frames: 3 })));
        std::fs::write(&path, whole).unwrap();
        let source = parse(path.to_str().unwrap()).unwrap();
        let Medium::Pipeline(end) = source.open().unwrap() else { panic!("a file is played") };
        std::fs::write(&path, "").unwrap();
        assert!(matches!(end(3), Err(Error::Truncated { missing: 12, frames: 3 })), "it was emptied while it played");
    }

    #[test]
    fn a_camera_that_is_taken_for_a_file_gets_a_hint() {
        let message = |path: &str| parse(path).unwrap().open().map(drop).unwrap_err().to_string();
        for path in ["camera.invalid", "camera.invalid:554/stream1", "10.0.0.7:554/1", "rtsp//camera.invalid/1"] {
            assert!(message(path).ends_with("write rtsp:// before its address)"), "{path}");
        }
        assert!(message("/dev/no-video0").ends_with("such as /dev/video0, not other devices)"));
        for path in ["no-clip.mp4", "no-clip.WMV", "no-folder/clip", "/no-folder.x/clip"] {
            assert_eq!(message(path), format!("cannot read {path}"));
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| parse(path.to_str().unwrap()).unwrap().open().map(drop).unwrap_err();
        assert!(matches!(open(folder.path()), Error::Folder { .. }));
        assert!(matches!(open(&folder.path().join("nothing.mp4")), Error::Unreadable { .. }));
        assert!(matches!(open(Path::new("/dev/null")), Error::Unreadable { .. }));
    }
}
