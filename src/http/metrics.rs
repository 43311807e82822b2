//! The metrics of the program in the text format of Prometheus (exposition format 0.0.4), in base units.
//!
//! Labels have few values: names of streams and sinks, stages, states.

use std::sync::Arc;

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::record::StreamState;
use crate::system::process::Process;
use crate::telemetry::{self, BOUNDS_US, FrameCounts, Registry, StreamCounters};

/// A label with its value.
type Label<'a> = (&'a str, &'a str);

/// All metrics. `streams` are those that run now; counters are kept of all that have run.
///
/// # Errors
/// If the library refuses a name: a fault of the program.
pub(super) fn text(
    registry: &Registry,
    device: &str,
    streams: &[(Arc<str>, Arc<StreamCounters>)],
) -> prometheus::Result<String> {
    let mut families = vec![info(registry, device)];
    families.extend(process(registry));
    families.extend(of_streams(registry, streams));
    families.extend(of_sinks(registry));
    families.retain(|family| !family.get_metric().is_empty());
    let mut text = String::new();
    TextEncoder::new().encode_utf8(&families, &mut text)?;
    Ok(text)
}

fn info(registry: &Registry, device: &str) -> MetricFamily {
    let run = registry.run().to_string();
    let labels = [("device", device), ("run", &*run), ("version", env!("CARGO_PKG_VERSION"))];
    gauges("hardnetd_info", "The program; always 1.", [(&labels[..], 1.0)])
}

/// The names that Prometheus's own clients use for the process.
fn process(registry: &Registry) -> Vec<MetricFamily> {
    let mut families = vec![gauges(
        "hardnetd_uptime_seconds",
        "Time since the process began.",
        [(&[][..], registry.uptime().as_secs_f64())],
    )];
    let Some(process) = Process::read() else { return families };
    let Process { cpu_seconds, resident_bytes, threads, open_files } = process;
    families.push(counters("process_cpu_seconds_total", "Processor time, user and system.", [(&[][..], cpu_seconds)]));
    let of = |name, help, value: u64| gauges(name, help, [(&[][..], value as f64)]);
    families.push(of("process_resident_memory_bytes", "Resident memory.", resident_bytes));
    families.push(of("process_threads", "Threads.", threads));
    families.extend(open_files.map(|files| of("process_open_fds", "Open file descriptors.", files)));
    families
}

/// Name, meaning and value of a counter of frames or events.
type OfStream = (&'static str, &'static str, fn(&FrameCounts) -> u64);

const OF_STREAM: [OfStream; 9] = [
    ("hardnetd_frames_captured_total", "Frames received from the source.", |counts| counts.captured),
    ("hardnetd_frames_classified_total", "Frames that the network classified.", |counts| counts.classified),
    ("hardnetd_frames_carried_total", "Frames with the result of an earlier one.", |counts| counts.carried),
    ("hardnetd_frames_dropped_total", "Frames captured and without a result.", |counts| counts.dropped),
    ("hardnetd_frames_failed_total", "Frames that could not be classified.", |counts| counts.failed),
    ("hardnetd_frames_left_out_total", "Frames that were not decoded, or damaged.", |counts| counts.left_out),
    ("hardnetd_stalls_total", "Times that the source stopped delivering.", |counts| counts.stalls),
    ("hardnetd_reconnects_total", "Times that the source failed and was reopened.", |counts| counts.reconnects),
    ("hardnetd_pipelines_abandoned_total", "Pipelines that did not shut down in time.", |counts| counts.abandoned),
];

fn of_streams(registry: &Registry, streams: &[(Arc<str>, Arc<StreamCounters>)]) -> Vec<MetricFamily> {
    let totals = registry.all_totals();
    let mut families: Vec<MetricFamily> = OF_STREAM
        .into_iter()
        .map(|(name, help, of)| {
            let metrics =
                totals.iter().map(|(stream, totals)| counter(&[("stream", stream)], of(&totals.read()) as f64));
            family(name, help, MetricType::COUNTER, metrics.collect())
        })
        .collect();
    let states = streams.iter().flat_map(|(stream, counters)| {
        let now = counters.state();
        let of = move |state: StreamState| f64::from(u8::from(state == now));
        StreamState::ALL.map(|state| gauge(&[("state", state.name()), ("stream", stream)], of(state)))
    });
    let help = "1 for the state of a stream that runs now, 0 for the others.";
    families.push(family("hardnetd_stream_state", help, MetricType::GAUGE, states.collect()));
    let stages = totals.iter().flat_map(|(stream, totals)| {
        totals
            .latencies()
            .stages()
            .map(|(stage, durations)| histogram(&[("stage", stage), ("stream", stream)], durations))
    });
    let help = "Durations of the stages of the frames that the network classified.";
    families.push(family("hardnetd_stage_seconds", help, MetricType::HISTOGRAM, stages.collect()));
    families
}

fn of_sinks(registry: &Registry) -> Vec<MetricFamily> {
    let sinks: Vec<_> = registry.sinks().into_iter().map(|(name, sink)| (name, sink.read(), sink)).collect();
    let connecting = || sinks.iter().filter(|(name, counts, _)| *name != "stdout" || counts.connections > 0);
    let taken = sinks.iter().map(|(name, counts, _)| counter(&[("sink", name)], counts.taken as f64));
    let lost = sinks.iter().map(|(name, counts, _)| counter(&[("sink", name)], counts.lost as f64));
    let connections = connecting().map(|(name, counts, _)| counter(&[("sink", name)], counts.connections as f64));
    let connected =
        connecting().map(|(name, counts, _)| gauge(&[("sink", name)], f64::from(u8::from(counts.is_connected))));
    let acknowledged = connecting().map(|(name, _, sink)| histogram(&[("sink", name)], sink.acknowledged()));
    vec![
        family("hardnetd_sink_results_total", "Results taken.", MetricType::COUNTER, taken.collect()),
        family("hardnetd_sink_lost_total", "Results that were not delivered.", MetricType::COUNTER, lost.collect()),
        family("hardnetd_sink_connections_total", "Connections made.", MetricType::COUNTER, connections.collect()),
        family("hardnetd_sink_connected", "Whether there is a connection.", MetricType::GAUGE, connected.collect()),
        family(
            "hardnetd_sink_acknowledgement_seconds",
            "Time from taking a result to its acknowledgement.",
            MetricType::HISTOGRAM,
            acknowledged.collect(),
        ),
    ]
}

fn counters<'a>(name: &str, help: &str, values: impl IntoIterator<Item = (&'a [Label<'a>], f64)>) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| counter(labels, value)).collect();
    family(name, help, MetricType::COUNTER, metrics)
}

fn gauges<'a>(name: &str, help: &str, values: impl IntoIterator<Item = (&'a [Label<'a>], f64)>) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| gauge(labels, value)).collect();
    family(name, help, MetricType::GAUGE, metrics)
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn labelled(labels: &[Label]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    });
    Metric::from_label(pairs.collect())
}

fn counter(labels: &[Label], value: f64) -> Metric {
    let (mut metric, mut counter) = (labelled(labels), Counter::default());
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: &[Label], value: f64) -> Metric {
    let (mut metric, mut gauge) = (labelled(labels), Gauge::default());
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn histogram(labels: &[Label], durations: &telemetry::Histogram) -> Metric {
    let (mut metric, mut histogram) = (labelled(labels), Histogram::default());
    let telemetry::Cumulative { counts, sum_us } = durations.cumulative();
    let buckets = BOUNDS_US.iter().zip(&counts).map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(seconds(*bound));
        bucket.set_cumulative_count(*count);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts[BOUNDS_US.len()]);
    histogram.set_sample_sum(seconds(sum_us));
    metric.set_histogram(histogram);
    metric
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::record::Latency;

    #[test]
    fn counters_of_streams_that_have_gone_stay_and_their_state_does_not() {
        let registry = Registry::new();
        let [door, yard] = ["door", "yard"].map(|name| {
            let counters = StreamCounters::new(registry.totals(&name.into()));
            counters.count_captured();
            counters.set_state(StreamState::Online);
            counters.record(Latency { infer: 1_000, total: 3_000, ..Latency::default() });
            (Arc::from(name), Arc::new(counters))
        });
        drop(yard);
        registry.sink("mqtt").count_lost();
        let text = text(&registry, "pi \"2\"\n", &[door]).unwrap();
        for line in [
            "# HELP hardnetd_frames_captured_total Frames received from the source.",
            "# TYPE hardnetd_frames_captured_total counter",
            "hardnetd_frames_captured_total{stream=\"door\"} 1",
            "hardnetd_frames_captured_total{stream=\"yard\"} 1",
            "hardnetd_stream_state{state=\"online\",stream=\"door\"} 1",
            "hardnetd_stream_state{state=\"retrying\",stream=\"door\"} 0",
            "hardnetd_stage_seconds_bucket{stage=\"infer\",stream=\"door\",le=\"0.001\"} 1",
            "hardnetd_stage_seconds_bucket{stage=\"infer\",stream=\"door\",le=\"0.0005\"} 0",
            "hardnetd_stage_seconds_bucket{stage=\"infer\",stream=\"door\",le=\"+Inf\"} 1",
            "hardnetd_stage_seconds_sum{stage=\"total\",stream=\"door\"} 0.003",
            "hardnetd_sink_lost_total{sink=\"mqtt\"} 1",
            "hardnetd_sink_connected{sink=\"mqtt\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("device=\"pi \\\"2\\\"\\n\""), "{text}");
        assert!(!text.contains("hardnetd_stream_state{state=\"online\",stream=\"yard\"}"), "{text}");
    }
}
