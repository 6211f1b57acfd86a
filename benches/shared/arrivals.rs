//! When the calls of a steady load are due.
#![allow(unreachable_pub, reason = "part of several benches")]

use std::time::Duration;

use tokio::time::Instant;

/// The moments at which calls are due, each told when it has come. By a thread of its own: the runtime's timers are a
/// millisecond coarse, which is what is to be measured.
pub fn arrivals(rate: u32, seconds: u32) -> tokio::sync::mpsc::UnboundedReceiver<Instant> {
    let (sender, arrivals) = tokio::sync::mpsc::unbounded_channel();
    let start = Instant::now() + Duration::from_millis(50);
    std::thread::spawn(move || {
        for index in 0..rate * seconds {
            let due = start + Duration::from_secs(1) * index / rate;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send(due).is_err() {
                return;
            }
        }
    });
    arrivals
}
