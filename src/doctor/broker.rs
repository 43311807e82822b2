//! The MQTT broker: its name, a connection, its answer to the login, and whether others can eavesdrop.

use std::net::IpAddr;
use std::time::Instant;

use jiff::Timestamp;

use super::{Context, Finding};
use crate::config::{MQTTS_PORT, Mqtt, is_missing_credential};
use crate::exit::chain;
use crate::publish::{Kept, ProbeError, probe};
use crate::system::Host;
use crate::system::host::device_name;
use crate::system::network::{self, Reach, Reached, reach};

/// Days that leave time to renew a certificate; automatic renewal happens well before.
const RENEWAL_DAYS: i64 = 14;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Some(config) = &context.config else { return vec![super::not_known("broker")] };
    let settings = &config.publish.mqtt;
    if !settings.enabled {
        return vec![Finding::absent("broker", "none is configured (publish.mqtt.enabled = false)")];
    }
    let place = format!("{}:{}", settings.host, settings.port());
    let start = Instant::now();
    let Reached { address, has_overtaken, .. } =
        match network::connect(&settings.host, settings.port(), context.timeout) {
            // The probe makes its own connection.
            Ok(reached) => reached,
            Err(error) => {
                let remedy = error.remedy("broker", "publish.mqtt.host and port");
                return vec![Finding::error("connection", format!("{place}: {error}"), remedy)];
            }
        };
    let took = start.elapsed().as_millis();
    let found = format!("{place}: {address} answers after {took} ms");
    let mut findings = vec![match has_overtaken {
        false => Finding::ok("connection", found),
        true => {
            let found = format!("{found}; an address before it has not answered yet");
            let remedy = "check the broker's names and this machine's IPv6 (`getent ahosts NAME`, `ip -6 route`)";
            Finding::warning("connection", found, remedy)
        }
    }];
    let device = device_name(&config.device.name);
    // The service leads the library in the same way.
    let answer = probe(settings, &device, (!settings.tls || has_overtaken).then_some(address), context.timeout);
    let certificate = match (settings.tls, &answer.login) {
        (true, Err(ProbeError::Handshake(error))) => {
            Some(Finding::error("certificate", format!("{place}: {error}"), error.remedy()))
        }
        (true, _) => Some(certificate(answer.valid_until, settings)),
        (false, _) => None,
    };
    findings.push(match &answer.login {
        Ok(_) => Finding::ok("login", format!("accepted {}", by_whom(settings))),
        Err(ProbeError::Handshake(_)) => Finding::info("login", "not tried"),
        Err(error @ (ProbeError::Secret(_) | ProbeError::Tls(_))) => {
            let found = format!("{place}: {}", chain(error));
            let files = [&settings.password_file, &settings.ca_file, &settings.cert_file, &settings.key_file];
            // As for the password of a camera: the service has its credentials, and its administrator does not.
            match files.iter().any(|file| !file.is_empty() && is_missing_credential(file)) {
                true => Finding::warning("login", found, remedy(error, settings)),
                false => Finding::error("login", found, remedy(error, settings)),
            }
        }
        Err(error) => {
            Finding::error("login", format!("{place}: {} {}", chain(error), by_whom(settings)), remedy(error, settings))
        }
    });
    if let Ok(kept) = answer.login {
        findings.push(client_id(kept, settings, &device, daemon(&context.host)));
    }
    let is_reached = matches!(answer.login, Ok(_) | Err(ProbeError::Login { .. } | ProbeError::Refused { .. }));
    findings.push(encryption(address.ip(), settings, is_reached));
    findings.extend(certificate);
    findings
}

fn by_whom(settings: &Mqtt) -> String {
    match (settings.username.as_str(), settings.password_file.as_str()) {
        ("", _) => "without a user name".into(),
        (user, "") => format!("for user {user} without a password"),
        (user, _) => format!("for user {user}"),
    }
}

fn remedy(error: &ProbeError, settings: &Mqtt) -> String {
    match error {
        ProbeError::Secret(_) => {
            "put the password there, one line, readable for the service: LoadCredential= in the unit".into()
        }
        ProbeError::Login { .. } if settings.username.is_empty() => {
            "set publish.mqtt.username and password_file: the broker requires a login".into()
        }
        ProbeError::Login { .. } => {
            "check publish.mqtt.username and password_file against the broker's users (Mosquitto: mosquitto_passwd)"
                .into()
        }
        ProbeError::Refused { .. } => "see the broker's log".into(),
        ProbeError::Tls(_) => {
            "give the service PEM files that it can read: LoadCredential= in the unit, or below /etc/hardnetd".into()
        }
        ProbeError::Handshake(error) => error.remedy().into(),
        ProbeError::HungUp | ProbeError::NotMqtt(_) | ProbeError::Silent { .. } => {
            match (settings.tls, settings.port) {
                (true, _) => {
                    "check that publish.mqtt.port is that of MQTT over TLS (usually 8883), and see the broker's log"
                        .into()
                }
                (false, MQTTS_PORT) => "port 8883 is for TLS: set publish.mqtt.tls = true".into(),
                (false, _) => {
                    "check that publish.mqtt.port is that of MQTT without TLS (usually 1883), and see the broker's log"
                        .into()
                }
            }
        }
    }
}

/// How long the broker's certificate is valid, once it has been verified.
fn certificate(valid_until: Option<Timestamp>, settings: &Mqtt) -> Finding {
    const NAME: &str = "certificate";
    if settings.danger_accept_any_certificate {
        let remedy = "set publish.mqtt.ca_file to the broker's authority, and danger_accept_any_certificate = false";
        return Finding::warning(NAME, "not checked: anybody in between can read and change everything", remedy);
    }
    let Some(until) = valid_until else { return Finding::info(NAME, "not known") };
    let days = until.duration_since(Timestamp::now()).as_hours() / 24;
    let found = format!("valid until {until}, {days} days");
    match days < RENEWAL_DAYS {
        true => Finding::warning(NAME, found, "renew the broker's certificate: once it has expired, nothing is sent"),
        false => Finding::ok(NAME, found),
    }
}

/// Process number of a daemon on this machine.
fn daemon(host: &Host) -> Option<String> {
    host.find("/proc/*/cmdline").into_iter().find_map(|path| {
        let line = host.read(&path)?;
        let mut words = line.split('\0');
        let is_program = words.next()?.rsplit('/').next() == Some("hardnetd");
        (is_program && words.any(|word| word == "run")).then(|| path.split('/').nth(2).map(str::to_owned))?
    })
}

/// Whether another client uses the client id. To connect with it would throw that client out, so the state of the device
/// has to tell: two devices with one name have one client id, too.
fn client_id(kept: Kept, settings: &Mqtt, device: &str, daemon: Option<String>) -> Finding {
    const NAME: &str = "client id";
    let (id, topic) = (settings.id(device), settings.status_topic(device));
    // Without a will, `online` stays behind.
    if !settings.retain || !settings.last_will {
        let found = format!("{id}; whether others use it is not known (publish.mqtt.retain or last_will = false)");
        return Finding::info(NAME, found);
    }
    match (kept, daemon) {
        (Kept::NotOnline, _) => Finding::ok(NAME, format!("{id}; nobody is online at {topic}")),
        (Kept::Unknown, _) => {
            Finding::info(NAME, format!("{id}; whether others use it is not known: the broker does not show {topic}"))
        }
        (Kept::Online, Some(process)) => {
            Finding::info(NAME, format!("{id}; {topic} is online, and hardnetd runs here (process {process})"))
        }
        (Kept::Online, None) => {
            let found = format!("{id}; {topic} is online, but no hardnetd runs here: another device has this name");
            let remedy = "give each device a device.name of its own; a daemon that was killed is offline within twice \
                          publish.mqtt.keep_alive_s";
            Finding::warning(NAME, found, remedy)
        }
    }
}

/// Whether others can eavesdrop; `is_reached` if the broker has answered.
fn encryption(address: IpAddr, settings: &Mqtt, is_reached: bool) -> Finding {
    const NAME: &str = "encryption";
    const PLAIN: &str = "none (publish.mqtt.tls = false)";
    match (settings.tls, is_reached) {
        (true, true) => return Finding::ok(NAME, "TLS"),
        (true, false) => return Finding::info(NAME, "TLS is set, and there is no connection"),
        (false, _) => {}
    }
    let exposed = if settings.password_file.is_empty() { "results" } else { "results and the password" };
    match reach(address) {
        Reach::Loopback => Finding::ok(NAME, format!("{PLAIN}; nothing leaves this machine")),
        Reach::Local => {
            Finding::info(NAME, format!("{PLAIN}; {exposed} can be read in the local network ({address} is private)"))
        }
        Reach::Public => {
            let remedy = "set publish.mqtt.tls = true; what the broker needs for it is in its manual";
            Finding::warning(NAME, format!("{PLAIN}; {exposed} leave the local network ({address} is public)"), remedy)
        }
    }
}

#[cfg(test)]
mod units {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::doctor::State;

    #[test]
    fn plain_mqtt_to_a_public_address_is_a_warning() {
        let settings = Mqtt { password_file: "secret".into(), ..Mqtt::default() };
        let state = |address: &str| encryption(address.parse().unwrap(), &settings, true).state;
        assert_eq!(state("127.0.0.1"), State::Ok);
        assert_eq!(state("192.168.1.10"), State::Info);
        assert_eq!(state("8.8.8.8"), State::Warning);
        assert!(
            encryption("8.8.8.8".parse().unwrap(), &settings, true).found.contains("results and the password leave")
        );
    }

    #[test]
    fn a_device_that_is_online_elsewhere_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path(), &[]);
        let start = |number: &str, line: &str| {
            let process = folder.path().join("proc").join(number);
            std::fs::create_dir_all(&process).unwrap();
            std::fs::write(process.join("cmdline"), line).unwrap();
        };
        let settings = Mqtt::default();
        let of = |kept| client_id(kept, &settings, "pi", daemon(&host)).state;
        start("812", "/usr/bin/hardnetd\0doctor\0");
        start("813", "vi\0run\0");
        assert_eq!(of(Kept::Online), State::Warning);
        assert_eq!((of(Kept::NotOnline), of(Kept::Unknown)), (State::Ok, State::Info));
        start("1200", "/usr/bin/hardnetd\0run\0-c\0/etc/hardnetd/hardnetd.toml\0");
        assert_eq!(daemon(&host).as_deref(), Some("1200"));
        assert_eq!(of(Kept::Online), State::Info);
        let willess = Mqtt { last_will: false, ..Mqtt::default() };
        assert_eq!(client_id(Kept::Online, &willess, "pi", None).state, State::Info);
    }

    #[test]
    fn what_hangs_up_at_the_port_of_tls_is_said_to_be_that() {
        let settings = Mqtt { port: MQTTS_PORT, ..Mqtt::default() };
        assert!(remedy(&ProbeError::HungUp, &settings).contains("publish.mqtt.tls = true"));
        assert!(remedy(&ProbeError::HungUp, &Mqtt::default()).contains("MQTT without TLS"));
        let settings = Mqtt { tls: true, ..Mqtt::default() };
        assert!(remedy(&ProbeError::HungUp, &settings).contains("MQTT over TLS"));
        let state = |is_reached| encryption("8.8.8.8".parse().unwrap(), &settings, is_reached).state;
        assert_eq!((state(true), state(false)), (State::Ok, State::Info));
    }

    #[test]
    fn a_certificate_that_expires_soon_is_a_warning() {
        let settings = Mqtt { tls: true, ..Mqtt::default() };
        let state = |days: i64| {
            let until = Timestamp::now() + jiff::SignedDuration::from_hours(24 * days + 1);
            certificate(Some(until), &settings).state
        };
        assert_eq!((state(13), state(15)), (State::Warning, State::Ok));
        let careless = Mqtt { danger_accept_any_certificate: true, ..settings };
        assert_eq!(certificate(None, &careless).state, State::Warning);
    }
}
