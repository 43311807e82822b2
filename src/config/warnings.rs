//! Settings that work but may be unwanted: unverified certificates, and passwords that others can read.

use super::address::{holds_password, is_loopback};
use super::problem::Warning;
use super::redact::redact;
use super::schema::{Config, MQTT_PORT, MQTTS_PORT, Mqtt, Stream};
use super::scheme::split_scheme;
use crate::choice::{RtspTransport, SrtMode};

/// The warnings for `config`. Does not inspect the machine, and opens nothing.
#[must_use]
pub fn warnings(config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (index, stream) in config.streams.iter().enumerate() {
        let key = format!("stream[{index}].source");
        warnings.extend(password_in_source(&key, stream));
        warnings.extend(open_camera(index, stream));
        warnings.extend(same_camera(&key, stream, &config.streams[..index]));
    }
    if config.publish.mqtt.enabled {
        warnings.extend(unchecked_certificate(&config.publish.mqtt));
        warnings.extend(password_in_clear(&config.publish.mqtt));
        warnings.extend(other_port(&config.publish.mqtt));
        warnings.extend(no_password(&config.publish.mqtt));
    }
    warnings
}

/// A camera that `stream` shares with one of the streams `before` to no purpose, or that its settings keep it from sharing.
/// Test patterns and files are not limited resources like cameras.
fn same_camera(key: &str, stream: &Stream, before: &[Stream]) -> Option<Warning> {
    let is_exclusive = match stream.scheme() {
        "v4l2" | "libcamera" | "nvargus" | "udp" => true,
        "srt" => stream.srt.mode == SrtMode::Listener || split_scheme(&stream.source).1.starts_with("//:"),
        _ => false,
    };
    let twins = || before.iter().filter(|other| same_source(other, stream));
    if !is_exclusive && !stream.is_network_camera() && stream.scheme() != "srt" {
        return None;
    }
    let warning = |twin: &Stream, what: &str, remedy: String| {
        let found = format!("{:?}: the stream {:?} has the same camera, {what}", redact(&stream.source), twin.name);
        Some(Warning { key: key.to_owned(), found, remedy })
    };
    let sharing: Vec<&Stream> = twins().filter(|other| other.has_same_source(stream)).collect();
    if !sharing.is_empty() {
        let same = sharing.iter().find(|other| other.model == stream.model && other.region == stream.region)?;
        return warning(same, "model and region", "one stream is enough".to_owned());
    }
    let twin = twins().next()?;
    let what = if is_exclusive { "and only one of them gets its pictures" } else { "and it is opened twice" };
    warning(twin, what, format!("they share it if they have the same {}", stream.source_differences(twin).join(", ")))
}

/// Whether both have the same address, however it is written.
fn same_source(one: &Stream, other: &Stream) -> bool {
    let (one, other) = (split_scheme(&one.source), split_scheme(&other.source));
    let device = |rest: &str| rest.strip_prefix("/dev/v4l/").unwrap_or(rest).to_owned();
    one == other || (one.0 == "v4l2" && other.0 == "v4l2" && device(one.1) == device(other.1))
}

fn password_in_source(key: &str, stream: &Stream) -> Option<Warning> {
    holds_password(&stream.source).then(|| Warning {
        key: key.to_owned(),
        found: format!("{:?}: the password is here in clear text", redact(&stream.source)),
        remedy: "write it into a file that only the service can read, and name that in password_file of a configuration, with username"
            .to_owned(),
    })
}

/// TLS that protects less than expected.
fn open_camera(index: usize, stream: &Stream) -> Option<Warning> {
    if !stream.is_over_tls() {
        return None;
    }
    let source = redact(&stream.source);
    if stream.danger_accept_any_certificate {
        return Some(Warning {
            key: format!("stream[{index}].danger_accept_any_certificate"),
            found: format!(
                "true: the certificate of {source} is not checked: whoever sits in between can watch, send other \
                 pictures and ask for the password"
            ),
            remedy: "set ca_file to the camera's certificate, and this to false".to_owned(),
        });
    }
    let transport = stream.rtsp.transport;
    (transport != RtspTransport::Tcp && stream.scheme() == "rtsps").then(|| Warning {
        key: format!("stream[{index}].rtsp.transport"),
        found: format!("{:?}: over UDP, the pictures of {source} are not encrypted", transport.to_string()),
        remedy: "set transport = \"tcp\"".to_owned(),
    })
}

fn unchecked_certificate(mqtt: &Mqtt) -> Option<Warning> {
    (mqtt.tls && mqtt.danger_accept_any_certificate).then(|| Warning {
        key: "publish.mqtt.danger_accept_any_certificate".to_owned(),
        found: format!(
            "true: the certificate of {} is not checked: whoever sits in between can read and change everything{}",
            mqtt.host,
            if mqtt.password_file.is_empty() { "" } else { ", the password included" }
        ),
        remedy: "set ca_file to the authority of the broker, and this to false".to_owned(),
    })
}

fn password_in_clear(mqtt: &Mqtt) -> Option<Warning> {
    (!mqtt.tls && !mqtt.password_file.is_empty() && !is_loopback(&mqtt.host)).then(|| Warning {
        // This key is set; the TLS key may not be.
        key: "publish.mqtt.password_file".to_owned(),
        found: format!("{:?}: the password goes to {} in clear text (tls = false)", mqtt.password_file, mqtt.host),
        remedy: "set tls = true; what the broker needs for it is in its manual".to_owned(),
    })
}

fn other_port(mqtt: &Mqtt) -> Option<Warning> {
    let (found, remedy) = match (mqtt.tls, mqtt.port) {
        (true, MQTT_PORT) => {
            ("the standard port without TLS, but tls = true", "set it to 0 (8883 with TLS), or tls = false")
        }
        (false, MQTTS_PORT) => ("the standard port of TLS, but tls = false", "set tls = true, or the port to 0 (1883)"),
        _ => return None,
    };
    let found = format!("{}: {found}", mqtt.port);
    Some(Warning { key: "publish.mqtt.port".to_owned(), found, remedy: remedy.to_owned() })
}

fn no_password(mqtt: &Mqtt) -> Option<Warning> {
    (!mqtt.username.is_empty() && mqtt.password_file.is_empty()).then(|| Warning {
        key: "publish.mqtt.username".to_owned(),
        found: format!("{:?}: without password_file, the login has an empty password", mqtt.username),
        remedy: "name a file with the password in password_file, unless the broker asks for none".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mqtt(change: impl FnOnce(&mut Mqtt)) -> Vec<String> {
        let mut config = Config::default();
        config.publish.mqtt = Mqtt { enabled: true, host: "broker.local".into(), ..Mqtt::default() };
        change(&mut config.publish.mqtt);
        warnings(&config).into_iter().map(|warning| warning.key).collect()
    }

    #[test]
    fn a_camera_that_streams_cannot_share_is_a_warning_that_says_why() {
        let stream = |source: &str| Stream { source: source.into(), ..Stream::default() };
        let of = |one: Stream, other: Stream| {
            let streams = vec![Stream { name: "one".into(), ..one }, Stream { name: "other".into(), ..other }];
            let warnings = warnings(&Config { streams, ..Config::default() });
            warnings.into_iter().map(|warning| format!("{}; {}", warning.found, warning.remedy)).collect::<Vec<_>>()
        };
        for source in ["rtsp://cam/1", "http://cam/1", "/dev/video0", "udp://:5000"] {
            let half = Stream { region: "0,0,0.5,1".into(), model: "x".into(), weight: 2, ..stream(source) };
            assert!(of(stream(source), half).is_empty(), "{source}: they share it");
        }
        let slow = |source: &str| Stream { max_fps: 1.0, every_nth: 2, ..stream(source) };
        assert_eq!(
            of(stream("rtsp://cam/1"), slow("rtsp://cam/1")),
            [
                "\"rtsp://cam/1\": the stream \"one\" has the same camera, and it is opened twice; they share it if they have \
              the same every_nth, max_fps"
            ]
        );
        let udp = of(stream("udp://:5000"), slow("udp://:5000"));
        assert!(udp[0].contains("only one of them gets its pictures"), "{udp:?}");
        let srt = of(stream("srt://:9000"), slow("srt://:9000"));
        assert!(srt[0].contains("only one of them gets its pictures"), "{srt:?}");
        let srt = of(stream("srt://encoder:9000"), slow("srt://encoder:9000"));
        assert!(srt[0].contains("it is opened twice"), "{srt:?}");
        let device = of(stream("v4l2:by-id/x"), stream("/dev/v4l/by-id/x"));
        assert!(device[0].ends_with("they share it if they have the same source"), "{device:?}");
        assert!(of(stream("test:ball"), slow("test:ball")).is_empty());
    }

    #[test]
    fn a_password_to_another_machine_without_tls_is_a_warning() {
        let login = |mqtt: &mut Mqtt| (mqtt.username, mqtt.password_file) = ("me".into(), "secret".into());
        assert_eq!(mqtt(login), ["publish.mqtt.password_file"]);
        assert!(mqtt(|_| {}).is_empty(), "no password");
        for change in [
            |mqtt: &mut Mqtt| mqtt.host = "localhost".into(),
            |mqtt: &mut Mqtt| mqtt.host = "::1".into(),
            |mqtt: &mut Mqtt| mqtt.tls = true,
            |mqtt: &mut Mqtt| mqtt.enabled = false,
        ] {
            let changed = mqtt(|mqtt| {
                login(mqtt);
                change(mqtt);
            });
            assert!(changed.is_empty(), "{changed:?}");
        }
    }

    #[test]
    fn a_port_of_the_other_transport_and_a_user_without_a_password_are_warnings() {
        let port = |tls, port| mqtt(|mqtt| (mqtt.tls, mqtt.port) = (tls, port));
        assert_eq!(
            (port(true, 1883), port(false, 8883)),
            (vec!["publish.mqtt.port".into()], vec!["publish.mqtt.port".into()])
        );
        for (tls, number) in [(true, 8883), (false, 1883), (true, 0), (false, 0), (true, 8884)] {
            assert!(port(tls, number).is_empty(), "{tls} {number}");
        }
        assert_eq!(mqtt(|mqtt| mqtt.username = "me".into()), ["publish.mqtt.username"]);
    }

    #[test]
    fn a_certificate_that_is_not_checked_is_a_warning() {
        let careless = |mqtt: &mut Mqtt| (mqtt.tls, mqtt.danger_accept_any_certificate) = (true, true);
        assert_eq!(mqtt(careless), ["publish.mqtt.danger_accept_any_certificate"]);
        assert!(mqtt(|mqtt| mqtt.tls = true).is_empty());
    }

    #[test]
    fn a_password_in_an_address_and_a_second_stream_of_a_camera_are_warnings() {
        let stream =
            |name: &str, source: &str| Stream { name: name.into(), source: source.into(), ..Stream::default() };
        let of = |streams: Vec<Stream>| {
            let warnings = warnings(&Config { streams, ..Config::default() });
            assert!(warnings.iter().all(|warning| !warning.found.contains("s3cret")), "{warnings:?}");
            warnings.into_iter().map(|warning| warning.key).collect::<Vec<_>>()
        };
        let streams = vec![stream("a", "rtsp://me@cam/1"), stream("b", "rtsp://me:s3cret@cam/1")];
        assert_eq!(of(streams), ["stream[1].source"]);
        assert_eq!(of(vec![stream("a", "rtsp://cam/1"), stream("b", "rtsp://cam/1")]), ["stream[1].source"]);
        assert!(of(vec![stream("a", "test:ball"), stream("b", "test:ball")]).is_empty());
        for (one, other) in [("/dev/video0", "v4l2:/dev/video0"), ("v4l2:by-id/x", "v4l2:/dev/v4l/by-id/x")] {
            assert_eq!(of(vec![stream("a", one), stream("b", other)]), ["stream[1].source"], "{one}");
        }
        assert!(of(vec![stream("a", "/dev/video0"), stream("b", "/dev/video1")]).is_empty());
    }
}
