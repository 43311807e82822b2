//! Asks a web camera for its pictures once, without a login, and reads only the head of the answer.

use std::io;
use std::time::{Duration, Instant};

use super::answer::{Head, ask, target};
use super::{Fetch, Kind, channel, kind_of};
use crate::capture::Trust;
use crate::capture::dial::{Trouble, limited};
use crate::capture::scheme::Fault;
use crate::exit::chain;
use crate::system::network::{self, Reach, Reached, reach};

const REMEDY: &str = "check scheme and port: cameras serve http:// at 80 or 8080, and https:// at 443";

/// Whether the camera, `shown` as people may see it, answers within `timeout`, and what it sends.
///
/// # Errors
/// Why not, and what to do.
pub(in crate::capture) fn examine(
    shown: &str,
    fetch: &Fetch,
    trust: &Trust,
    timeout: Duration,
) -> Result<String, Fault> {
    let endpoint = &fetch.endpoint;
    let fault = |found: String, remedy: &str| Fault { found: format!("{shown}: {found}"), remedy: remedy.to_owned() };
    let start = Instant::now();
    let Reached { stream: connection, address, .. } = network::connect(&endpoint.host, endpoint.port, timeout)
        .map_err(|error| fault(error.to_string(), &error.remedy("camera", "stream.source")))?;
    let took = start.elapsed().as_millis();
    let socket = connection.try_clone().map_err(|error| fault(error.to_string(), REMEDY))?;
    let head = limited(&socket, timeout, || {
        let (mut input, output) = channel(connection, endpoint, trust)?;
        ask(output, endpoint, &target(&endpoint.address), None)?;
        Ok(Head::read(&mut input)?)
    });
    let head = head.map_err(|trouble| match trouble {
        Trouble::Io(error) => {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
            let what = match error.kind() {
                TimedOut => format!("accepts the connection and does not answer within {} s", timeout.as_secs_f64()),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => {
                    "hangs up instead of answering".into()
                }
                _ => format!("cannot be asked ({error})"),
            };
            fault(format!("{address} {what}"), &format!("{REMEDY}; restart a camera that hangs"))
        }
        Trouble::Untrusted(error) => fault(error.to_string(), &error.remedy()),
        Trouble::Trust(error) => fault(error.to_string(), "install that package, or correct stream.ca_file"),
        error @ Trouble::Tls(_) => fault(format!("{address}: {error}"), REMEDY),
    })?;
    let head = head.ok_or_else(|| fault(format!("the server at {address} does not speak HTTP"), REMEDY))?;
    let far = match reach(address.ip()) {
        Reach::Public if !endpoint.secure => ", over a public network: pictures and login can be read on the way",
        _ => "",
    };
    let answer = format!("{address} answers after {took} ms");
    match head.status {
        200 => match kind_of(&head.media(), fetch.kind) {
            Ok(Kind::Mjpeg) => Ok(format!("{shown}: {answer} with MJPEG{far}")),
            Ok(Kind::Picture) => {
                Ok(format!("{shown}: {answer} with a picture, asked for every {} s{far}", fetch.poll.as_secs_f64()))
            }
            Err(error) => Err(fault(chain(&error), "check the path in stream.source")),
        },
        401 if fetch.login.is_some() => {
            Ok(format!("{shown}: {answer} and asks for a login, which is not checked{far}"))
        }
        401 => Err(fault(format!("{answer} and asks for a login"), "set stream.username and stream.password_file")),
        301 | 302 | 303 | 307 | 308 => {
            Ok(format!("{shown}: {answer} with a redirect, which is not followed here{far}"))
        }
        status => {
            let remedy = if status == 404 { "check the path in stream.source" } else { "see the camera's own page" };
            Err(fault(format!("{address} answers {status} {}", head.reason).trim_end().to_owned(), remedy))
        }
    }
}
