//! The rules of the protocol, one test each, in virtual time.
