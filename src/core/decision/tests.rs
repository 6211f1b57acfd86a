//! Whole evaluations and the answers that follow from them.

mod accident;
mod answers;
mod booked;
mod groups;
mod headroom;
mod learnt;
mod owners;
mod plugins;
mod properties;
mod queue;
mod registration;
mod scene;
mod sharing;
mod triggers;
mod trust;
