//! HTTP over fastrpc.
