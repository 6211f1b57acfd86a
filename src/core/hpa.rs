//! (to be written: hpa)
