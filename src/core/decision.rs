//! (to be written: decision)
