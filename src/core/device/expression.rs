//! CEL selectors of devices, as `k8s.io/dynamic-resource-allocation` v0.36.3 `cel/compile.go` evaluates them.
//!
//! The grammar is that of a well-kept crate. The meaning is our own and covers what selectors are made of, since an
//! answer must be that of the scheduler or none: what is not listed in [`evaluate`] is an error, and so
//! is what would be an error there (a missing attribute, values of different types). An error on one side of `&&` and
//! `||` does not matter where the other side decides, in either order, as CEL has it.

use std::cmp::Ordering;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators as op},
    parser::PrattParser,
};
use semver::Version;

use crate::{
    object::device::{Device, DeviceAttribute},
    quantity::Quantity,
};

/// Longest expression that is read, in bytes. Kubernetes takes 10 KiB; selectors in use have some hundred.
const MAX_LENGTH: usize = 4 << 10;
/// Most marks in it: what is neither letter nor digit, a gap counted once. Each may be a level of the tree, and the
/// parser, which descends and drops the tree, must not run out of stack; a selector in use has some thirty.
const MAX_MARKS: usize = 192;
/// Deepest nesting.
const MAX_DEPTH: u16 = 24;

/// A checked expression.
#[derive(Debug)]
pub(super) struct Expression(IdedExpr);

/// What an expression is asked about.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) driver: &'a str,
    pub(super) device: &'a Device,
}

/// A value on the way.
#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Version(Version),
    Quantity(Quantity),
    List(Vec<Self>),
    Device,
    Attributes,
    Capacities,
    /// Attributes of one domain.
    AttributesOf(&'a str),
    /// Capacities of one domain.
    CapacitiesOf(&'a str),
}

type Outcome<'a> = Result<Value<'a>, String>;

// === impl Expression ===

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("longer than {MAX_LENGTH} bytes"));
        }
        if marks(text) > MAX_MARKS {
            return Err("too long to be read".to_owned());
        }
        let parser = PrattParser::new().max_recursion_depth(MAX_DEPTH);
        parser.parse(text).map(Self).map_err(|_| "not an expression that can be read".to_owned())
    }

    /// Whether it selects a device.
    pub(super) fn selects(&self, subject: Subject<'_>) -> Result<bool, String> {
        boolean(evaluate(&self.0, subject))
    }
}

fn marks(text: &str) -> usize {
    let words = text.split_whitespace();
    words.map(|word| 1 + word.chars().filter(|mark| !mark.is_ascii_alphanumeric()).count()).sum()
}

fn evaluate<'a>(expression: &'a IdedExpr, subject: Subject<'a>) -> Outcome<'a> {
    match &expression.expr {
        Expr::Literal(LiteralValue::Boolean(value)) => Ok(Value::Bool(*value.inner())),
        Expr::Literal(LiteralValue::Int(value)) => Ok(Value::Int(*value.inner())),
        Expr::Literal(LiteralValue::String(value)) => Ok(Value::Text(value.inner())),
        Expr::Ident(name) if name == "device" => Ok(Value::Device),
        Expr::Select(select) => self::select(select, subject),
        Expr::List(list) if list.optional_indices.is_empty() => {
            let elements: Result<_, _> = list.elements.iter().map(|element| evaluate(element, subject)).collect();
            Ok(Value::List(elements?))
        }
        Expr::Call(call) => self::call(call, subject),
        _ => Err("uses what is not understood".to_owned()),
    }
}

fn select<'a>(select: &'a SelectExpr, subject: Subject<'a>) -> Outcome<'a> {
    let operand = evaluate(&select.operand, subject)?;
    if select.test {
        return contains(&operand, &select.field, subject).map(Value::Bool);
    }
    match (operand, select.field.as_str()) {
        (Value::Device, "driver") => Ok(Value::Text(subject.driver)),
        (Value::Device, "attributes") => Ok(Value::Attributes),
        (Value::Device, "capacity") => Ok(Value::Capacities),
        (operand, field) => member(&operand, field, subject),
    }
}

/// An attribute or a capacity of a domain.
fn member<'a>(domain: &Value<'a>, name: &str, subject: Subject<'a>) -> Outcome<'a> {
    let missing = || format!("the device has no {name:?}");
    match domain {
        Value::AttributesOf(domain) => attribute(subject, domain, name).ok_or_else(missing).and_then(value),
        Value::CapacitiesOf(domain) => {
            let capacity = subject.qualified(&subject.device.capacity, domain, name).ok_or_else(missing)?;
            Ok(Value::Quantity(capacity.value))
        }
        _ => Err(format!("selects {name:?} of what has no such field")),
    }
}

fn contains(domain: &Value<'_>, name: &str, subject: Subject<'_>) -> Result<bool, String> {
    match domain {
        Value::AttributesOf(domain) => Ok(attribute(subject, domain, name).is_some()),
        Value::CapacitiesOf(domain) => Ok(subject.qualified(&subject.device.capacity, domain, name).is_some()),
        _ => Err("asks for presence in what is not understood".to_owned()),
    }
}

fn attribute<'a>(subject: Subject<'a>, domain: &str, name: &str) -> Option<&'a DeviceAttribute> {
    subject.qualified(&subject.device.attributes, domain, name)
}

fn value(attribute: &DeviceAttribute) -> Outcome<'_> {
    match attribute {
        DeviceAttribute { int: Some(int), .. } => Ok(Value::Int(*int)),
        DeviceAttribute { bool: Some(bool), .. } => Ok(Value::Bool(*bool)),
        DeviceAttribute { string: Some(string), .. } => Ok(Value::Text(string)),
        DeviceAttribute { version: Some(version), .. } => version_of(version),
        _ => Err("reads an attribute of a type that is not understood".to_owned()),
    }
}

fn call<'a>(call: &'a CallExpr, subject: Subject<'a>) -> Outcome<'a> {
    match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
        (op::LOGICAL_AND, None, [a, b]) => either(evaluate(a, subject), evaluate(b, subject), false),
        (op::LOGICAL_OR, None, [a, b]) => either(evaluate(a, subject), evaluate(b, subject), true),
        (op::LOGICAL_NOT, None, [a]) => Ok(Value::Bool(!boolean(evaluate(a, subject))?)),
        (op::INDEX, None, [of, key]) => index(&evaluate(of, subject)?, &evaluate(key, subject)?, subject),
        (op::IN, None, [item, list]) => within(&evaluate(item, subject)?, &evaluate(list, subject)?, subject),
        ("quantity", None, [text]) => quantity(&evaluate(text, subject)?),
        ("semver", None, [text]) => match evaluate(text, subject)? {
            Value::Text(text) => version_of(text),
            _ => Err("semver() of what is no text".to_owned()),
        },
        (name, None, [a, b]) => compared(name, &evaluate(a, subject)?, &evaluate(b, subject)?),
        (name, Some(target), [argument]) => method(name, &evaluate(target, subject)?, &evaluate(argument, subject)?),
        (name, ..) => Err(format!("calls {name}, which is not understood")),
    }
}

/// `&&` and `||`: the deciding value on either side decides.
fn either<'a>(a: Outcome<'a>, b: Outcome<'a>, deciding: bool) -> Outcome<'a> {
    match (boolean(a), boolean(b)) {
        (Ok(value), _) | (_, Ok(value)) if value == deciding => Ok(Value::Bool(deciding)),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(_), Ok(_)) => Ok(Value::Bool(!deciding)),
    }
}

fn boolean(outcome: Outcome<'_>) -> Result<bool, String> {
    match outcome? {
        Value::Bool(value) => Ok(value),
        _ => Err("is no condition".to_owned()),
    }
}

fn index<'a>(of: &Value<'a>, key: &Value<'a>, subject: Subject<'a>) -> Outcome<'a> {
    match (of, key) {
        (Value::Attributes, Value::Text(domain)) => Ok(Value::AttributesOf(domain)),
        (Value::Capacities, Value::Text(domain)) => Ok(Value::CapacitiesOf(domain)),
        (of, Value::Text(name)) => member(of, name, subject),
        _ => Err("indexes with what is no text".to_owned()),
    }
}

fn within<'a>(item: &Value<'a>, list: &Value<'a>, subject: Subject<'a>) -> Outcome<'a> {
    if let (Value::Text(name), Value::AttributesOf(_) | Value::CapacitiesOf(_)) = (item, list) {
        return contains(list, name, subject).map(Value::Bool);
    }
    let Value::List(elements) = list else { return Err("looks in what is no list".to_owned()) };
    let equal: Result<Vec<bool>, String> = elements.iter().map(|element| same(item, element)).collect();
    Ok(Value::Bool(equal?.contains(&true)))
}

fn quantity<'a>(text: &Value<'_>) -> Outcome<'a> {
    let Value::Text(text) = text else { return Err("quantity() of what is no text".to_owned()) };
    text.parse().map(Value::Quantity).map_err(|_| format!("{text:?} is no quantity"))
}

/// Build metadata is refused: Kubernetes' comparison passes over it, and this one does not.
fn version_of<'a>(text: &str) -> Outcome<'a> {
    let version = Version::parse(text).ok().filter(|version| version.build.is_empty());
    version.map(Value::Version).ok_or_else(|| format!("{text:?} is no version that is understood"))
}

fn same(a: &Value<'_>, b: &Value<'_>) -> Result<bool, String> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (Value::Version(a), Value::Version(b)) => Ok(a == b),
        (Value::Quantity(a), Value::Quantity(b)) => Ok(a == b),
        _ => Err("compares values of different types".to_owned()),
    }
}

fn compared<'a>(name: &str, a: &Value<'_>, b: &Value<'_>) -> Outcome<'a> {
    let holds = match name {
        op::EQUALS => return same(a, b).map(Value::Bool),
        op::NOT_EQUALS => return same(a, b).map(|same| Value::Bool(!same)),
        op::LESS => Ordering::is_lt,
        op::LESS_EQUALS => Ordering::is_le,
        op::GREATER => Ordering::is_gt,
        op::GREATER_EQUALS => Ordering::is_ge,
        _ => return Err(format!("calls {name}, which is not understood")),
    };
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(Value::Bool(holds(a.cmp(b)))),
        (Value::Text(a), Value::Text(b)) => Ok(Value::Bool(holds(a.cmp(b)))),
        _ => Err("orders what has no order".to_owned()),
    }
}

fn method<'a>(name: &str, target: &Value<'_>, argument: &Value<'_>) -> Outcome<'a> {
    if let (Value::Text(target), Value::Text(argument)) = (target, argument) {
        return match name {
            "startsWith" => Ok(Value::Bool(target.starts_with(argument))),
            "endsWith" => Ok(Value::Bool(target.ends_with(argument))),
            "contains" => Ok(Value::Bool(target.contains(argument))),
            _ => Err(format!("calls {name}, which is not understood")),
        };
    }
    let order = match (target, argument) {
        (Value::Quantity(target), Value::Quantity(argument)) => target.cmp(argument),
        (Value::Version(target), Value::Version(argument)) => target.cmp(argument),
        _ => return Err(format!("calls {name} of values that it does not take")),
    };
    match name {
        "compareTo" => Ok(Value::Int(order as i64)),
        "isGreaterThan" => Ok(Value::Bool(order.is_gt())),
        "isLessThan" => Ok(Value::Bool(order.is_lt())),
        _ => Err(format!("calls {name}, which is not understood")),
    }
}

// === impl Subject ===

impl<'a> Subject<'a> {
    /// What a map of a device has under a domain and a name: a key without a domain is in that of the driver.
    fn qualified<T>(self, map: &'a std::collections::BTreeMap<String, T>, domain: &str, name: &str) -> Option<&'a T> {
        let plain = || (domain == self.driver).then(|| map.get(name)).flatten();
        map.get(&format!("{domain}/{name}")).or_else(plain)
    }
}

#[cfg(test)]
mod tests;
