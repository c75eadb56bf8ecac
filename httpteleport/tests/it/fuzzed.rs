//! The bodies of the fuzz targets over their committed corpus.

use testkit::fuzz::{framed_heads, http_reply, http_request, run_corpus};

#[test]
fn requests() {
    assert!(run_corpus("http_request", http_request) >= 11);
}

#[test]
fn replies() {
    assert!(run_corpus("http_reply", http_reply) >= 7);
}

#[test]
fn heads() {
    assert!(run_corpus("framed_heads", framed_heads) >= 16);
}
