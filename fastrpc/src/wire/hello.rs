//! The opening exchange.
