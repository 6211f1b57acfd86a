//! e2e

pub mod hpa_cases;
