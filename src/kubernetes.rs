//! (to be written: kubernetes)
