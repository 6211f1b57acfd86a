use plimsoll_core::{object::ObjectKey, profile};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(5);

fn target(name: &str, port: u16) -> Target {
    Target {
        source: format!("pod/ns/{name}").into(),
        url: format!("http://10.0.0.1:{port}/metrics").parse().unwrap(),
        subject: profile::Target::Pod(ObjectKey::new("ns", name)),
        ready: true,
    }
}

fn schedule(targets: &[Target], now: Instant) -> Schedule {
    let mut schedule = Schedule::new(INTERVAL, 30 * SECOND);
    assert_eq!(schedule.replace(targets, now), Replaced::default());
    schedule
}

/// Runs the only target to its next time and ends its scrape there; returns the time.
fn scrape(schedule: &mut Schedule, succeeded: bool) -> Instant {
    let due = schedule.next_due().unwrap();
    let target = schedule.take_due(due).unwrap();
    schedule.finished(&target.source, succeeded, due);
    due
}

#[test]
fn every_target_is_due_once_within_the_first_interval() {
    let now = Instant::now();
    let targets: Vec<_> = (0..200).map(|index| target(&format!("p{index}"), 80)).collect();
    let mut schedule = schedule(&targets, now);
    let mut taken = Vec::new();
    while let Some(target) = schedule.take_due(now + INTERVAL / 2) {
        taken.push(target);
    }
    assert!((60..140).contains(&taken.len()), "spread over the interval: {} in the first half", taken.len());
    while let Some(target) = schedule.take_due(now + INTERVAL) {
        taken.push(target);
    }
    assert_eq!(taken.len(), targets.len());
    assert_eq!(schedule.next_due(), None, "all of them run");
}

#[test]
fn a_target_keeps_its_phase_and_a_slow_scrape_skips_what_it_missed() {
    let mut schedule = schedule(&[target("a", 80)], Instant::now());
    let first = scrape(&mut schedule, true);
    assert_eq!(scrape(&mut schedule, true), first + INTERVAL);
    let due = schedule.next_due().unwrap();
    let target = schedule.take_due(due).unwrap();
    schedule.finished(&target.source, true, due + 12 * SECOND);
    assert_eq!(schedule.next_due(), Some(due + 15 * SECOND));
}

#[test]
fn failures_lengthen_the_pause_up_to_the_bound_and_a_success_ends_it() {
    let mut schedule = schedule(&[target("a", 80)], Instant::now());
    let mut last = scrape(&mut schedule, false);
    for expected in [5, 10, 20, 30, 30] {
        let next = scrape(&mut schedule, false);
        assert_eq!(next - last, expected * SECOND);
        last = next;
    }
    for _ in 0..100 {
        scrape(&mut schedule, false);
    }
    let last = scrape(&mut schedule, true);
    assert_eq!(schedule.next_due(), Some(last + INTERVAL));
}

#[test]
fn a_pod_that_becomes_ready_is_due_at_once_whatever_pause_it_was_in() {
    let pending = Target { ready: false, ..target("a", 80) };
    let mut schedule = schedule(std::slice::from_ref(&pending), Instant::now());
    for _ in 0..5 {
        scrape(&mut schedule, false);
    }
    let due = schedule.next_due().unwrap();
    let now = due - 20 * SECOND;
    assert_eq!(schedule.replace(std::slice::from_ref(&pending), now), Replaced::default());
    assert_eq!(schedule.next_due(), Some(due), "nothing has changed");
    schedule.replace(&[Target { ready: true, ..pending }], now);
    assert_eq!(schedule.next_due(), Some(now));
    let last = scrape(&mut schedule, false);
    assert_eq!(schedule.next_due(), Some(last + INTERVAL), "its earlier failures are forgotten");
}

#[test]
fn a_target_that_goes_or_moves_is_told() {
    let now = Instant::now();
    let mut schedule = schedule(&[target("a", 80), target("b", 80), target("c", 80)], now);
    let replaced = schedule.replace(&[target("a", 80), target("b", 81)], now);
    assert_eq!(replaced, Replaced { gone: vec!["pod/ns/c".into()], moved: vec!["pod/ns/b".into()] });
    let left: Vec<_> = std::iter::from_fn(|| schedule.take_due(now + INTERVAL)).map(|target| target.url).collect();
    assert_eq!(left.len(), 2);
    assert!(left.iter().any(|url| url.port() == Some(81)));
    schedule.finished(&"pod/ns/c".into(), true, now);
    assert_eq!(schedule.next_due(), None, "what is gone does not come back");
}
