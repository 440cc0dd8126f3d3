//! The keys about the server itself: `version`, `listen`, `admin`, `trusted_proxies`, `route`, `limits` and `log`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::{IpNet, Ipv4Net};

use super::fault::{Faults, Place};
use super::raw::{RawConfig, RawLimits, RawLog};
use super::text::{OneOrMany, Placed, Text, as_list, texts};
use super::value::{A_DAY, bytes, duration, number, word};
use crate::settings::{Limits, Listen, Log, LogFormat, LoggedRequests};

pub(super) fn check_version(version: Option<&Text>, faults: &mut Faults) {
    if let Some(version) = version.filter(|version| version.value != "1") {
        faults.add(version, format!("version {} is not known", version.value), "write `version: 1`, or leave it out");
    }
}

/// The addresses for plain HTTP: where there is TLS, only those that are asked for.
pub(super) fn listen(listen: Option<&Placed<OneOrMany>>, has_tls: bool, faults: &mut Faults) -> Vec<SocketAddr> {
    match listen {
        Some(listen) => addresses(listen, faults),
        None if has_tls => Vec::new(),
        None => vec![DEFAULT_LISTEN],
    }
}

/// Addresses to listen on, at least one.
pub(super) fn addresses(listen: &Placed<OneOrMany>, faults: &mut Faults) -> Vec<SocketAddr> {
    if listen.value.len() == 0 {
        faults.add(listen, "nothing to listen on", "write an address, such as `127.0.0.1:8080`");
    }
    let mut addresses = Vec::new();
    for text in texts(listen) {
        match address(&text, faults) {
            Some(address) if addresses.contains(&address) => {
                faults.add(&text, format!("{address} is listed twice"), "keep one of them");
            }
            address => addresses.extend(address),
        }
    }
    addresses
}

fn address(text: &Placed<&str>, faults: &mut Faults) -> Option<SocketAddr> {
    let address = text.value.parse();
    if address.is_err() {
        let problem = match text.value {
            "" => "no address stands here".to_owned(),
            _ => format!("`{}` is no address to listen on", text.value),
        };
        faults.add(text, problem, address_hint(text.value));
    }
    address.ok()
}

/// What was probably meant by a text that is no address.
fn address_hint(text: &str) -> String {
    if let Some(list) = as_list(text) {
        return format!("where several may stand, they are a list in brackets: `{list}`");
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    match port.parse::<u16>() {
        Ok(port) if host.eq_ignore_ascii_case("localhost") => {
            format!("a name may stand for several addresses: write `127.0.0.1:{port}` or `[::1]:{port}`")
        }
        Ok(port) if host.is_empty() || host == "*" => {
            format!("write `127.0.0.1:{port}` for this machine alone, or `0.0.0.0:{port}` for all")
        }
        _ => "write an IP address and a port: `127.0.0.1:8080`, `0.0.0.0:80` or `[::]:8080`".to_owned(),
    }
}

/// The operator's address, or `off`.
pub(super) fn admin(admin: Option<&Text>, faults: &mut Faults) -> Option<SocketAddr> {
    match admin {
        None => Some(DEFAULT_ADMIN),
        Some(off) if off.value.eq_ignore_ascii_case("off") => None,
        Some(no) if NO.iter().any(|word| no.value.eq_ignore_ascii_case(word)) => {
            faults.add(no, format!("`{}` is no address to listen on", no.value), "write `admin: off` for no such port");
            None
        }
        Some(text) => {
            let address = address(&Placed { value: &text.value, at: text.at }, faults)?;
            if !address.ip().is_loopback() {
                let hint = "keep it on 127.0.0.1, or let nobody but your monitoring reach it";
                faults.warn(text, "the admin port is open to other machines, and tells everybody its metrics", hint);
            }
            Some(address)
        }
    }
}

/// The operator's port has an address of its own.
pub(super) fn check_admin_apart(raw: &RawConfig, listen: &Listen, faults: &mut Faults) {
    let Some(admin) = listen.admin.filter(|admin| admin.port() != 0) else { return };
    let is_taken = listen.plain.contains(&admin) || listen.tls.contains(&admin);
    let at = raw.admin.as_ref().map(Place::from);
    let at = at.or_else(|| raw.listen.as_ref().map(Place::from)).or_else(|| raw.tls.as_ref().map(Place::from));
    if let Some(at) = at.filter(|_| is_taken) {
        let hint = "give `admin`, which is 127.0.0.1:8081 where nothing is said, another port, or write `admin: off`";
        faults.add(at, format!("{admin} is the address of the operator and of visitors"), hint);
    }
}

/// Networks such as `10.0.0.0/8`, and single addresses.
pub(super) fn networks(list: Option<&Placed<OneOrMany>>, faults: &mut Faults) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in list.into_iter().flat_map(texts) {
        let one = text.value.parse().map(|address: IpAddr| address.to_canonical().into());
        match one.or_else(|_| text.value.parse::<IpNet>()) {
            // Taken for the network around it, it would let in far more than the one address that stands there.
            Ok(network) if network != network.trunc() => faults.add(
                &text,
                format!("`{}` is an address within a network, not a network", text.value),
                format!(
                    "write `{}` for all of that network, or `{}` for this one address",
                    network.trunc(),
                    network.addr()
                ),
            ),
            Ok(network) => networks.push(canonical(network)),
            Err(_) => bad_network(&text, faults),
        }
    }
    networks
}

fn bad_network(text: &Placed<&str>, faults: &mut Faults) {
    if text.value.is_empty() {
        faults.add(text, "no network stands here", "write one, or leave the key out");
        return;
    }
    let hint = match as_list(text.value) {
        Some(list) => format!("several are a list in brackets: `{list}`"),
        None => "write an address or a network: `127.0.0.1`, `10.0.0.0/8` or `fd00::/8`".to_owned(),
    };
    faults.add(text, format!("`{}` is no network", text.value), hint);
}

/// A network of IPv4 as such, also where it is written as one of IPv6: a peer's address is compared in its shortest
/// form, whatever socket it comes through.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let address = mapped.addr().to_ipv4_mapped();
    let prefix = mapped.prefix_len().checked_sub(MAPPED_PREFIX);
    let v4 = address.zip(prefix).and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(network, IpNet::V4)
}

pub(super) fn route(route: Option<&Text>, faults: &mut Faults) -> String {
    let Some(route) = route else { return DEFAULT_ROUTE.to_owned() };
    let is_segment = |segment: &str| crate::link::is_plain_name(segment) && segment != "." && segment != "..";
    if !route.value.strip_prefix('/').is_some_and(|segments| segments.split('/').all(is_segment)) {
        faults.add(
            route,
            format!("`{}` is no path for links", route.value),
            "write a path of letters, digits, `.`, `_` and `-` without a slash at its end, such as `/go`; `/` would take the whole site",
        );
    }
    route.value.clone()
}

pub(super) fn limits(raw: &RawLimits, faults: &mut Faults) -> Limits {
    Limits {
        connections: number(raw.connections.as_ref(), 4096, 1..=1_000_000, faults),
        head_timeout: duration(raw.head_timeout.as_ref(), Duration::from_secs(10), A_MOMENT..=A_DAY, faults),
        idle_timeout: duration(raw.idle_timeout.as_ref(), Duration::from_secs(75), A_MOMENT..=A_DAY, faults),
        head_bytes: bytes(raw.head_bytes.as_ref(), ByteSize::kib(32), ByteSize::kib(1)..=ByteSize::mib(1), faults),
        drain: duration(raw.drain.as_ref(), Duration::from_secs(10), Duration::ZERO..=A_DAY, faults),
        drain_delay: duration(raw.drain_delay.as_ref(), Duration::ZERO, Duration::ZERO..=A_DAY, faults),
    }
}

pub(super) fn log(raw: &RawLog, faults: &mut Faults) -> Log {
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let requests = [("all", LoggedRequests::All), ("refused", LoggedRequests::Refused), ("off", LoggedRequests::Off)];
    Log {
        format: word(raw.format.as_ref(), LogFormat::Json, &formats, faults),
        requests: word(raw.requests.as_ref(), LoggedRequests::All, &requests, faults),
    }
}

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
/// Other words for `off`.
const NO: [&str; 5] = ["no", "false", "none", "disabled", "null"];
const DEFAULT_ROUTE: &str = "/go";
/// The addresses of IPv4 are those of IPv6 under `::ffff:0:0/96` (RFC 4291, 2.5.5.2).
const MAPPED_PREFIX: u8 = 96;
/// A time limit of nothing would close every connection.
const A_MOMENT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_is_off_however_it_is_written() {
        for off in ["off", "Off", "OFF"] {
            let mut faults = Faults::default();
            let text = Text { value: off.to_owned(), at: Place { line: 1, column: 8, length: 3 } };
            assert_eq!(admin(Some(&text), &mut faults), None, "{off}");
            assert_eq!(faults.finish(), Ok(vec![]), "{off}");
        }
    }
}
