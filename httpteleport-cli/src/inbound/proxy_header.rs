//! The header that a load balancer puts before everything else on a connection: the PROXY protocol of haproxy, versions 1 and 2.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2: the signature, version and command, family, and the length of the rest.
const FIXED: usize = 16;
/// Version 2: most bytes of the rest. Addresses take 36; what else there may be is read and not looked at.
const MOST: usize = 2048;
/// Version 1: its longest line.
const LINE: usize = 107;

/// Both ends of the connection that the load balancer has accepted; `None` where it speaks for itself, as for a look at whether this
/// proxy lives.
pub(super) type Ends = Option<(SocketAddr, SocketAddr)>;

/// Reads the header, and nothing of what follows it. Not cancel safe.
///
/// # Errors
///
/// What is there is no header, in a few words.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Ends, String> {
    let mut header = vec![0; SIGNATURE.len()];
    let ended = |_| "it ended inside of its PROXY header".to_owned();
    stream.read_exact(&mut header).await.map_err(ended)?;
    if header == SIGNATURE {
        header.resize(FIXED, 0);
        stream.read_exact(&mut header[SIGNATURE.len()..]).await.map_err(ended)?;
        let rest = usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
        if rest > MOST {
            return Err(format!("its PROXY header has {rest} bytes, more than {MOST}"));
        }
        header.resize(FIXED + rest, 0);
        stream.read_exact(&mut header[FIXED..]).await.map_err(ended)?;
    } else if header.starts_with(b"PROXY ") {
        // A line has no length that could be told before: byte by byte, so that nothing is read that follows it.
        while !header.ends_with(b"\r\n") {
            if header.len() == LINE {
                return Err(format!("its PROXY header is longer than {LINE} bytes"));
            }
            header.push(stream.read_u8().await.map_err(ended)?);
        }
    } else {
        return Err("it begins without a PROXY header".to_owned());
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) =
        ProxyHeader::parse(&header, config).map_err(|error| format!("its PROXY header is not valid: {error}"))?;
    if length != header.len() {
        return Err("its PROXY header is not valid: it is longer than it says".to_owned());
    }
    Ok(parsed.proxied_address().map(|ends| (ends.source, ends.destination)))
}

#[cfg(test)]
mod tests {
    use proxy_header::ProxiedAddress;

    use super::*;

    fn ends(source: &str, destination: &str) -> (SocketAddr, SocketAddr) {
        (source.parse().expect("an address"), destination.parse().expect("an address"))
    }

    fn headers(source: &str, destination: &str) -> [Vec<u8>; 2] {
        let (source, destination) = ends(source, destination);
        let header = ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        header.encode_v1(&mut one).expect("room");
        header.encode_v2(&mut two).expect("room");
        [one, two]
    }

    #[tokio::test]
    async fn reads_either_version_and_not_a_byte_more() {
        for (source, destination) in [("1.2.3.4:5", "6.7.8.9:80"), ("[2001:db8::1]:5", "[::1]:443")] {
            for header in headers(source, destination) {
                let whole = [&header[..], b"GET /"].concat();
                let mut rest = &whole[..];
                assert_eq!(read(&mut rest).await, Ok(Some(ends(source, destination))), "{header:?}");
                assert_eq!(rest, b"GET /");
                for cut in 0..header.len() {
                    assert!(read(&mut &header[..cut]).await.is_err(), "{cut} bytes of {header:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn who_speaks_for_itself_names_nobody() {
        let mut local = Vec::new();
        ProxyHeader::with_local().encode_v2(&mut local).expect("room");
        assert_eq!(read(&mut &local[..]).await, Ok(None));
        assert_eq!(read(&mut &b"PROXY UNKNOWN\r\n"[..]).await, Ok(None));
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let large = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        let odd = [&SIGNATURE[..], &[0x31, 0x11, 0, 0]].concat();
        let cases: [(&[u8], &str); 6] = [
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "begins without"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 5\r\n", "not valid"),
            (b"PROXY TCP4 1.2.3 5.6.7.8 5 6\r\n", "not valid"),
            (&long, "longer than 107"),
            (&large, "65535 bytes, more than 2048"),
            (&odd, "not valid"),
        ];
        for (sent, want) in cases {
            let error = read(&mut &sent[..]).await.expect_err(want);
            assert!(error.contains(want), "{error}");
        }
    }
}
