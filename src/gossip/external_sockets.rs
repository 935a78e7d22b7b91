//! Checks whether a node can run on sockets that its program has bound.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use socket2::{SockRef, Type};

use super::family::Family;
use crate::Error;

/// The longest wait for a connection, a limit that only Linux applies: the end of the node does not shut the listener
/// down, but wakes the waiting thread by a connection.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The address that both sockets are bound to, and their address family. Makes them blocking.
pub(super) fn check(udp: &UdpSocket, tcp: &TcpListener) -> Result<(SocketAddr, Family), Error> {
    let (udp_socket, tcp_socket) = (SockRef::from(udp), SockRef::from(tcp));
    check_kind("first", "UDP", &udp_socket, Type::DGRAM)?;
    check_kind("second", "TCP", &tcp_socket, Type::STREAM)?;
    let bound = udp.local_addr().map_err(|error| asked("UDP", &error))?;
    let listens = tcp.local_addr().map_err(|error| asked("TCP", &error))?;
    if bound.port() == 0 {
        return Err(problem("the UDP socket is not bound; bind it first".into()));
    }
    if let Ok(peer) = udp.peer_addr() {
        return Err(problem(format!(
            "the UDP socket is connected to {peer} and would hear nobody else; do not connect it"
        )));
    }
    check_listening(&tcp_socket)?;
    let families = [family_of("UDP", &udp_socket, bound)?, family_of("TCP", &tcp_socket, listens)?];
    if (bound.ip(), bound.port(), families[0]) != (listens.ip(), listens.port(), families[1]) {
        let [udp_family, tcp_family] = families;
        return Err(problem(format!(
            "UDP is bound to {bound} ({udp_family}), TCP to {listens} ({tcp_family}): others look for both at one \
             address and port; bind them to the same"
        )));
    }
    udp.set_nonblocking(false).map_err(|error| asked("UDP", &error))?;
    tcp.set_nonblocking(false).map_err(|error| asked("TCP", &error))?;
    tcp_socket.set_read_timeout(Some(LONGEST_WAIT)).map_err(|error| asked("TCP", &error))?;
    Ok((bound, families[0]))
}

fn check_kind(which: &str, name: &str, socket: &SockRef<'_>, kind: Type) -> Result<(), Error> {
    match socket.r#type() {
        Ok(found) if found == kind => Ok(()),
        Ok(_) => Err(problem(format!(
            "the {which} is no {name} socket; hand over the UDP socket, then the TCP listener"
        ))),
        Err(error) => Err(asked(name, &error)),
    }
}

#[cfg(any(target_os = "android", target_os = "freebsd", target_os = "fuchsia", target_os = "linux"))]
fn check_listening(tcp: &SockRef<'_>) -> Result<(), Error> {
    match tcp.is_listener() {
        Ok(true) => Ok(()),
        Ok(false) => Err(problem("the TCP socket does not listen; call listen on it first".into())),
        Err(error) => Err(asked("TCP", &error)),
    }
}

/// Other systems do not report whether a socket listens; there, one that does not fails when streams are to be
/// accepted.
#[cfg(not(any(target_os = "android", target_os = "freebsd", target_os = "fuchsia", target_os = "linux")))]
fn check_listening(_: &SockRef<'_>) -> Result<(), Error> {
    Ok(())
}

fn family_of(name: &str, socket: &SockRef<'_>, bound: SocketAddr) -> Result<Family, Error> {
    let only_v6 = bound.is_ipv6() && socket.only_v6().map_err(|error| asked(name, &error))?;
    Ok(Family::of_socket(bound.ip(), only_v6))
}

/// The error for a system call that failed on a socket: the socket is not of the required kind.
fn asked(name: &str, error: &io::Error) -> Error {
    problem(format!(
        "the {name} socket does not answer ({error}); hand over one that is open, over IPv4 or IPv6"
    ))
}

fn problem(problem: String) -> Error {
    Error::invalid("sockets", format!("cannot be used: {problem}"))
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket};

    use super::*;

    fn udp(addr: &str) -> UdpSocket {
        UdpSocket::bind(addr).unwrap()
    }

    fn tcp(addr: &str) -> TcpListener {
        TcpListener::bind(addr).unwrap()
    }

    fn said(udp: &UdpSocket, tcp: &TcpListener) -> String {
        check(udp, tcp).unwrap_err().to_string()
    }

    /// Both sockets on one port.
    fn pair(ip: &str) -> (UdpSocket, TcpListener) {
        let mut tries = (0..100).map(|_| tcp(&format!("{ip}:0")));
        tries.find_map(|tcp| Some((UdpSocket::bind(tcp.local_addr().unwrap()).ok()?, tcp))).unwrap()
    }

    #[test]
    fn a_pair_on_one_port_is_taken_and_made_to_wait() {
        let (udp, tcp) = pair("127.0.0.1");
        udp.set_nonblocking(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
        SockRef::from(&tcp).set_read_timeout(Some(std::time::Duration::from_millis(1))).unwrap();
        assert_eq!(check(&udp, &tcp).unwrap(), (udp.local_addr().unwrap(), Family::V4));
        #[cfg(unix)]
        assert!(!SockRef::from(&udp).nonblocking().unwrap() && !SockRef::from(&tcp).nonblocking().unwrap());
        assert_eq!(SockRef::from(&tcp).read_timeout().unwrap(), Some(LONGEST_WAIT));
    }

    #[test]
    fn sockets_that_cannot_work_are_refused_with_a_remedy() {
        let (bound, listens) = pair("127.0.0.1");
        let other = tcp("127.0.0.1:0");
        let problem = said(&bound, &other);
        assert!(
            problem.contains("`sockets` cannot be used: UDP is bound to")
                && problem.contains("bind them to the same"),
            "{problem}"
        );
        bound.connect("127.0.0.1:9").unwrap();
        assert!(said(&bound, &listens).contains("do not connect it"));
        let unbound: UdpSocket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap().into();
        assert!(said(&unbound, &listens).contains("UDP socket is not bound"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn sockets_of_another_kind_are_refused() {
        use std::os::fd::OwnedFd;

        let (bound, listens) = pair("127.0.0.1");
        let swapped = (UdpSocket::from(OwnedFd::from(listens)), TcpListener::from(OwnedFd::from(bound)));
        assert!(said(&swapped.0, &swapped.1).contains("the UDP socket, then the TCP listener"));

        let udp = udp("127.0.0.1:0");
        let idle = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        idle.bind(&udp.local_addr().unwrap().into()).unwrap();
        assert!(said(&udp, &idle.into()).contains("call listen"));

        let (one, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let local = UdpSocket::from(OwnedFd::from(one));
        assert!(said(&local, &tcp("127.0.0.1:0")).contains("over IPv4 or IPv6"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_for_ipv6_alone_is_no_dual_stack_one() {
        let bind = |kind, only_v6, port| {
            let socket = Socket::new(Domain::IPV6, kind, None).unwrap();
            socket.set_only_v6(only_v6).unwrap();
            socket.bind(&SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)).into()).ok()?;
            if kind == Type::STREAM {
                socket.listen(1).unwrap();
            }
            Some(socket)
        };
        for (udp_only, tcp_only, family) in
            [(true, true, Some(Family::V6)), (false, false, Some(Family::Both)), (true, false, None)]
        {
            let (udp, tcp) = (0..100)
                .find_map(|_| {
                    let udp: UdpSocket = bind(Type::DGRAM, udp_only, 0)?.into();
                    let tcp = bind(Type::STREAM, tcp_only, udp.local_addr().ok()?.port())?;
                    Some((udp, tcp.into()))
                })
                .unwrap();
            match family {
                Some(family) => assert_eq!(check(&udp, &tcp).unwrap().1, family),
                None => assert!(said(&udp, &tcp).contains("(IPv6 alone)")),
            }
        }
    }
}
