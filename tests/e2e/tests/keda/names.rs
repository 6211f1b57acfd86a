//! A name server with one name: the headless Service of two replicas.

use std::net::Ipv4Addr;

use anyhow::Result;
use tokio::{net::UdpSocket, task::JoinSet};

/// Length of a message's header.
const HEADER: usize = 12;

/// The server; dropping it ends it.
pub(crate) struct Names {
    /// Where it listens.
    pub(crate) port: u16,
    _server: JoinSet<()>,
}

impl Names {
    /// Starts one that gives these addresses for every name.
    pub(crate) async fn start(addresses: &'static [Ipv4Addr]) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = socket.local_addr()?.port();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                if let Some(message) = answer(&query[..length], addresses) {
                    drop(socket.send_to(&message, from).await);
                }
            }
        });
        Ok(Self { port, _server: server })
    }
}

/// RFC 1035, section 4: A records for a question of type A, and no records for any other.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let mut end = HEADER;
    loop {
        match usize::from(*query.get(end)?) {
            0 => break,
            label => end += 1 + label,
        }
    }
    // The root label, type and class.
    let question = query.get(HEADER..end + 5)?;
    let records = if question.ends_with(&[0, 1, 0, 1]) { addresses } else { &[] };
    let mut message = query.get(..2)?.to_vec();
    // An answer without error, recursion desired and available; one question; the records.
    message.extend([0x81, 0x80, 0, 1, 0, u8::try_from(records.len()).ok()?, 0, 0, 0, 0]);
    message.extend(question);
    for address in records {
        // The name of the question, type A, class IN, kept for no time, four octets.
        message.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        message.extend(address.octets());
    }
    Some(message)
}
