//! Servers under the names of others: a proxy that ends the encrypted connection and leads to a plain server.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::tls::Authority;

/// A configuration with a certificate for `hosts`, signed by `authority.pem` in `folder`.
pub fn certified(folder: &Path, hosts: &[&str]) -> Arc<ServerConfig> {
    Authority::new(folder, "authority").sign("server", hosts, -1..30);
    let server = folder.join("server");
    let certificates =
        CertificateDer::pem_file_iter(server.with_extension("pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(server.with_extension("key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key);
    Arc::new(config.unwrap())
}

/// The lines up to the empty one; `None` if the client has gone before.
pub fn head(stream: &mut impl BufRead) -> Option<String> {
    let mut text = String::new();
    while stream.read_line(&mut text).is_ok_and(|count| count > 0) {
        if text.ends_with("\r\n\r\n") {
            return Some(text);
        }
    }
    None
}

/// Starts a proxy that leads `https://HOST` to the plain server at the port given with it, and returns its address.
/// There is no way to a host whose port nobody listens at.
pub fn proxy(folder: &Path, hosts: &[(&'static str, u16)]) -> String {
    let names: Vec<&str> = hosts.iter().map(|(host, _)| *host).collect();
    let config = certified(folder, &names);
    let hosts = hosts.to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (config, hosts) = (Arc::clone(&config), hosts.clone());
            thread::spawn(move || {
                let asked = head(&mut BufReader::new(&client))?;
                let port =
                    |(host, port): &(&str, u16)| asked.starts_with(&format!("CONNECT {host}:443 ")).then_some(*port);
                let server = hosts.iter().find_map(port).and_then(|port| TcpStream::connect(("127.0.0.1", port)).ok());
                lead(client, server, config)
            });
        }
    });
    address
}

/// Passes one request on to `server`, and the answer back.
fn lead(mut client: TcpStream, server: Option<TcpStream>, config: Arc<ServerConfig>) -> Option<()> {
    let Some(mut server) = server else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").ok();
    };
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
    let mut client = BufReader::new(StreamOwned::new(ServerConnection::new(config).unwrap(), client));
    let request = head(&mut client)?;
    server.write_all(request.as_bytes()).ok()?;
    let client = client.get_mut();
    std::io::copy(&mut server, client).ok()?;
    client.conn.send_close_notify();
    client.flush().ok()?;
    client.sock.shutdown(Shutdown::Write).ok()
}
