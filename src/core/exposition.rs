//! (to be written: exposition)
