//! The committed corpus of every fuzz target of this crate, and the pending table over random operations.

use proptest::prelude::*;
use testkit::fuzz;

use crate::seeded;

#[test]
fn the_corpus_is_clean() {
    assert!(fuzz::run_corpus("hello", fuzz::hello) >= 6);
    assert!(fuzz::run_corpus("flate", fuzz::flate) >= 5);
    assert!(fuzz::run_corpus("snappy", fuzz::snappy) >= 6);
    assert!(fuzz::run_corpus("frames_server", fuzz::frames_server) >= 6);
    assert!(fuzz::run_corpus("frames_client", fuzz::frames_client) >= 5);
    assert!(fuzz::run_corpus("pending", fuzz::pending) >= 6);
    assert!(fuzz::run_corpus("records", fuzz::records) >= 12);
    assert!(fuzz::run_corpus("streams", fuzz::streams) >= 6);
    assert!(fuzz::run_corpus("session_server", fuzz::session_server) >= 6);
    assert!(fuzz::run_corpus("session_damage", fuzz::session_damage) >= 5);
}

proptest! {
    #![proptest_config(seeded(400))]

    /// Few calls and small arguments: the same ones are met again and again.
    #[test]
    fn the_pending_table_agrees_with_its_model(operations in prop::collection::vec((0..16u8, 0..6u8), 0..200)) {
        let bytes: Vec<u8> = operations.into_iter().flat_map(|(operation, argument)| [operation, argument]).collect();
        fuzz::pending(&bytes);
    }
}

proptest! {
    #![proptest_config(seeded(20))]

    #[test]
    fn the_pending_table_agrees_with_its_model_on_many_calls(operations in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::pending(&operations);
    }
}

proptest! {
    #![proptest_config(seeded(50))]

    #[test]
    fn connections_stand_any_bytes(input in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::frames_server(&input);
        fuzz::frames_client(&input);
        fuzz::hello(&input);
    }
}

proptest! {
    #![proptest_config(seeded(300))]

    /// Few calls: the same ones are met again and again.
    #[test]
    fn the_ends_of_a_framed_connection_agree(operations in prop::collection::vec((0..20u8, any::<u8>()), 0..300)) {
        let bytes: Vec<u8> = operations.into_iter().flat_map(|(operation, argument)| [operation, argument]).collect();
        fuzz::streams(&bytes);
    }
}

proptest! {
    #![proptest_config(seeded(100))]

    #[test]
    fn framed_connections_stand_any_bytes(input in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::session_server(&input);
        fuzz::session_damage(&input);
    }
}
