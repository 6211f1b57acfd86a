//! it

mod api;
