//! The allocator against what the scheduler's own does.

use super::{super::request::Request, *};

/// A device in sets, with values of an attribute for each constraint.
fn device(sets: u64, values: &[&str]) -> Candidate {
    let value = |value: &&str| if value.is_empty() { Attribute::Absent } else { Attribute::Is((*value).to_owned()) };
    Candidate { sets, taken: false, values: values.iter().map(value).collect() }
}

fn choice(name: &str, set: usize, amount: Amount<Option<usize>>) -> Choice<Option<usize>> {
    Choice { name: name.to_owned(), devices: Some(set), amount }
}

fn request(name: &str, set: usize, count: usize) -> Request<Option<usize>> {
    Request { name: name.to_owned(), choices: vec![choice("", set, Amount::Exactly(count))], is_list: false }
}

fn list(name: &str, choices: Vec<Choice<Option<usize>>>) -> Request<Option<usize>> {
    Request { name: name.to_owned(), choices, is_list: true }
}

fn claim(requests: Vec<Request<Option<usize>>>) -> Claim<Option<usize>> {
    Claim { requests, constraints: Vec::new() }
}

fn constrained(requests: Vec<Request<Option<usize>>>, distinct: bool, about: &[&str]) -> Claim<Option<usize>> {
    let requests_of = about.iter().map(|name| (*name).to_owned()).collect();
    let constraint = Constraint { requests: requests_of, attribute: "a/b".to_owned(), distinct };
    Claim { requests, constraints: vec![constraint] }
}

fn pods(ask: &[Claim<Option<usize>>], devices: &[Candidate]) -> Result<u32, Aborted> {
    count(ask, devices, 10)
}

#[test]
fn the_first_devices_are_taken_although_others_would_leave_more() {
    // Both kinds of device do for the first request, only the first kind for the second.
    let devices = [device(0b11, &[]), device(0b11, &[]), device(0b01, &[]), device(0b01, &[])];
    assert_eq!(pods(&[claim(vec![request("any", 0, 1), request("good", 1, 1)])], &devices), Ok(1));
    let last = [device(0b01, &[]), device(0b01, &[]), device(0b11, &[]), device(0b11, &[])];
    assert_eq!(pods(&[claim(vec![request("any", 0, 1), request("good", 1, 1)])], &last), Ok(2));
}

#[test]
fn a_claim_gives_way_to_the_next_one_of_the_pod() {
    let devices = [device(0b11, &[]), device(0b01, &[])];
    let ask = [claim(vec![request("any", 0, 1)]), claim(vec![request("good", 1, 1)])];
    assert_eq!(pods(&ask, &devices), Ok(1));
}

#[test]
fn alternatives_are_tried_in_their_order() {
    let devices = [device(0b01, &[]), device(0b10, &[]), device(0b10, &[]), device(0b10, &[])];
    let best = choice("best", 0, Amount::Exactly(1));
    let ask = [claim(vec![list("r", vec![best, choice("two", 1, Amount::Exactly(2))])])];
    assert_eq!(pods(&ask, &devices), Ok(2));
}

#[test]
fn all_devices_of_a_node_are_had_once_and_only_if_all_are_free() {
    let mut devices = [device(0b11, &[]), device(0b11, &[]), device(0b10, &[])];
    let all = || choice("", 0, Amount::All(Some(0)));
    let ask = [claim(vec![Request { name: "r".to_owned(), choices: vec![all()], is_list: false }])];
    assert_eq!(pods(&ask, &devices), Ok(1));
    devices[1].taken = true;
    assert_eq!(pods(&ask, &devices), Ok(0));
    // A tainted one is among all, but not among those that can be had.
    let tainted = [device(0b11, &[]), device(0b10, &[])];
    let choices = vec![choice("", 0, Amount::All(Some(1)))];
    let ask = [claim(vec![Request { name: "r".to_owned(), choices, is_list: false }])];
    assert_eq!(pods(&ask, &tainted), Ok(0));
    assert_eq!(pods(&ask, &[]), Ok(0));
}

#[test]
fn devices_that_must_match_are_of_one_value() {
    let devices = ["n0", "n1", "n0", "n1", "n1", ""].map(|value| device(1, &[value]));
    assert_eq!(pods(&[constrained(vec![request("r", 0, 2)], false, &[])], &devices), Ok(2));
    assert_eq!(pods(&[constrained(vec![request("r", 0, 3)], false, &[])], &devices), Ok(1));
    assert_eq!(pods(&[constrained(vec![request("r", 0, 4)], false, &[])], &devices), Ok(0));
    let both = || vec![request("r", 0, 1), request("s", 0, 1)];
    assert_eq!(pods(&[constrained(both(), false, &["r"])], &devices), Ok(3));
}

#[test]
fn devices_that_must_differ_are_of_several_values() {
    let devices = ["n0", "n0", "n1", "n1"].map(|value| device(1, &[value]));
    let both = || vec![request("r", 0, 1), request("s", 0, 1)];
    assert_eq!(pods(&[constrained(both(), true, &[])], &devices), Ok(2));
    assert_eq!(pods(&[constrained(both(), true, &[])], &devices[..2]), Ok(0));
}

#[test]
fn what_the_scheduler_gives_up_on_is_not_counted() {
    let choices = vec![choice("", 0, Amount::All(Some(0)))];
    let all = vec![Request { name: "r".to_owned(), choices, is_list: false }];
    let unlike = ["n0", "n1"].map(|value| device(1, &[value]));
    assert_eq!(pods(&[constrained(all.clone(), false, &[])], &unlike), Err(Aborted));
    assert_eq!(pods(&[claim(all)], &vec![device(1, &[]); 33]), Err(Aborted));
    let odd = [Candidate { values: vec![Attribute::Odd], ..device(1, &[]) }];
    assert_eq!(pods(&[constrained(vec![request("r", 0, 1)], false, &[])], &odd), Err(Aborted));
    // Too many combinations of devices that can never be completed.
    let many: Vec<_> = (0..30).map(|index| device(1, &[if index == 29 { "n1" } else { "n0" }])).collect();
    assert_eq!(pods(&[constrained(vec![request("r", 0, 30)], false, &[])], &many), Err(Aborted));
}
