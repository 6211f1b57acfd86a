//! (to be written: api)
