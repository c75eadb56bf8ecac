//! The fuzz targets of this crate over their committed corpus, and the runner itself.

use std::cell::RefCell;

use testkit::fuzz::{golden_reader, run_corpus};

#[test]
fn golden_reader_corpus() {
    run_corpus("golden_reader", golden_reader);
}

#[test]
fn the_runner_sees_every_file_in_order() {
    let seen = RefCell::new(Vec::new());
    let count = run_corpus("golden_reader", |input| seen.borrow_mut().push(input.to_vec()));
    let seen = seen.into_inner();
    assert_eq!(count, seen.len());
    assert!(seen.contains(&b"httpteleport\x00\x01\x00".to_vec()), "the file hello-only");
}

#[test]
#[should_panic(expected = "fuzz/corpus/no_such_target")]
fn a_target_without_corpus_is_noticed() {
    run_corpus("no_such_target", |_| ());
}

#[test]
#[should_panic(expected = "found")]
fn a_panicking_body_fails_the_test() {
    run_corpus("golden_reader", |_| panic!("found"));
}
