//! Administrators' PromQL: parsed once, and bound to one namespace each time that it is asked.
//!
//! A matcher for the namespace is put on *every* selector, as prom-label-proxy does, so that no answer can hold
//! another namespace's data. Two traps of `promql-parser` 0.11.1 are stepped around: deep input overflows the stack
//! (so text is bounded before it is parsed), and its own visitor skips the parameter of an aggregation (so the walk
//! is written out here). What is printed is parsed again and compared before it may be used.

use std::collections::BTreeSet;

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{Expr, VectorSelector, parse},
};

/// Longest query, in bytes.
const MAX_TEXT: usize = 4 * 1024;
/// Most brackets and operators of a query, counted anywhere in its text: an upper bound of its depth.
///
/// The parser and its printer recurse; 256 levels take a small part of a 2 MiB thread stack.
const MAX_STRUCTURE: usize = 256;
/// Functions that read series which no selector of the query names.
const UNBOUND_FUNCTIONS: [&str; 1] = ["info"];

/// A query that has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    expression: Expr,
    namespace_label: String,
    pod_label: String,
}

/// A query bound to a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundQuery {
    /// The query.
    pub query: String,
    /// The query for the time of the oldest sample behind each pod's value; none where every selector of the query
    /// looks at another time on purpose.
    ///
    /// The time in the answer to an instant query is the time of evaluation, which hides for the five minutes of
    /// Prometheus' lookback that a target is dead.
    pub timestamps: Option<String>,
}

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Too long.
    #[error("query is longer than {MAX_TEXT} bytes")]
    TooLong,
    /// Too deep.
    #[error("query has more than {MAX_STRUCTURE} brackets and operators")]
    TooDeep,
    /// Not PromQL.
    #[error("query is not PromQL: {0}")]
    Syntax(String),
    /// Nothing that a namespace could be put on.
    #[error("query selects no series, so it cannot be bound to a namespace")]
    NoSelector,
    /// A form that cannot be bound to a namespace.
    #[error("query cannot be bound to a namespace: {0}")]
    Unbindable(String),
    /// A selector excludes the namespace that is asked for.
    #[error("query has the matcher {matcher}, which excludes the namespace {namespace:?}")]
    Conflict {
        /// The matcher in the query.
        matcher: String,
        /// The namespace that is asked for.
        namespace: String,
    },
    /// The label is not one.
    #[error("{0:?} is not a label name")]
    Label(String),
}

// === impl Query ===

impl Query {
    /// Checks a query; the labels are those that carry the namespace and the pod in the series.
    pub fn new(text: &str, namespace_label: &str, pod_label: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_TEXT {
            return Err(QueryError::TooLong);
        }
        if structure(text) > MAX_STRUCTURE {
            return Err(QueryError::TooDeep);
        }
        for label in [namespace_label, pod_label] {
            if !is_label_name(label) || label.starts_with("__") {
                return Err(QueryError::Label(label.to_owned()));
            }
        }
        let expression = parse(text).map_err(QueryError::Syntax)?;
        let query = Self { expression, namespace_label: namespace_label.to_owned(), pod_label: pod_label.to_owned() };
        let mut selectors = 0;
        let mut copy = query.expression.clone();
        for_each_selector(&mut copy, &mut |selector| {
            selectors += 1;
            no_alternatives(selector)
        })?;
        if selectors == 0 {
            return Err(QueryError::NoSelector);
        }
        print_back(&query.expression)?;
        Ok(query)
    }

    /// The query with the namespace on every selector.
    pub fn for_namespace(&self, namespace: &str) -> Result<BoundQuery, QueryError> {
        let mut bound = self.expression.clone();
        for_each_selector(&mut bound, &mut |selector| self.bind(selector, namespace))?;
        let query = print_back(&bound)?;
        let timestamps = self.timestamps(&mut bound, namespace)?;
        Ok(BoundQuery { query, timestamps })
    }

    /// For each pod the oldest time among all selectors of a bound query.
    fn timestamps(&self, bound: &mut Expr, namespace: &str) -> Result<Option<String>, QueryError> {
        let mut selectors = BTreeSet::new();
        for_each_selector(bound, &mut |selector| {
            if selector.offset.is_none() && selector.at.is_none() {
                selectors.insert(selector.to_string());
            }
            Ok(())
        })?;
        // A label that differs keeps `or` from taking the times of two selectors for the same series.
        let mark =
            |(index, selector)| format!("label_replace(timestamp({selector}), \"plimsoll\", \"{index}\", \"\", \"\")");
        let times: Vec<_> = selectors.iter().enumerate().map(mark).collect();
        if times.is_empty() {
            return Ok(None);
        }
        let text = format!("min by ({}) ({})", self.pod_label, times.join(" or "));
        let mut parsed = parse(&text).map_err(QueryError::Unbindable)?;
        let ours = Matcher::new(MatchOp::Equal, &self.namespace_label, namespace);
        for_each_selector(&mut parsed, &mut |selector| {
            let bound = selector.matchers.matchers.contains(&ours);
            bound.then_some(()).ok_or_else(|| QueryError::Unbindable("its times cannot be asked for".to_owned()))
        })?;
        Ok(Some(text))
    }

    fn bind(&self, selector: &mut VectorSelector, namespace: &str) -> Result<(), QueryError> {
        no_alternatives(selector)?;
        let matchers = &mut selector.matchers.matchers;
        let ours = Matcher::new(MatchOp::Equal, &self.namespace_label, namespace);
        if let Some(other) = matchers.iter().find(|m| m.name == self.namespace_label && !m.is_match(namespace)) {
            return Err(QueryError::Conflict { matcher: other.to_string(), namespace: namespace.to_owned() });
        }
        if !matchers.contains(&ours) {
            matchers.push(ours);
        }
        Ok(())
    }
}

/// Prints an expression, provided that the text means the same expression again.
fn print_back(expression: &Expr) -> Result<String, QueryError> {
    let text = expression.to_string();
    let again = parse(&text).map(sorted);
    if matches!(again, Ok(Ok(again)) if again == sorted(expression.clone())?) {
        return Ok(text);
    }
    Err(QueryError::Unbindable(format!("it does not print back to itself, but as {text}")))
}

/// The expression with the matchers of each selector in one order: the printer sorts them.
fn sorted(mut expression: Expr) -> Result<Expr, QueryError> {
    for_each_selector(&mut expression, &mut |selector| {
        selector.matchers.matchers.sort_by_cached_key(ToString::to_string);
        Ok(())
    })?;
    Ok(expression)
}

fn no_alternatives(selector: &VectorSelector) -> Result<(), QueryError> {
    if selector.matchers.or_matchers.is_empty() {
        return Ok(());
    }
    Err(QueryError::Unbindable("`or` between matchers is not supported".to_owned()))
}

/// Calls `visit` on every selector, those in parameters of aggregations included.
fn for_each_selector(
    expression: &mut Expr,
    visit: &mut impl FnMut(&mut VectorSelector) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    match expression {
        Expr::Aggregate(aggregate) => {
            if let Some(parameter) = &mut aggregate.param {
                for_each_selector(parameter, visit)?;
            }
            for_each_selector(&mut aggregate.expr, visit)
        }
        Expr::Unary(unary) => for_each_selector(&mut unary.expr, visit),
        Expr::Binary(binary) => {
            for_each_selector(&mut binary.lhs, visit)?;
            for_each_selector(&mut binary.rhs, visit)
        }
        Expr::Paren(paren) => for_each_selector(&mut paren.expr, visit),
        Expr::Subquery(subquery) => for_each_selector(&mut subquery.expr, visit),
        Expr::VectorSelector(selector) => visit(selector),
        Expr::MatrixSelector(matrix) => visit(&mut matrix.vs),
        Expr::Call(call) if UNBOUND_FUNCTIONS.contains(&call.func.name) => {
            Err(QueryError::Unbindable(format!("{}() reads series that no selector names", call.func.name)))
        }
        Expr::Call(call) => call.args.args.iter_mut().try_for_each(|argument| for_each_selector(argument, visit)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(()),
        Expr::Extension(_) => Err(QueryError::Unbindable("it holds an extension node".to_owned())),
    }
}

/// Brackets and operators, in strings and comments too: those may be counted, but must never hide others.
fn structure(text: &str) -> usize {
    let symbols = text.bytes().filter(|byte| b"([{+-*/%^=!<>".contains(byte)).count();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    symbols + words.filter(|word| ["and", "or", "unless", "atan2"].iter().any(|w| word.eq_ignore_ascii_case(w))).count()
}

/// Whether a text is a label name of the classic alphabet.
fn is_label_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use promql_parser::label::Matchers;
    use proptest::prelude::*;

    use super::*;

    fn selectors(text: &str) -> Vec<Matchers> {
        let mut found = Vec::new();
        let mut keep = |selector: &mut VectorSelector| {
            found.push(selector.matchers.clone());
            Ok(())
        };
        for_each_selector(&mut parse(text).unwrap(), &mut keep).unwrap();
        found
    }

    fn bound(text: &str, namespace: &str) -> Result<BoundQuery, QueryError> {
        Query::new(text, "namespace", "pod")?.for_namespace(namespace)
    }

    #[test]
    fn the_namespace_is_on_every_selector() {
        for (text, expected) in [
            ("up", r#"up{namespace="a"}"#),
            (r#"up{namespace="a"}"#, r#"up{namespace="a"}"#),
            (r#"up{namespace=~"a|b"}"#, r#"up{namespace="a",namespace=~"a|b"}"#),
            ("sum by (pod) (rate(x_total[1m]))", r#"sum by (pod) (rate(x_total{namespace="a"}[1m]))"#),
            ("a / on (pod) b", r#"a{namespace="a"} / on (pod) b{namespace="a"}"#),
            ("topk(scalar(k), x)", r#"topk(scalar(k{namespace="a"}), x{namespace="a"})"#),
            ("max_over_time(x[5m:1m])", r#"max_over_time(x{namespace="a"}[5m:1m])"#),
            ("-(x offset 5m)", r#"-(x{namespace="a"} offset 5m)"#),
        ] {
            assert_eq!(bound(text, "a").unwrap().query, expected);
        }
    }

    #[test]
    fn the_times_of_the_samples_behind_a_value_are_asked_for_too() {
        let times = |text: &str| bound(text, "a").unwrap().timestamps;
        let one = r#"min by (pod) (label_replace(timestamp(x{namespace="a"}), "plimsoll", "0", "", ""))"#;
        assert_eq!(times("x").unwrap(), one);
        assert_eq!(times("sum by (pod) (rate(x[1m])) + max by (pod) (x)").unwrap(), one);
        let two = times("x / on (pod) y").unwrap();
        assert!(two.contains(r#"timestamp(x{namespace="a"}), "plimsoll", "0""#), "{two}");
        assert!(two.contains(r#" or label_replace(timestamp(y{namespace="a"}), "plimsoll", "1""#), "{two}");
        assert_eq!(times("x offset 5m"), None);
    }

    #[test]
    fn a_conflicting_matcher_is_an_error_not_a_replacement() {
        for text in [r#"up{namespace="b"}"#, r#"a + b{namespace!="a"}"#, r#"topk(scalar(k{namespace=~"b.*"}), x)"#] {
            assert!(matches!(bound(text, "a"), Err(QueryError::Conflict { .. })), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_bound_is_refused() {
        for text in ["vector(1)", "1", "time()", r#"{a="b" or c="d"}"#, "info(up)", "up{", "", "sum(", "\"x\""] {
            assert!(Query::new(text, "namespace", "pod").is_err(), "{text}");
        }
        assert_eq!(Query::new("up", "na-me", "pod"), Err(QueryError::Label("na-me".to_owned())));
        assert_eq!(Query::new("up", "__name__", "pod"), Err(QueryError::Label("__name__".to_owned())));
    }

    #[test]
    fn deep_and_long_queries_are_refused_before_they_are_parsed() {
        let parens = format!("{}x{}", "(".repeat(1500), ")".repeat(1500));
        let hidden = format!("# it's \n{parens}");
        let minus = format!("{}x", "-".repeat(3000));
        let chain = format!("x{}", "+x".repeat(1000));
        for text in [&parens, &hidden, &minus, &chain] {
            assert_eq!(Query::new(text, "namespace", "pod"), Err(QueryError::TooDeep));
        }
        assert_eq!(Query::new(&"x".repeat(MAX_TEXT + 1), "namespace", "pod"), Err(QueryError::TooLong));
    }

    #[test]
    fn the_deepest_query_that_is_allowed_is_bound_on_a_small_stack() {
        let texts = [
            format!("{}x{}", "(".repeat(256), ")".repeat(256)),
            format!("{}x", "-".repeat(256)),
            format!("x{}", " + x".repeat(256)),
            format!("{}x{}", "abs(".repeat(256), ")".repeat(256)),
        ];
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let run = move || texts.iter().all(|text| bound(text, "a").is_ok());
        assert!(thread.spawn(run).unwrap().join().unwrap());
    }

    fn expression() -> impl Strategy<Value = String> {
        let matcher = prop_oneof![
            Just(String::new()),
            Just(r#"{job="x"}"#.to_owned()),
            Just(r#"{namespace=~".+",job!~"a.b\\d"}"#.to_owned()),
            Just(r#"{namespace="ns-1"}"#.to_owned()),
        ];
        let leaf = ("[a-z][a-z_:]{0,6}x", matcher).prop_map(|(name, matcher)| format!("{name}{matcher}"));
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|e| format!("sum by (pod) ({e})")),
                inner.clone().prop_map(|e| format!("({e})")),
                inner.clone().prop_map(|e| format!("abs({e})")),
                inner.clone().prop_map(|e| format!("max_over_time(({e})[5m:1m])")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} / on (pod) {b}")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} or {b}")),
                (inner.clone(), inner).prop_map(|(a, b)| format!("quantile(scalar({a}), {b})")),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_selector_of_the_printed_query_carries_the_matcher(text in expression(), label in "[a-z]{3,9}") {
            let query = Query::new(&text, &label, "pod").unwrap();
            let ours = Matcher::new(MatchOp::Equal, &label, "ns-1");
            let printed = query.for_namespace("ns-1").unwrap().query;
            let before = selectors(&text);
            let after = selectors(&printed);
            prop_assert_eq!(before.len(), after.len());
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(after.matchers.contains(&ours), "{}", printed);
                prop_assert!(before.matchers.iter().all(|matcher| after.matchers.contains(matcher)));
            }
        }

        #[test]
        fn no_namespace_can_break_out_of_the_matcher(namespace in "\\PC{1,20}|[\"\\\\{}\n,=]{1,8}") {
            let query = Query::new("sum(x) / sum(y)", "namespace", "pod").unwrap();
            if let Ok(bound) = query.for_namespace(&namespace) {
                for matchers in selectors(&bound.query) {
                    let wanted = Matcher::new(MatchOp::Equal, "namespace", &namespace);
                    prop_assert_eq!(&matchers.matchers, &vec![wanted]);
                }
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}|[a-z(){}\\[\\]\"'`=~!,.0-9 #\n-]{0,300}") {
            let _: Result<Query, QueryError> = Query::new(&text, "namespace", "pod");
        }
    }
}
