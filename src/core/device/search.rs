//! How many pods find their devices on a node: the allocator of the scheduler, device by device.
//!
//! `allocateOne` in `k8s.io/dynamic-resource-allocation` v0.36.3
//! `structured/internal/incubating/allocator_incubating.go`, for whole devices: the first solution in the order of
//! requests and devices is taken, after an exhaustive search. What one pod takes is gone for the next.

use super::request::{Amount, Choice, Claim, Constraint, MAX_OF_CLAIM};

/// Most steps of the search for one pod. The scheduler gives up on a node after ten seconds.
const MAX_STEPS: u32 = 10_000;

/// A device of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    /// Bit n: it is in set n.
    pub(crate) sets: u64,
    pub(crate) taken: bool,
    /// Its values of the attributes that the constraints are about, constraint by constraint.
    pub(crate) values: Vec<Attribute>,
}

/// A value that constraints compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Attribute {
    /// The device has none of it.
    Absent,
    /// The value, its type included.
    Is(String),
    /// Of a type that is not understood.
    Odd,
}

/// What a pod asks for, by the sets that meet it; none where no device does.
pub(crate) type Ask = [Claim<Option<usize>>];

/// Nothing can be said, or the scheduler gives up on the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted;

/// Why a branch of the search ends.
enum Stop {
    /// The claim would have too many devices.
    TooMany,
    Aborted,
}

/// Where the search is.
#[derive(Clone, Copy, Default)]
struct At {
    claim: usize,
    request: usize,
    choice: usize,
    /// Whether one choice of a list is being tried.
    chosen: bool,
    /// Devices that the request has.
    count: usize,
}

/// What a constraint has seen of the devices that are taken.
#[derive(Clone, Default)]
struct Seen {
    count: usize,
    /// The first value; or the last of each request where values must differ.
    values: Vec<(String, String)>,
}

struct Search<'a> {
    ask: &'a Ask,
    devices: &'a [Candidate],
    taken: Vec<bool>,
    /// Devices of each claim.
    counts: Vec<usize>,
    /// By claim and constraint.
    seen: Vec<Vec<Seen>>,
    steps: u32,
}

/// How many pods find their devices, one after the other, up to `most`.
pub(crate) fn count(ask: &Ask, devices: &[Candidate], most: u32) -> Result<u32, Aborted> {
    let mut taken: Vec<bool> = devices.iter().map(|device| device.taken).collect();
    for count in 0..most {
        let mut search = Search {
            ask,
            devices,
            counts: vec![0; ask.len()],
            seen: ask.iter().map(|claim| vec![Seen::default(); claim.constraints.len()]).collect(),
            steps: 0,
            taken,
        };
        search.check()?;
        match search.one(At::default(), 0) {
            Ok(true) => taken = search.taken,
            Ok(false) => return Ok(count),
            Err(Stop::TooMany | Stop::Aborted) => return Err(Aborted),
        }
    }
    Ok(most)
}

// === impl Search ===

impl Search<'_> {
    /// A claim that asks for too many devices at best is an error.
    fn check(&self) -> Result<(), Aborted> {
        let least = |claim: &Claim<Option<usize>>| {
            let requests = claim.requests.iter();
            let least = requests.map(|it| it.choices.iter().map(|choice| self.wanted(choice)).min().unwrap_or(0));
            least.fold(0, usize::saturating_add)
        };
        if self.ask.iter().any(|claim| least(claim) > MAX_OF_CLAIM) { Err(Aborted) } else { Ok(()) }
    }

    fn is_in(&self, device: usize, set: Option<usize>) -> bool {
        set.is_some_and(|set| self.devices.get(device).is_some_and(|device| device.sets >> set & 1 == 1))
    }

    fn all(&self, set: Option<usize>) -> impl Iterator<Item = usize> {
        (0..self.devices.len()).filter(move |device| self.is_in(*device, set))
    }

    fn wanted(&self, choice: &Choice<Option<usize>>) -> usize {
        match choice.amount {
            Amount::Exactly(count) => count,
            Amount::All(set) => self.all(set).count(),
        }
    }

    /// Finds one device more and all that follow; `start` is the first that a further device of the request may be.
    fn one(&mut self, at: At, start: usize) -> Result<bool, Stop> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Stop::Aborted);
        }
        let ask = self.ask;
        let Some(claim) = ask.get(at.claim) else { return Ok(true) };
        let Some(request) = claim.requests.get(at.request) else {
            return match self.one(At { claim: at.claim + 1, ..At::default() }, 0) {
                Err(Stop::TooMany) => Ok(false),
                other => other,
            };
        };
        if request.is_list && !at.chosen {
            return self.any(at, request.choices.len());
        }
        let Some(choice) = request.choices.get(at.choice) else { return Ok(false) };
        let wanted = self.wanted(choice);
        if wanted == 0 {
            return Ok(false);
        }
        if at.count >= wanted {
            return self.one(At { claim: at.claim, request: at.request + 1, ..At::default() }, 0);
        }
        if self.counts.get(at.claim).copied().unwrap_or(0) + wanted - at.count > MAX_OF_CLAIM {
            return Err(Stop::TooMany);
        }
        match choice.amount {
            Amount::All(set) => {
                let Some(device) = self.all(set).nth(at.count) else { return Ok(false) };
                self.with(at, device, choice, true)
            }
            Amount::Exactly(_) => {
                for device in start..self.devices.len() {
                    if self.with(at, device, choice, false)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// The first alternative that leads to a solution.
    fn any(&mut self, at: At, choices: usize) -> Result<bool, Stop> {
        let mut all_too_many = true;
        for choice in 0..choices {
            match self.one(At { choice, chosen: true, ..at }, 0) {
                Err(Stop::TooMany) => {}
                Ok(false) => all_too_many = false,
                other => return other,
            }
        }
        if all_too_many { Err(Stop::TooMany) } else { Ok(false) }
    }

    /// Goes on with a device, and gives it back if that leads nowhere. It is an error that constraints forbid one which
    /// `must` be taken.
    fn with(&mut self, at: At, device: usize, choice: &Choice<Option<usize>>, must: bool) -> Result<bool, Stop> {
        if self.taken.get(device) != Some(&false) || !self.is_in(device, choice.devices) {
            return Ok(false);
        }
        if !self.agrees(at, device, choice)? {
            return if must { Err(Stop::Aborted) } else { Ok(false) };
        }
        self.mark(at.claim, device, true);
        let found = self.one(At { count: at.count + 1, ..at }, device + 1);
        if !matches!(found, Ok(true)) {
            self.mark(at.claim, device, false);
            self.forget(at, choice, usize::MAX);
        }
        found
    }

    fn mark(&mut self, claim: usize, device: usize, taken: bool) {
        if let Some(mark) = self.taken.get_mut(device) {
            *mark = taken;
        }
        if let Some(count) = self.counts.get_mut(claim) {
            *count = if taken { *count + 1 } else { count.saturating_sub(1) };
        }
    }

    /// Whether all constraints let the device be added; they take note of it.
    fn agrees(&mut self, at: At, device: usize, choice: &Choice<Option<usize>>) -> Result<bool, Stop> {
        let ask = self.ask;
        let (Some(claim), Some(seen)) = (ask.get(at.claim), self.seen.get_mut(at.claim)) else { return Ok(true) };
        let Some(request) = claim.requests.get(at.request) else { return Ok(true) };
        let first = ask.iter().take(at.claim).map(|claim| claim.constraints.len()).sum::<usize>();
        for (index, constraint) in claim.constraints.iter().enumerate() {
            if !constraint.concerns(&request.name, &choice.name) {
                continue;
            }
            let value = self.devices.get(device).and_then(|device| device.values.get(first + index));
            let admitted = match (value, seen.get_mut(index)) {
                (Some(Attribute::Is(value)), Some(seen)) => seen.admit(constraint, &request.name, value),
                (Some(Attribute::Odd), _) => return Err(Stop::Aborted),
                _ => false,
            };
            if !admitted {
                self.forget(at, choice, index);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets the first constraints forget a device again.
    fn forget(&mut self, at: At, choice: &Choice<Option<usize>>, constraints: usize) {
        let ask = self.ask;
        let (Some(claim), Some(seen)) = (ask.get(at.claim), self.seen.get_mut(at.claim)) else { return };
        let Some(request) = claim.requests.get(at.request) else { return };
        for (constraint, seen) in claim.constraints.iter().zip(seen).take(constraints) {
            if constraint.concerns(&request.name, &choice.name) {
                seen.remove(constraint, &request.name);
            }
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Values that must differ are kept by request, one of each: of two devices of one request the scheduler compares
    /// with the last alone.
    fn admit(&mut self, constraint: &Constraint, request: &str, value: &str) -> bool {
        let equal = |(_, known): &(String, String)| known == value;
        if self.count > 0 && constraint.distinct == self.values.iter().any(equal) {
            return false;
        }
        self.count += 1;
        if !constraint.distinct && self.count == 1 {
            self.values.clear();
        }
        if constraint.distinct {
            self.values.retain(|(name, _)| name != request);
        }
        if constraint.distinct || self.values.is_empty() {
            self.values.push((request.to_owned(), value.to_owned()));
        }
        true
    }

    fn remove(&mut self, constraint: &Constraint, request: &str) {
        self.count = self.count.saturating_sub(1);
        if constraint.distinct {
            self.values.retain(|(name, _)| name != request);
        }
    }
}

#[cfg(test)]
mod tests;
