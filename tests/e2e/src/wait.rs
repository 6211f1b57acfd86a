//! Waiting on conditions, under a deadline. The only sleeping in this crate is the pause between two looks.

use std::{fmt::Debug, future::Future, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Between two looks: short beside the 2 s of an HPA period, long beside a request.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until `look` returns a value; a deadline names what was waited for and the last obstacle.
///
/// `look` returns `Ok(Ok(value))` when the condition holds, `Ok(Err(state))` with what it saw instead, and
/// `Err` when looking failed (which is tried again, since servers are starting).
pub async fn until<T, S, F, W>(what: &str, within: Duration, mut look: F) -> Result<T>
where
    S: Debug,
    F: FnMut() -> W,
    W: Future<Output = Result<Result<T, S>>>,
{
    let deadline = Instant::now() + within;
    loop {
        let obstacle = match look().await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(state)) => format!("{state:?}"),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("waited {within:?} for {what}; last seen: {obstacle}");
        }
        sleep(PAUSE).await;
    }
}

/// Holds when `condition` stays true for the whole of `period`; the first breach ends it with what was seen.
///
/// This is the one place where time itself is the subject: "nothing grows" can only be seen by watching.
pub async fn stays<S, F>(what: &str, period: Duration, mut look: F) -> Result<()>
where
    S: Debug,
    F: FnMut() -> Result<(), S>,
{
    let end = Instant::now() + period;
    while Instant::now() < end {
        if let Err(state) = look() {
            bail!("{what} did not hold: {state:?}");
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
