//! Integration tests: one binary, one module an edge.

mod kubernetes;
