//! Scripted peers speak to each other, and notice what is wrong.

use testkit::golden;
use testkit::pipe::duplex;
use testkit::raw::RawPeer;
use testkit::wire::{Compression, Hello, HttpReply, HttpRequest, frame, http, tlv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn client_and_server_exchange_frames_in_any_codings_and_pieces() {
    for said in Compression::ALL {
        for heard in Compression::ALL {
            let (a, b) = duplex();
            a.incoming().read_in_pieces(&[1]);
            b.incoming().read_in_pieces(&[5, 2]);
            let (hello, answer) = (Hello::http(said), Hello::http(heard));
            let (mut client, mut server) = tokio::join!(RawPeer::client(a, &hello), RawPeer::server(b, &answer));

            let request = HttpRequest::new("GET", "/").header("Host", "h");
            let two = [frame(1, &request.bytes()), frame(2, &request.bytes())].concat();
            client.say(&two).await;
            for id in [1, 2] {
                let got = server.frame(http::read_request).await;
                assert_eq!((got.id, got.message), (id, request.clone()));
            }
            let reply = HttpReply::new(200, "OK").body(&[b'x'; 5000]);
            server.say(&frame(2, &reply.bytes())).await;
            server.finish().await;
            let got = client.next_frame(http::read_reply).await.unwrap();
            assert_eq!((got.id, got.message), (2, reply));
            assert!(client.next_frame(http::read_reply).await.is_none());
            client.finish().await;
            server.expect_end().await;
        }
    }
}

#[tokio::test]
async fn a_recording_can_be_played() {
    let transcript = golden::load("tlv_nowait_snappy");
    let (mut a, b) = duplex();
    a.write_all(&transcript.client.raw).await.unwrap();
    let mut server = RawPeer::server(b, &Hello::new(b"tlvgold", 7, Compression::None)).await;
    let mut names = Vec::new();
    for _ in 0..7 {
        let frame = server.frame(tlv::read_request).await;
        names.push((frame.id, String::from_utf8(frame.message.name).unwrap()));
    }
    assert_eq!(names[4], (1, "after".to_owned()));
    let mut hello = [0; 10];
    a.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"tlvgold\x07\x01\x00");
}

#[tokio::test]
#[should_panic(expected = "ended its stream in the value of a frame")]
async fn a_cut_frame_is_noticed() {
    let (a, b) = duplex();
    let (mut a, mut b) = (RawPeer::new(a), RawPeer::new(b));
    a.send(b"\x01\0\0\0\x09\0\0\0short").await;
    a.finish().await;
    b.next_frame(tlv::read_reply).await;
}

#[tokio::test]
#[should_panic(expected = "before the end came: surprise")]
async fn bytes_instead_of_the_end_are_noticed() {
    let (a, b) = duplex();
    let (mut a, mut b) = (RawPeer::new(a), RawPeer::new(b));
    a.send(b"surprise").await;
    drop(a);
    b.expect_end().await;
}
