//! Compression of one direction.
