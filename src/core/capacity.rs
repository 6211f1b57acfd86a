//! (to be written: capacity)
