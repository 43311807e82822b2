//! Hands the pictures of a web camera to the appsrc of its pipeline.

use std::sync::{Arc, Mutex};

use crossbeam_channel::Sender;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::notices::warn;
use crate::capture::economy::Needs;
use crate::capture::gate::{Gate, Reason};
use crate::capture::player::{Activity, Notice};
use crate::capture::scheme::Launch;
use crate::capture::web::{self, End, Fetch, Line, Outlet};
use crate::capture::{Error, Trust};
use crate::choice::Decode;
use crate::shutdown::{self, Stop, Thread};

/// A web camera whose pictures are being fetched.
pub(super) struct Feed {
    stop: Option<Stop>,
    line: Arc<Line>,
    thread: Option<Thread<()>>,
}

impl Feed {
    /// Fetches the pictures of `launch`, if its camera is one on the web, for its `pipeline`; what goes wrong becomes a
    /// notice.
    pub(super) fn start(
        launch: &Launch,
        pipeline: &gst::Pipeline,
        activity: &Arc<Activity>,
        notices: &Sender<Notice>,
    ) -> Result<Option<Self>, Error> {
        let Some(fetch) = launch.fetch.clone() else { return Ok(None) };
        let source = pipeline.by_name("source").and_then(|source| source.downcast::<gst_app::AppSrc>().ok());
        let source = source.ok_or_else(|| Error::Unusable { message: "the pipeline has no appsrc".into() })?;
        let (stop, stopped) = shutdown::channel();
        let line = Arc::new(Line::new(stopped));
        let body = {
            let (line, trust, notices) = (Arc::clone(&line), launch.trust.clone(), notices.clone());
            let needs = Needs { decode: Decode::All, interval_ns: 0 };
            let gate = activity.add_gate(Gate::new(false, needs));
            let inlet = Inlet { source, activity: Arc::clone(activity), gate, notices: notices.clone() };
            move || feed(&fetch, &trust, &line, &inlet, &notices)
        };
        let thread = shutdown::spawn("web-camera", body)
            .map_err(|source| Error::Unusable { message: format!("the system refuses a thread: {source}") })?;
        Ok(Some(Self { stop: Some(stop), line, thread: Some(thread) }))
    }

    /// Hangs up, and waits until nothing is fetched any more. Only a connection that is being made takes its time.
    pub(super) fn finish(&mut self) {
        self.stop = None;
        self.line.hang_up();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(None);
        }
    }
}

fn feed(fetch: &Fetch, trust: &Trust, line: &Line, inlet: &Inlet, notices: &Sender<Notice>) {
    let failure = match web::run(fetch, trust, line, inlet) {
        Ok(End::Stopped) => return,
        // The pipeline ends with the picture before.
        Ok(End::Over) if inlet.source.end_of_stream().is_ok() => return,
        Ok(End::Over) => Error::Unusable { message: "the pipeline takes no pictures".into() },
        Err(error) => error,
    };
    // An error of the pipeline itself, which came before, says more.
    let _ = notices.try_send(Notice::Failed(failure));
}

/// The way into the pipeline.
struct Inlet {
    source: gst_app::AppSrc,
    activity: Arc<Activity>,
    gate: Arc<Mutex<Gate>>,
    notices: Sender<Notice>,
}

impl Outlet for Inlet {
    fn receive(&self, bytes: usize) -> bool {
        self.activity.receive(bytes)
    }

    /// While a picture waits for the decoder, others are left out: they would grow old.
    fn picture(&self, picture: Vec<u8>) {
        if self.source.current_level_bytes() > 0 {
            Activity::lock(&self.gate).leave_out(Reason::Late);
            return;
        }
        // The pipeline reports its own errors.
        let _ = self.source.push_buffer(gst::Buffer::from_slice(picture));
    }

    fn cut_off(&self) {
        Activity::lock(&self.gate).leave_out(Reason::Damaged);
        warn(&self.notices, "a picture of the camera is cut off, and left out");
    }
}
