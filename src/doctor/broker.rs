//! The MQTT broker: its name, a connection, what it says to the login, and who can read along.

use std::net::IpAddr;
use std::time::Instant;

use super::network::{self, Reach, reach};
use super::{Context, Finding};
use crate::config::Mqtt;
use crate::exit::chain;
use crate::publish::{ProbeError, probe};

/// The port that brokers serve MQTT over TLS at (IANA, secure-mqtt).
const TLS_PORT: u16 = 8883;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Some(config) = &context.config else { return vec![super::not_known("broker")] };
    let settings = &config.publish.mqtt;
    if !settings.enabled {
        return vec![Finding::absent("broker", "none is configured (publish.mqtt.enabled = false)")];
    }
    let place = format!("{}:{}", settings.host, settings.port);
    let start = Instant::now();
    let address = match network::connect(&settings.host, settings.port, context.timeout) {
        // The probe makes a connection of its own.
        Ok((_, address)) => address,
        Err(error) => {
            let remedy = error.remedy("broker", "publish.mqtt.host and port");
            return vec![Finding::error("connection", format!("{place}: {error}"), remedy)];
        }
    };
    let took = start.elapsed().as_millis();
    let mut findings = vec![Finding::ok("connection", format!("{place}: {address} answers after {took} ms"))];
    findings.push(match probe(settings, context.timeout) {
        Ok(()) => Finding::ok("login", format!("accepted {}", by_whom(settings))),
        Err(error) => Finding::error(
            "login",
            format!("{place}: {} {}", chain(&error), by_whom(settings)),
            remedy(&error, settings),
        ),
    });
    findings.push(encryption(address.ip(), settings));
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
            "set publish.mqtt.username and password_file: the broker wants a login".into()
        }
        ProbeError::Login { .. } => {
            "check publish.mqtt.username and password_file against the broker's users (Mosquitto: mosquitto_passwd)"
                .into()
        }
        ProbeError::Refused { .. } => "see the broker's log".into(),
        ProbeError::HungUp | ProbeError::NotMqtt(_) | ProbeError::Silent { .. } if settings.port == TLS_PORT => {
            "port 8883 is for TLS, which is not built into this version: let the broker listen at 1883 in the local \
             network"
                .into()
        }
        ProbeError::HungUp | ProbeError::NotMqtt(_) | ProbeError::Silent { .. } => {
            "check that publish.mqtt.port is that of MQTT without TLS (usually 1883), and see the broker's log".into()
        }
    }
}

/// Whether others can read along. Without TLS there is no certificate to check.
fn encryption(address: IpAddr, settings: &Mqtt) -> Finding {
    const NAME: &str = "encryption";
    const PLAIN: &str = "none, and so no certificate: TLS is not built into this version";
    let exposed = if settings.password_file.is_empty() { "results" } else { "results and the password" };
    match reach(address) {
        Reach::Loopback => Finding::ok(NAME, format!("{PLAIN}; nothing leaves this machine")),
        Reach::Local => {
            Finding::info(NAME, format!("{PLAIN}; {exposed} can be read in the local network ({address} is private)"))
        }
        Reach::Public => {
            let remedy = "use a broker in the local network, with a bridge over TLS from there, or a VPN";
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
        assert!(remedy(&ProbeError::HungUp, &settings).contains("TLS, which is not built into this version"));
        assert!(remedy(&ProbeError::HungUp, &Mqtt::default()).contains("MQTT without TLS"));
    }
}
