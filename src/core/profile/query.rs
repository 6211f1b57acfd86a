//! A profile as PromQL: what a Prometheus is asked that scrapes the servers itself.

use super::{Aggregate, Identity, Kind, Origin, Profile};

impl Profile {
    /// The query that gives a signal by the label `pod`, as [`observe`](Self::observe) would read it from the servers:
    /// of each pod the first alternative that it has. None where the profile has no gauge of that signal, or where
    /// labels say whose data it is, since a Prometheus may have renamed those.
    #[must_use]
    pub fn query(&self, signal: &str) -> Option<String> {
        if self.identity != Identity::Target || !self.key.is_empty() {
            return None;
        }
        let rule = self.signals.iter().find(|rule| rule.signal == signal)?;
        let Kind::Gauge { aggregate } = rule.kind else { return None };
        let alternatives = rule.from.iter().map(|origin| origin.query(aggregate));
        Some(alternatives.collect::<Vec<_>>().join(" or "))
    }
}

impl Aggregate {
    const fn operator(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "avg",
            Self::Max => "max",
        }
    }
}

impl Origin {
    fn query(&self, aggregate: Aggregate) -> String {
        let equal = self.labels.iter().map(|(name, value)| format!("{name}={value:?}"));
        let present = self.require.iter().map(|name| format!("{name}!=\"\""));
        let absent = self.without.iter().map(|name| format!("{name}=\"\""));
        let matchers: Vec<_> = equal.chain(present).chain(absent).collect();
        let selector = match matchers.as_slice() {
            [] => self.metric.clone(),
            matchers => format!("{}{{{}}}", self.metric, matchers.join(",")),
        };
        let plain = self.scale.to_bits() == super::one().to_bits();
        let scale = if plain { String::new() } else { format!(" * {}", self.scale) };
        format!("{} by (pod) ({selector}){scale}", aggregate.operator())
    }
}
