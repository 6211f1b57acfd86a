//! (to be written: source)
