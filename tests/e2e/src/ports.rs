//! Free TCP ports, found by binding port 0, and the block of loopback addresses that a control plane's pods use.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};

/// Ports handed out in one go are distinct, since all listeners live until the last one is bound. Between the
/// return and the use another process may take one: the caller's process then fails to start and is retried.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    let listeners = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding port 0"))
        .collect::<Result<Vec<_>>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// A /16 of 127.0.0.0/8 that no other control plane on this machine uses: pods' ports (8000, 9400) are fixed, as
/// in a real cluster, so their addresses must be ours alone. Held by a listener on the block's last address.
#[derive(Debug)]
pub struct AddressBlock {
    second: u8,
    _lock: TcpListener,
}

/// The port of the listener that marks a block as taken.
const LOCK_PORT: u16 = 9400;

impl AddressBlock {
    /// Takes the first free block from 127.16.0.0/16 upwards.
    pub fn take() -> Result<Self> {
        for second in 16..=250 {
            let lock = SocketAddr::from(([127, second, 255, 254], LOCK_PORT));
            if let Ok(lock) = TcpListener::bind(lock) {
                return Ok(Self { second, _lock: lock });
            }
        }
        bail!("no free block of loopback addresses: every 127.x.255.254:{LOCK_PORT} is taken")
    }

    /// For pods, in CIDR form.
    #[must_use]
    pub fn pods(&self) -> String {
        format!("127.{}.0.0/17", self.second)
    }

    /// The address of the `index`-th node.
    #[must_use]
    pub fn node(&self, index: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, 200, index)
    }
}
