//! The MQTT broker: its name, a connection, its answer to the login, and whether others can eavesdrop.

use std::net::IpAddr;
use std::time::Instant;

use jiff::Timestamp;

use super::{Context, Finding};
use crate::config::{Mqtt, is_missing_credential};
use crate::exit::chain;
use crate::publish::{ProbeError, probe};
use crate::system::network::{self, Reach, reach};

/// The standard port of MQTT over TLS (IANA, secure-mqtt).
const TLS_PORT: u16 = 8883;
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
    let address = match network::connect(&settings.host, settings.port(), context.timeout) {
        // The probe makes its own connection.
        Ok((_, address)) => address,
        Err(error) => {
            let remedy = error.remedy("broker", "publish.mqtt.host and port");
            return vec![Finding::error("connection", format!("{place}: {error}"), remedy)];
        }
    };
    let took = start.elapsed().as_millis();
    let mut findings = vec![Finding::ok("connection", format!("{place}: {address} answers after {took} ms"))];
    let answer = probe(settings, context.timeout);
    let certificate = match (settings.tls, &answer.login) {
        (true, Err(ProbeError::Handshake(error))) => {
            Some(Finding::error("certificate", format!("{place}: {error}"), error.remedy()))
        }
        (true, _) => Some(certificate(answer.valid_until, settings)),
        (false, _) => None,
    };
    findings.push(match &answer.login {
        Ok(()) => Finding::ok("login", format!("accepted {}", by_whom(settings))),
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
    findings.push(encryption(address.ip(), settings));
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
                (false, TLS_PORT) => "port 8883 is for TLS: set publish.mqtt.tls = true".into(),
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

/// Whether others can eavesdrop.
fn encryption(address: IpAddr, settings: &Mqtt) -> Finding {
    const NAME: &str = "encryption";
    const PLAIN: &str = "none (publish.mqtt.tls = false)";
    if settings.tls {
        return Finding::ok(NAME, "TLS");
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
        let state = |address: &str| encryption(address.parse().unwrap(), &settings).state;
        assert_eq!(state("127.0.0.1"), State::Ok);
        assert_eq!(state("192.168.1.10"), State::Info);
        assert_eq!(state("8.8.8.8"), State::Warning);
        assert!(encryption("8.8.8.8".parse().unwrap(), &settings).found.contains("results and the password leave"));
    }

    #[test]
    fn what_hangs_up_at_the_port_of_tls_is_said_to_be_that() {
        let settings = Mqtt { port: TLS_PORT, ..Mqtt::default() };
        assert!(remedy(&ProbeError::HungUp, &settings).contains("publish.mqtt.tls = true"));
        assert!(remedy(&ProbeError::HungUp, &Mqtt::default()).contains("MQTT without TLS"));
        let settings = Mqtt { tls: true, ..Mqtt::default() };
        assert!(remedy(&ProbeError::HungUp, &settings).contains("MQTT over TLS"));
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
