//! (to be written: clamp)
