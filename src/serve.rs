//! (to be written: serve)
