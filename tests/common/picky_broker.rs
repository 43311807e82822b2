//! A small, scriptable MQTT 3.1.1 broker, for behaviour that Mosquitto cannot be made to show.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A received PUBLISH.
#[derive(Debug, Clone)]
pub struct Published {
    /// Number of the connection, from 1.
    pub connection: usize,
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub id: u16,
    pub duplicate: bool,
    pub retained: bool,
    /// Whether this is its PUBREL.
    pub release: bool,
}

impl Published {
    pub fn is_result(&self) -> bool {
        self.topic.ends_with("/result")
    }

    pub fn seq(&self) -> u64 {
        super::records(&self.payload)[0]["seq"].as_u64().unwrap()
    }
}

/// The reaction to a PUBLISH or PUBREL.
pub enum Reply {
    Take,
    /// Take, and acknowledge after two more, the newest first.
    TakeLate,
    /// Take, and hang up instead of acknowledging.
    TakeAndHangUp,
    /// No acknowledgement.
    Ignore,
    HangUp,
}

type Policy = Box<dyn Fn(&Published) -> Reply + Send + Sync>;

struct Inner {
    policy: Policy,
    session: bool,
    /// Every PUBLISH, including refused ones.
    seen: Mutex<Vec<Published>>,
    /// What a subscriber would have received.
    delivered: Mutex<Vec<Published>>,
    /// QoS 2: received and not released.
    held: Mutex<BTreeMap<u16, Published>>,
    connections: Mutex<Vec<TcpStream>>,
    /// Whether the newest connection has a will.
    has_will: Mutex<bool>,
}

pub struct PickyBroker {
    pub port: u16,
    inner: Arc<Inner>,
}

impl PickyBroker {
    /// `session`: whether it keeps sessions, for a single client.
    pub fn start(session: bool, policy: impl Fn(&Published) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            policy: Box::new(policy),
            session,
            seen: Mutex::default(),
            delivered: Mutex::default(),
            held: Mutex::default(),
            connections: Mutex::default(),
            has_will: Mutex::default(),
        });
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut connections = shared.connections.lock().unwrap();
                connections.push(stream.try_clone().unwrap());
                let (number, inner) = (connections.len(), Arc::clone(&shared));
                std::thread::spawn(move || {
                    let _ = serve(&inner, &stream, number);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, inner }
    }

    pub fn seen(&self) -> Vec<Published> {
        self.inner.seen.lock().unwrap().clone()
    }

    pub fn delivered(&self) -> Vec<Published> {
        self.inner.delivered.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.inner.connections.lock().unwrap().len()
    }

    pub fn has_will(&self) -> bool {
        *self.inner.has_will.lock().unwrap()
    }

    /// Ends the newest connection.
    pub fn hang_up(&self) {
        let connections = self.inner.connections.lock().unwrap();
        let _ = connections.last().unwrap().shutdown(Shutdown::Both);
    }
}

fn serve(inner: &Inner, mut stream: &TcpStream, connection: usize) -> std::io::Result<()> {
    let mut present = false;
    let mut late = Vec::new();
    loop {
        let (head, body) = packet(stream)?;
        match head >> 4 {
            1 => {
                let clean = body[7] & 2 != 0;
                *inner.has_will.lock().unwrap() = body[7] & 4 != 0;
                if clean || !inner.session {
                    inner.held.lock().unwrap().clear();
                }
                present = inner.session && !clean && connection > 1;
                stream.write_all(&[0x20, 2, present.into(), 0])?;
            }
            3 => {
                let qos = head >> 1 & 3;
                let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let (topic, mut rest) = body[2..].split_at(length);
                let mut id = 0;
                if qos > 0 {
                    id = u16::from_be_bytes([rest[0], rest[1]]);
                    rest = &rest[2..];
                }
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let (topic, payload) = (text(topic), text(rest));
                let published = Published {
                    connection,
                    topic,
                    payload,
                    qos,
                    id,
                    duplicate: head & 8 != 0,
                    retained: head & 1 != 0,
                    release: false,
                };
                inner.seen.lock().unwrap().push(published.clone());
                let reply = (inner.policy)(&published);
                if matches!(reply, Reply::Take | Reply::TakeLate | Reply::TakeAndHangUp) {
                    match qos {
                        2 => drop(inner.held.lock().unwrap().insert(id, published)),
                        _ => inner.delivered.lock().unwrap().push(published),
                    }
                }
                let kind = if qos == 2 { 0x50 } else { 0x40 };
                match reply {
                    Reply::Take if qos > 0 => answer(stream, kind, id)?,
                    Reply::TakeLate if qos > 0 => late.push(id),
                    Reply::HangUp | Reply::TakeAndHangUp => return Ok(()),
                    _ => {}
                }
                if late.len() == 3 {
                    for id in late.drain(..).rev() {
                        answer(stream, kind, id)?;
                    }
                }
            }
            6 => {
                let id = u16::from_be_bytes([body[0], body[1]]);
                let held = inner.held.lock().unwrap().get(&id).cloned();
                let reply = held.map(|held| (inner.policy)(&Published { connection, release: true, ..held }));
                match reply {
                    Some(Reply::Ignore) => continue,
                    Some(Reply::HangUp) => return Ok(()),
                    _ => {}
                }
                if let Some(published) = inner.held.lock().unwrap().remove(&id) {
                    inner.delivered.lock().unwrap().push(published);
                }
                if let Some(Reply::TakeAndHangUp) = reply {
                    return Ok(());
                }
                answer(stream, 0x70, id)?;
            }
            12 => stream.write_all(&[0xd0, 0])?,
            14 => return Ok(()),
            other => panic!("packet type {other} after {present}"),
        }
    }
}

fn answer(mut stream: &TcpStream, kind: u8, id: u16) -> std::io::Result<()> {
    let [high, low] = id.to_be_bytes();
    stream.write_all(&[kind, 2, high, low])
}

/// First byte and body of the next packet (MQTT 3.1.1, 2.2).
fn packet(mut stream: &TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let head = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 127) << shift;
        shift += 7;
        if byte[0] < 128 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}

/// Connects to a broker under a client ID that is in use, which ends the other client's connection; `clean` ends its
/// session as well. Returns when the broker has answered.
pub fn take_over(port: u16, id: &str, clean: bool) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut packet = vec![0x10, u8::try_from(12 + id.len()).unwrap(), 0, 4];
    packet.extend(b"MQTT\x04");
    packet.extend([if clean { 2 } else { 0 }, 0, 30, 0, u8::try_from(id.len()).unwrap()]);
    packet.extend(id.as_bytes());
    stream.write_all(&packet).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[3], 0, "accepted");
    stream.write_all(&[0xe0, 0]).unwrap();
}
