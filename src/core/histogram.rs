//! (to be written: histogram)
