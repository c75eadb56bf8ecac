//! Fuzz target `hello`: the opening exchange over any bytes.

use fastrpc::Protocol;
use fastrpc::wire::hello::Hello;

use crate::wire;

/// Reads `input` as a hello, whole and in every shorter piece. The pieces must not be judged otherwise than the whole,
/// and the second reader must agree.
///
/// # Panics
///
/// A fault was found.
pub fn hello(input: &[u8]) {
    let protocol = Protocol::new("httpteleport", 0).expect("twelve bytes are a sniff header");
    let whole = Hello::decode(&protocol, input);
    for len in 0..input.len().min(protocol.hello_len()) {
        match Hello::decode(&protocol, &input[..len]) {
            Ok(None) => {}
            Ok(Some(_)) => panic!("a hello of {len} bytes is whole"),
            Err(_) => assert!(whole.is_err(), "{len} bytes are wrong, and more make them right"),
        }
    }
    let second = wire::Hello::read(b"httpteleport", input);
    match whole {
        Ok(Some(hello)) => {
            let (second, _) = second.expect("the second reader agrees");
            assert_eq!((second.version, second.compression, second.tls), (0, hello.compression, hello.tls));
            let mut written = Vec::new();
            hello.encode(&protocol, &mut written);
            assert!(input.starts_with(&written));
        }
        Ok(None) => assert!(matches!(second, Err(wire::Error::Incomplete(_)))),
        Err(_) => assert!(!matches!(second, Ok((hello, _)) if hello.version == 0)),
    }
}
