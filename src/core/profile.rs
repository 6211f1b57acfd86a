//! (to be written: profile)
