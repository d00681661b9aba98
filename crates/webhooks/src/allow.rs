//! Which addresses a webhook may have.
//!
//! For: keeping a webhook away from what only this machine or its network can reach. Not for: resolving names.
//! Invariant: an address is public only where it is in no range that is private, local, shared, reserved or for
//! documentation; an address of IPv4 inside one of IPv6 is judged as itself.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use consort_types::{Code, Error, Result};

/// Ranges of IPv4 that are not public.
const CLOSED_4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The one range of IPv6 that has public addresses.
const OPEN_6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Ranges in it that are not public: those of protocols (Teredo among them), for documentation, and 6to4, behind which
/// there may be any address of IPv4.
const CLOSED_6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Behind this prefix a translator (NAT64) has all of IPv4.
const NAT64: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// Whether an address is in a range; the two kinds of addresses have none in common.
fn is_in(address: IpAddr, (range, prefix): (IpAddr, u8)) -> bool {
    let ((address, width), (range, of_range)) = (bits(address), bits(range));
    width == of_range && (address ^ range).checked_shr(u32::from(width - prefix)).unwrap_or(0) == 0
}

/// The address that is reached: one of IPv4 may be written as one of IPv6.
fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    if let Some(four) = six.to_ipv4_mapped() {
        return IpAddr::V4(four);
    }
    if is_in(address, (IpAddr::V6(NAT64.0), NAT64.1)) {
        return IpAddr::V4(Ipv4Addr::from_bits(six.to_bits() as u32));
    }
    address
}

/// Whether an address is one of the public Internet.
pub fn is_public(address: IpAddr) -> bool {
    match reached(address) {
        four @ IpAddr::V4(_) => !CLOSED_4.iter().any(|(range, prefix)| is_in(four, (IpAddr::V4(*range), *prefix))),
        six @ IpAddr::V6(_) => {
            let of = |(range, prefix): &(Ipv6Addr, u8)| is_in(six, (IpAddr::V6(*range), *prefix));
            of(&OPEN_6) && !CLOSED_6.iter().any(of)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Range(IpAddr, u8),
    Host(String),
}

/// What webhooks may reach beyond the public Internet: ranges of addresses, and hosts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow(Vec<Entry>);

impl FromStr for Allow {
    type Err = Error;

    /// Entries with commas between: `10.1.0.0/16`, `127.0.0.1`, `fd00::/8`, `hooks.internal`.
    fn from_str(text: &str) -> Result<Self> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(Entry::from_str).collect::<Result<_>>().map(Self)
    }
}

impl FromStr for Entry {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::new(Code::BadSetting, format!("`{text}` is neither a range of addresses nor a host"))
                .hint("write entries such as `10.1.0.0/16`, `127.0.0.1` or `hooks.internal`, with commas between")
        };
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| bad())?;
            let prefix: u8 = prefix.parse().map_err(|_| bad())?;
            return if prefix <= bits(address).1 { Ok(Self::Range(address, prefix)) } else { Err(bad()) };
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Range(address, bits(address).1));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if text.bytes().all(fits) { Ok(Self::Host(plain(text))) } else { Err(bad()) }
    }
}

/// A host as it is compared.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

impl Allow {
    /// Whether a webhook of this host may be reached at this address.
    pub fn permits(&self, host: &str, address: IpAddr) -> bool {
        is_public(address)
            || self.0.iter().any(|entry| match entry {
                Entry::Range(range, prefix) => {
                    is_in(address, (*range, *prefix)) || is_in(reached(address), (*range, *prefix))
                }
                Entry::Host(name) => *name == plain(host),
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_public_is_refused_at_both_ends_of_each_range() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
            ("::", "1fff:ffff::"),
            ("2001::", "2001:1ff:ffff::"),
            ("2001:db8::", "2001:db8:ffff::"),
            ("2002::", "2002:ffff::"),
            ("3fff::", "3fff:fff:ffff::"),
            ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            for inside in [address(first), address(last)] {
                assert!(!is_public(inside), "{inside}");
            }
            let (from, width) = bits(address(first));
            let before = match width {
                32 => (from as u32).checked_sub(1).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
                _ => from.checked_sub(1).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
            };
            // What lies before a range is public, unless another one ends there.
            let neighbours = ["192.88.99.0", "224.0.0.0", "4000::", "2001::"];
            if let Some(before) = before.filter(|_| !neighbours.contains(&first)) {
                assert!(is_public(before), "{before}");
            }
        }
        for named in ["::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "64:ff9b:1::1", "100::1", "5f00::1"] {
            assert!(!is_public(address(named)), "{named}");
        }
        for named in ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:2800::1", "2a00:1450::1", "2001:200::1"] {
            assert!(is_public(address(named)), "{named}");
        }
    }

    proptest! {
        #[test]
        fn an_address_inside_of_one_of_ipv6_is_judged_as_itself(bits: u32) {
            let four = Ipv4Addr::from_bits(bits);
            let mapped = IpAddr::V6(four.to_ipv6_mapped());
            let translated = IpAddr::V6(Ipv6Addr::from_bits(NAT64.0.to_bits() | u128::from(bits)));
            let public = is_public(IpAddr::V4(four));
            prop_assert_eq!(is_public(mapped), public);
            prop_assert_eq!(is_public(translated), public);
            // The forms that no translator is known of are closed.
            prop_assert!(!is_public(IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits)))));
            prop_assert!(!is_public(IpAddr::V6(Ipv6Addr::from_bits(0x2002 << 112 | u128::from(bits) << 80))));
        }

        #[test]
        fn what_the_standard_library_calls_local_is_never_public(bits: u32, more: u128) {
            let four = Ipv4Addr::from_bits(bits);
            let closed = four.is_private() || four.is_loopback() || four.is_link_local() || four.is_multicast()
                || four.is_broadcast() || four.is_documentation() || four.is_unspecified();
            prop_assert!(!(closed && is_public(IpAddr::V4(four))), "{}", four);
            let six = Ipv6Addr::from_bits(more);
            let closed = six.is_loopback() || six.is_multicast() || six.is_unspecified() || six.is_unique_local()
                || six.is_unicast_link_local();
            prop_assert!(!(closed && is_public(IpAddr::V6(six))), "{}", six);
        }
    }

    #[test]
    fn what_is_allowed_is_reached_and_nothing_beside_it() {
        let allow: Allow = "10.1.0.0/16, 127.0.0.1,fd00::/8 , Hooks.Internal".parse().unwrap();
        for (host, at) in [
            ("a", "10.1.255.255"),
            ("a", "127.0.0.1"),
            ("a", "::ffff:127.0.0.1"),
            ("a", "fdff::1"),
            ("hooks.internal", "192.168.0.1"),
            ("HOOKS.internal.", "::1"),
            ("a", "1.1.1.1"),
        ] {
            assert!(allow.permits(host, address(at)), "{host} {at}");
        }
        for (host, at) in [("a", "10.2.0.0"), ("a", "127.0.0.2"), ("a", "fc00::1"), ("x.hooks.internal", "10.2.0.0")] {
            assert!(!allow.permits(host, address(at)), "{host} {at}");
        }
        assert_eq!("".parse::<Allow>().unwrap(), Allow::default());
        for bad in ["10.0.0.0/33", "10.0.0/8", "a b", "::/129", "x/8", "é"] {
            assert_eq!(bad.parse::<Allow>().unwrap_err().code, Code::BadSetting, "{bad}");
        }
    }
}
