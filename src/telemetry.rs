//! (to be written: telemetry)
