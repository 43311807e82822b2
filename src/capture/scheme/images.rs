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

/// The pictures of a folder, to be played once.
pub(in crate::capture) struct Pictures<'a> {
    /// The stream that they are for.
    pub(in crate::capture) stream: &'a Arc<str>,
    pub(in crate::capture) paths: Vec<PathBuf>,
    /// Whether they have not been played before.
    pub(in crate::capture) is_first: bool,
}

impl Pictures<'_> {
    /// Delivers every picture, in order, until no more are wanted; returns how many. One that cannot be read takes a number,
    /// as a frame that cannot be classified does.
    pub(in crate::capture) fn play(
        self,
        ticket: &Ticket,
        stopped: &Stopped,
        deliver: &Deliver,
        report: &Report<'_>,
    ) -> ControlFlow<(), u64> {
        let mut count = 0;
        for path in self.paths {
            if stopped.is_set() {
                return ControlFlow::Break(());
            }
            report(Progress::Watching)?;
            let opened = still::Still::open(&path);
            let now = Timestamp::now();
            let Some(seq) = ticket.number() else { return ControlFlow::Break(()) };
            let picture = match opened {
                Ok(picture) => picture,
                Err(error) => {
                    let _ = report(Progress::Unreadable { error: &error, number: seq, is_first: self.is_first });
                    continue;
                }
            };
            let layout = picture.layout();
            debug_assert!(!picture.plane(0).data.is_empty(), "a decoded picture has samples");
            deliver(Frame {
                stream: Arc::clone(self.stream),
                file: Some(path.to_string_lossy().into()),
                seq,
                captured: now,
                arrived_ns: now.monotonic_ns,
                layout,
                pixels: picture.into(),
            })?;
            count += 1;
        }
        ControlFlow::Continue(count)
    }
}
