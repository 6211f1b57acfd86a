//! Addresses that may be connected to: nothing that names the machine itself or a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// Metadata services outside the link-local ranges: AWS over IPv6, Alibaba Cloud.
const METADATA: [IpAddr; 2] =
    [IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200))];

/// Whether a pod's address may be scraped; loopback only where that is allowed (tests serve pods there).
pub fn pod_allowed(address: IpAddr, allow_loopback: bool) -> Result<(), &'static str> {
    let address = address.to_canonical();
    if address.is_loopback() && !allow_loopback {
        return Err("is a loopback address (scrape.allowLoopback is off)");
    }
    never_asked(address).map_or(Ok(()), Err)
}

/// Whether the host of an administrator's URL may be asked. Names are not resolved here.
pub fn host_allowed(url: &Url) -> Result<(), &'static str> {
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err("has no host");
    }
    let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else { return Ok(()) };
    never_asked(address.to_canonical()).map_or(Ok(()), Err)
}

fn never_asked(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if link_local {
        return Some("is a link-local address");
    }
    if address.is_unspecified() || address.is_multicast() {
        return Some("is not the address of one machine");
    }
    METADATA.contains(&address).then_some("is the address of a cloud metadata service")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_other_machines_are_allowed() {
        for (text, allowed) in [
            ("10.0.0.7", true),
            ("100.64.3.2", true),
            ("fd12::7", true),
            ("127.1.2.3", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("100.100.100.200", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(pod_allowed(text.parse().unwrap(), false).is_ok(), allowed, "{text}");
        }
        assert!(pod_allowed("127.1.2.3".parse().unwrap(), true).is_ok());
        assert!(pod_allowed("169.254.1.1".parse().unwrap(), true).is_err());
    }
}
