//! Ports: who would be at which address.

use std::net::SocketAddr;

use super::{How, Overlap, Seat};
use crate::admin;
use crate::config::Part;
use crate::endpoint::Address;
use crate::listen::{self, Given, Place};

/// An address that somebody has, or is to have.
struct Taken<'a> {
    seat: &'a Seat,
    place: Place,
}

/// Those that would find their port another one's, at any of their addresses. Nothing is opened.
pub(super) async fn overlaps<'a>(seats: &'a [Seat], given: &Given) -> Vec<Overlap<'a>> {
    let seats = contested(seats);
    let closed: Vec<_> = seats.iter().copied().filter(|seat| seat.open.is_empty()).collect();
    let given = given.shared_out(closed.iter().map(|seat| &seat.address)).await;

    let open = seats.iter().map(|seat| (*seat, &seat.open)).chain(closed.iter().copied().zip(&given));
    let places = |(seat, places): (&'a Seat, &Vec<Place>)| {
        places.iter().map(move |place| Taken { seat, place: *place }).collect::<Vec<_>>()
    };
    let mut taken: Vec<_> = open.flat_map(places).collect();
    let mut found = Vec::new();
    for (seat, there) in closed.iter().zip(&given) {
        if there.iter().any(|place| place.ip().is_unspecified()) {
            continue;
        }
        let mut earlier = seats.iter().take_while(|other| !std::ptr::eq(**other, *seat));
        if let Some(twin) = earlier.find(|other| other.address == seat.address) {
            if there.is_empty() {
                found.push(Overlap { seat, other: twin, how: How::Port });
            }
            continue;
        }
        match room(seat, there, &taken).await {
            Ok(places) => taken.extend(places.into_iter().map(|place| Taken { seat, place })),
            Err(overlap) => found.push(overlap),
        }
    }
    found
}

/// Those whose port another one has as well. The rest need not be looked up.
fn contested(seats: &[Seat]) -> Vec<&Seat> {
    let ports: Vec<_> = seats.iter().filter_map(port).collect();
    let several = |port| ports.iter().filter(|other| **other == port).count() > 1;
    seats.iter().filter(|seat| port(seat).is_some_and(several)).collect()
}

/// The port; none if the system chooses it.
fn port(seat: &Seat) -> Option<u16> {
    match seat.address {
        Address::Tcp { port, .. } => Some(port).filter(|port| *port != 0),
        Address::Unix(_) => None,
    }
}

/// Where it would listen beside where it does: at all of its addresses that are of this machine.
async fn room<'a>(seat: &'a Seat, there: &[Place], taken: &[Taken<'a>]) -> Result<Vec<Place>, Overlap<'a>> {
    let Address::Tcp { host, port } = &seat.address else { return Ok(Vec::new()) };
    let addresses = match seat.part {
        Part::Process => admin::addresses(host, *port).await,
        _ => listen::addresses(host, *port).await,
    };
    let mut places = Vec::new();
    for address in addresses.unwrap_or_default() {
        if there.iter().any(|place| place.address == address) || listen::is_here(address).is_err() {
            continue;
        }
        let place = Place::new(address);
        let overlap = taken.iter().find_map(|other| {
            let how = common(place, other.place)?;
            let may_be = seat.shared && other.seat.shared && how != How::Port;
            (!may_be).then_some(Overlap { seat, other: other.seat, how })
        });
        match overlap {
            Some(overlap) => return Err(overlap),
            None => places.push(place),
        }
    }
    Ok(places)
}

/// The address of the first of these sockets of this process's own that leaves nothing of the port of this endpoint.
pub(crate) async fn in_the_way(endpoint: &Address, own: &[Place]) -> Option<SocketAddr> {
    let Address::Tcp { host, port } = endpoint else { return None };
    let wanted: Vec<_> = listen::addresses(host, *port).await.ok()?.into_iter().map(Place::new).collect();
    let is_in_the_way = |own: &&Place| wanted.iter().any(|wanted| common(*wanted, **own).is_some());
    own.iter().find(is_in_the_way).map(|own| own.address)
}

/// What a place has in common with another one.
fn common(place: Place, other: Place) -> Option<How> {
    if place.address.port() != other.address.port() {
        None
    } else if place.ip() == other.ip() {
        Some(How::Port)
    } else if place.covers(other) {
        Some(How::Covers(place.families()))
    } else if other.covers(place) {
        Some(How::Covered(other.families()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt;
    use tokio::net::TcpSocket;

    use super::*;
    use crate::listen::Socket;

    #[test]
    fn addresses_that_cover_others() {
        let place = |text: &str, dual| Place { address: text.parse().expect("an address"), dual };
        let cases = [
            ("127.0.0.1:80", "127.0.0.1:80", Some(How::Port)),
            ("127.0.0.1:80", "127.0.0.1:81", None),
            ("127.0.0.1:80", "127.0.0.2:80", None),
            ("0.0.0.0:80", "127.0.0.1:80", Some(How::Covers("IPv4"))),
            ("127.0.0.1:80", "0.0.0.0:80", Some(How::Covered("IPv4"))),
            ("0.0.0.0:80", "[::1]:80", None),
            ("[::]:80", "[::1]:80", Some(How::Covers("IPv6 and IPv4"))),
            ("[::]:80", "127.0.0.1:80", Some(How::Covers("IPv6 and IPv4"))),
            ("0.0.0.0:80", "[::]:80", Some(How::Covered("IPv6 and IPv4"))),
            ("[::1]:80", "127.0.0.1:80", None),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", Some(How::Port)),
            ("[::ffff:0.0.0.0]:80", "127.0.0.1:80", Some(How::Covers("IPv4"))),
        ];
        for (one, other, want) in cases {
            assert_eq!(common(place(one, true), place(other, true)), want, "{one} {other}");
        }
        let alone = |one, other| common(place(one, false), place(other, false));
        assert_eq!(alone("[::]:80", "127.0.0.1:80"), None);
        assert_eq!(alone("[::]:80", "0.0.0.0:80"), None);
        assert_eq!(alone("[::]:80", "[::1]:80"), Some(How::Covers("IPv6")));
    }

    #[tokio::test]
    async fn sockets_that_are_open_side_by_side_may_stay_so() {
        let any = |host: &str, port| Seat {
            part: Part::Listener(0),
            option: "--in",
            value: String::new(),
            address: Address::Tcp { host: host.to_owned(), port },
            shared: false,
            open: Vec::new(),
        };
        let six = TcpSocket::new_v6().expect("a socket");
        sockopt::set_ipv6_v6only(&six, true).expect("it can be");
        six.bind("[::]:0".parse().expect("an address")).expect("a port");
        let six = six.listen(1).expect("it listens").into_std().expect("a socket");
        let port = six.local_addr().expect("an address").port();
        let four = std::net::TcpListener::bind(("0.0.0.0", port)).expect("it is free");
        let seats = [any("::", port), any("", port)];
        let socket = |listener: std::net::TcpListener| Socket::new(listener.into()).expect("it listens");
        let given = Given::new(vec![socket(six), socket(four)]);
        assert_eq!(overlaps(&seats, &given).await.len(), 0);
        // This process would open the first for both, unless the system has it otherwise.
        let both = usize::from(Place::new("[::]:1".parse().expect("an address")).dual);
        assert_eq!(overlaps(&seats, &Given::default()).await.len(), both);
    }
}
