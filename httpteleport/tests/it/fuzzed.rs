//! The bodies of the fuzz targets over their committed corpus.

use testkit::fuzz::{http_reply, http_request, run_corpus};

#[test]
fn requests() {
    assert!(run_corpus("http_request", http_request) >= 11);
}

#[test]
fn replies() {
    assert!(run_corpus("http_reply", http_reply) >= 7);
}
