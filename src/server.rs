//! (to be written: server)
