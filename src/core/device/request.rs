//! What a pod asks for of devices, claim by claim, as far as it is understood.

use serde_json::Value;

use super::{Signature, pool::said};
use crate::object::device::{DeviceClaim, DeviceConstraint, DeviceRequest, ExactDeviceRequest};

/// Most devices of a claim (`AllocationResultsMaxSize` in `k8s.io/api` v0.36.3 `resource/v1/types.go`).
pub(crate) const MAX_OF_CLAIM: usize = 32;

/// One claim. `D` says which devices: a [`Signature`], or what was found for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Claim<D> {
    /// Requests, all of which must be met.
    pub(crate) requests: Vec<Request<D>>,
    /// Constraints between the devices.
    pub(crate) constraints: Vec<Constraint>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request<D> {
    pub(crate) name: String,
    /// The best first; one, unless `is_list`.
    pub(crate) choices: Vec<Choice<D>>,
    /// Whether it is a list of alternatives.
    pub(crate) is_list: bool,
}

/// One way to meet a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Choice<D> {
    /// Empty, unless there is a list.
    pub(crate) name: String,
    /// Devices that meet it.
    pub(crate) devices: D,
    pub(crate) amount: Amount<D>,
}

/// How many devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Amount<D> {
    /// So many.
    Exactly(usize),
    /// All of the node: these, whether or not a taint or another claim keeps them.
    All(D),
}

/// A constraint between devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constraint {
    /// Requests, or alternatives as `request/alternative`, that it is about; all if there are none.
    pub(crate) requests: Vec<String>,
    /// Qualified name.
    pub(crate) attribute: String,
    /// Whether the values must all differ; else they must all be the same.
    pub(crate) distinct: bool,
}

// === impl Claim ===

impl Claim<Signature> {
    /// Reads a claim; an error says what is not understood.
    pub(crate) fn of(claim: &DeviceClaim) -> Result<Self, String> {
        if let Some(field) = said(&claim.beyond).next() {
            return Err(format!("has {field}, which is not understood"));
        }
        let requests: Result<_, _> = claim.requests.iter().map(Request::of).collect();
        let constraints: Result<_, _> = claim.constraints.iter().map(Constraint::of).collect();
        let claim = Self { requests: requests?, constraints: constraints? };
        if claim.requests.iter().map(Request::least).fold(0, usize::saturating_add) > MAX_OF_CLAIM {
            return Err(format!("asks for more than {MAX_OF_CLAIM} devices"));
        }
        Ok(claim)
    }

    /// Everything that is asked of single devices.
    pub(crate) fn signatures(&self) -> impl Iterator<Item = &Signature> {
        self.requests.iter().flat_map(|request| &request.choices).flat_map(|choice| {
            let all = match &choice.amount {
                Amount::All(all) => Some(all),
                Amount::Exactly(_) => None,
            };
            std::iter::once(&choice.devices).chain(all)
        })
    }
}

impl<D> Claim<D> {
    /// The devices of each request, where nothing but their number has to be looked at.
    pub(crate) fn counted(&self) -> Option<impl Iterator<Item = (&D, usize)>> {
        let plain = self.constraints.is_empty() && self.requests.iter().all(|request| request.exactly().is_some());
        plain.then(|| self.requests.iter().filter_map(Request::exactly))
    }

    /// The same claim with other words for which devices.
    pub(crate) fn map<E>(&self, found: &impl Fn(&D) -> E) -> Claim<E> {
        let choice = |choice: &Choice<D>| Choice {
            name: choice.name.clone(),
            devices: found(&choice.devices),
            amount: match &choice.amount {
                Amount::Exactly(count) => Amount::Exactly(*count),
                Amount::All(all) => Amount::All(found(all)),
            },
        };
        let requests = self.requests.iter().map(|request| Request {
            name: request.name.clone(),
            choices: request.choices.iter().map(choice).collect(),
            is_list: request.is_list,
        });
        Claim { requests: requests.collect(), constraints: self.constraints.clone() }
    }
}

// === impl Request ===

impl Request<Signature> {
    /// So many devices.
    pub(crate) fn exact(name: &str, devices: Signature, count: usize) -> Self {
        let choice = Choice { name: String::new(), devices, amount: Amount::Exactly(count) };
        Self { name: name.to_owned(), choices: vec![choice], is_list: false }
    }

    fn of(request: &DeviceRequest) -> Result<Self, String> {
        let name = request.name.clone();
        if let Some(field) = said(&request.beyond).next() {
            return Err(format!("{field} of request {name:?} is not understood"));
        }
        let is_list = !request.first_available.is_empty();
        let choices = match &request.exactly {
            Some(exactly) if !is_list => vec![choice("", exactly)],
            None if is_list => {
                request.first_available.iter().map(|choice| self::choice(&choice.name, &choice.exactly)).collect()
            }
            _ => return Err(format!("request {name:?} is of a kind that is not understood")),
        };
        let choices: Result<_, _> = choices.into_iter().collect();
        Ok(Self { choices: choices.map_err(|why| format!("request {name:?}: {why}"))?, name, is_list })
    }
}

impl<D> Request<D> {
    /// The fewest devices that meet it, as far as that can be said of it alone.
    fn least(&self) -> usize {
        let least = |choice: &Choice<D>| match choice.amount {
            Amount::Exactly(count) => count,
            Amount::All(_) => 0,
        };
        self.choices.iter().map(least).min().unwrap_or(0)
    }

    /// Its devices, where it is so many of one kind.
    pub(crate) fn exactly(&self) -> Option<(&D, usize)> {
        match self.choices.as_slice() {
            [Choice { devices, amount: Amount::Exactly(count), .. }] if !self.is_list => Some((devices, *count)),
            _ => None,
        }
    }
}

fn choice(name: &str, exact: &ExactDeviceRequest) -> Result<Choice<Signature>, String> {
    if let Some(field) = exact.beyond.iter().find(|(_, value)| !matches!(value, Value::Null | Value::Bool(false))) {
        return Err(format!("{} is not understood", field.0));
    }
    let devices = Signature::of(exact);
    let amount = match (exact.allocation_mode.as_str(), usize::try_from(exact.count)) {
        ("All", _) => Amount::All(devices.tolerant()),
        ("" | "ExactCount", Ok(count)) => Amount::Exactly(count.max(1)),
        (mode, _) => return Err(format!("asks for {} devices by {mode:?}", exact.count)),
    };
    Ok(Choice { name: name.to_owned(), devices, amount })
}

// === impl Constraint ===

impl Constraint {
    fn of(constraint: &DeviceConstraint) -> Result<Self, String> {
        let (attribute, distinct) = match (&constraint.match_attribute, &constraint.distinct_attribute) {
            (Some(attribute), None) => (attribute, false),
            (None, Some(attribute)) => (attribute, true),
            _ => return Err("has constraints that are not understood".to_owned()),
        };
        Ok(Self { requests: constraint.requests.clone(), attribute: attribute.clone(), distinct })
    }

    /// Whether it is about the devices of a request, or of one of its alternatives.
    pub(super) fn concerns(&self, request: &str, choice: &str) -> bool {
        let names = |name: &String| {
            name == request
                || name.strip_prefix(request).and_then(|rest| rest.strip_prefix('/')).is_some_and(|it| it == choice)
        };
        self.requests.is_empty() || self.requests.iter().any(names)
    }
}
