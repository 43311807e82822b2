//! Checks the pipeline of a user before the rest is added to it.

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::capture::{Error, decoder, elements};

/// Names that the rest of the pipeline has.
const RESERVED: [&str; 2] = ["convert", "sink"];

/// Sinks that take the pictures away.
const SINKS: [&str; 3] = ["appsink", "fakesink", "fakevideosink"];

/// What stands for the rest of the pipeline here.
const END: &str = "hardnetd-end";

/// Checks that `text` is a pipeline with an end that is free and may give raw video; returns the elements that copy its
/// pictures into the memory of the processor, if they are elsewhere.
pub(super) fn examine(text: &str) -> Result<Option<&'static str>, Error> {
    let mut context = gst::ParseContext::new();
    let whole = format!("{text} ! identity name={END}");
    let parsed = gst::parse::launch_full(&whole, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    missing(&context)?;
    let superfluous = |sink: &str| wrong(&format!("leave {sink} out: hardnetd adds the end of the pipeline"));
    let parsed =
        parsed.map_err(|error| match SINKS.iter().find(|sink| text.split_whitespace().any(|it| it == **sink)) {
            Some(sink) => superfluous(sink),
            None if error.message().contains(END) => {
                wrong("it has no end that is free: expected one that gives raw video")
            }
            None => wrong(error.message()),
        })?;
    let parsed = parsed.downcast::<gst::Bin>().map_err(|_| wrong("it is no pipeline"))?;
    for element in parsed.iterate_elements().into_iter().flatten() {
        let kind = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
        if SINKS.contains(&kind.as_str()) {
            return Err(superfluous(&kind));
        }
        if element.name() == "decode" && kind != "decodebin" {
            return Err(wrong(&format!("call the element {kind} otherwise: 'decode' is the name for a decodebin")));
        }
        if RESERVED.contains(&element.name().as_str()) {
            return Err(wrong(&format!(
                "call the element {kind} otherwise: hardnetd has its own '{}'",
                element.name()
            )));
        }
    }
    let end = parsed.by_name(END).and_then(|end| end.static_pad("sink"));
    // Without a peer, the last element gets its outputs when data arrive, as a decodebin does.
    let Some(pad) = end.and_then(|end| end.peer()) else { return Ok(None) };
    let caps = pad.query_caps(None);
    let medium = |structure: &gst::StructureRef| structure.name().to_string();
    let media: Vec<String> = caps.iter().map(medium).collect();
    if !caps.is_any() && !media.iter().any(|media| media == "video/x-raw") {
        let media = media.first().map_or("nothing", String::as_str);
        return Err(wrong(&format!(
            "it ends in {media}: expected video/x-raw; a decoder is missing, such as decodebin"
        )));
    }
    let memories = elements::memories_of(&caps);
    let memories: Vec<&str> = memories.iter().map(String::as_str).collect();
    decoder::converter(&memories).map_err(|memory| {
        wrong(&format!(
            "its pictures are in {memory}: expected an element at the end that copies them into the memory of the \
             processor, such as v4l2convert (Raspberry Pi), vapostproc (Intel, AMD) or nvvidconv (Jetson)"
        ))
    })
}

/// What the user's pipeline lacks.
fn missing(context: &gst::ParseContext) -> Result<(), Error> {
    // One whose property is wrong counts as missing, too.
    let missing = context.missing_elements().into_iter().find(|it| gst::ElementFactory::find(it).is_none());
    match missing {
        Some(element) => Err(Error::MissingElement { element: element.to_string() }),
        None => Ok(()),
    }
}

/// An error of the user's text.
pub(super) fn wrong(message: &str) -> Error {
    Error::Pipeline { message: message.trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::{build, init};
    use crate::capture::Source;
    use crate::config::Stream;

    #[test]
    fn a_pipeline_that_gives_no_video_is_refused_with_the_reason() {
        init().unwrap();
        let outcome = |text: &str| {
            let source = Source::parse(&format!("pipeline:{text}")).unwrap();
            build(&source.launch(&Stream::default(), None).unwrap()).map(drop).map_err(|error| error.to_string())
        };
        for text in [
            "videotestsrc",
            "videotestsrc ! video/x-raw,format=NV12,width=64,height=64",
            "videotestsrc ! tee name=t ! queue ! filesink location=/dev/null t. ! queue",
            "videotestsrc ! x264enc ! decodebin",
            "filesrc location=/nowhere ! decodebin name=decode",
        ] {
            assert_eq!(outcome(text), Ok(()), "{text}");
        }
        for (text, part) in [
            ("videotestsrc !", "pipeline of the source is wrong: "),
            ("videotestsrc ! ! identity", "pipeline of the source is wrong: "),
            ("videotestsrc nonsense=1", "no property \"nonsense\""),
            ("nosuchsrc ! identity", "'nosuchsrc' is not installed"),
            ("videotestsrc ! appsink", "leave appsink out"),
            ("videotestsrc ! fakesink", "leave fakesink out"),
            ("videotestsrc ! filesink location=/dev/null", "no end that is free"),
            ("audiotestsrc", "it ends in audio/x-raw: expected video/x-raw"),
            ("videotestsrc ! x264enc", "it ends in video/x-h264: expected video/x-raw; a decoder is missing"),
            ("videotestsrc name=convert ! queue", "hardnetd has its own 'convert'"),
            ("videotestsrc ! identity name=sink ! queue", "hardnetd has its own 'sink'"),
            ("videotestsrc ! audioconvert ! identity", "could not link"),
            ("appsrc ! video/x-raw(memory:DMABuf),format=NV12", "its pictures are in memory:DMABuf"),
            ("appsrc ! video/x-raw(memory:NVMM),format=NV12", "'nvvidconv' is not installed"),
        ] {
            let error = outcome(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
