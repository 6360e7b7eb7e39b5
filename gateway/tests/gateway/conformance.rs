//! The WebSocket protocol, byte by byte: each row of the tables names its section of RFC 6455, what
//! is sent, and everything that must come back. docs/TESTING.md says what else looks at it.

mod frames;
mod handshakes;
mod rows;
mod wire;
