//! `images:DIR`: the pictures of a folder, each once.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Carrier, Fault, Launch, Medium, PATH_REMEDY, Scheme, Source, SourceError, path};
use crate::capture::Frame;
use crate::capture::{Deliver, Error, Progress, Report, still};
use crate::config::{Stream, redact};
use crate::exit::chain;
use crate::frame::{Pixels as _, Timestamp};
use crate::plural::counted;
use crate::shutdown::Stopped;
use crate::telemetry::Ticket;

/// The form of the address.
pub(super) const FORM: &str = "images:DIR";

/// A folder of pictures.
#[derive(Debug)]
struct Images {
    folder: PathBuf,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    Ok(Source::new(Images { folder: path(rest, "a folder after 'images:'")? }))
}

impl Scheme for Images {
    fn describe(&self) -> String {
        format!("images:{}", redact(&self.folder.display().to_string()))
    }

    fn carrier(&self) -> Carrier {
        Carrier::Memory
    }

    fn launch(&self, _stream: &Stream, _password: Option<&str>) -> Option<Launch> {
        None
    }

    fn open(&self) -> Result<Medium<'_>, Error> {
        Ok(Medium::Pictures(still::list(&self.folder)?))
    }

    fn check_paths(&self) -> Result<(), String> {
        still::list(&self.folder).map(drop).map_err(|error| chain(&error))
    }

    fn examine(&self, _launch: Option<&Launch>, _timeout: Duration) -> Result<String, Fault> {
        match still::list(&self.folder) {
            Ok(pictures) => {
                let pictures = counted(pictures.len(), "picture", "pictures");
                Ok(format!("{}, {pictures}", self.folder.display()))
            }
            Err(error) => Err(Fault::new(chain(&error), PATH_REMEDY)),
        }
    }
}

/// Every picture of a folder, in order, until no more are wanted. One that cannot be read takes a number, as a frame that
/// cannot be classified does.
pub(in crate::capture) fn play(
    stream: &Arc<str>,
    paths: Vec<PathBuf>,
    ticket: &Ticket,
    stopped: &Stopped,
    deliver: &Deliver,
    report: &Report<'_>,
) -> ControlFlow<()> {
    for path in paths {
        if stopped.is_set() || report(Progress::Watching).is_break() {
            return ControlFlow::Break(());
        }
        let opened = still::Still::open(&path);
        let now = Timestamp::now();
        let Some(seq) = ticket.number() else { return ControlFlow::Break(()) };
        let picture = match opened {
            Ok(picture) => picture,
            Err(error) => {
                let _ = report(Progress::Unreadable(&error));
                continue;
            }
        };
        let layout = picture.layout();
        debug_assert!(!picture.plane(0).data.is_empty(), "a decoded picture has samples");
        let frame = Frame {
            stream: Arc::clone(stream),
            file: Some(path.to_string_lossy().into()),
            seq,
            captured: now,
            arrived_ns: now.monotonic_ns,
            layout,
            pixels: picture.into(),
        };
        if deliver(frame).is_break() {
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}
