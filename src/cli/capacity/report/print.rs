//! The answer as people read it: what there is now, what there is of GPUs and to come, per group of nodes why no more,
//! then one line for each thing that has to be said in words.

use std::fmt;

use plimsoll_core::capacity::{Class, Fits, Lift, LimitingFactor, NodeGroupReport, QuotaRoom};

use super::{Before, Kept, Report, Subject};

/// What stands where nothing limits or nobody counts.
const NONE: &str = "-";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { namespace, kind, name } = &self.workload;
        let claims = self.claims.iter().map(|claim| format!("claim {claim}"));
        let requests = self.requests.iter().map(|(name, amount)| format!("{name} {amount}"));
        let requests: Vec<_> = requests.chain(claims).collect();
        let requests = if requests.is_empty() { "nothing".to_owned() } else { requests.join(", ") };
        let of = if self.pods > 1 { format!(" of {} pods", self.pods) } else { String::new() };
        writeln!(f, "{kind} {namespace}/{name}: one replica{of} asks for {requests}\n")?;
        table(f, &["BOUND", "PENDING", "FITS", "QUOTA", "CEILING", "LIMITED BY"], &[self.now()])?;
        writeln!(f)?;
        let head = ["FREE GPUS", "STRANDED", "UNHEALTHY", "RELEASING", "ARRIVING", "HEADROOM"];
        table(f, &head, &[self.gpus_and_later()])?;
        self.describe_changes(f)?;
        if !self.groups.is_empty() {
            writeln!(f)?;
            let rows: Vec<_> = self.groups.iter().map(group_row).collect();
            table(f, &["NODES", "FITS", "WHY NO MORE", "NAMES"], &rows)?;
        }
        let words = self.words();
        if !words.is_empty() {
            writeln!(f)?;
        }
        let width = words.iter().map(|(about, _)| about.len() + 1).max().unwrap_or(0);
        words.iter().try_for_each(|(about, text)| writeln!(f, "{:width$} {text}", format!("{about}:")))
    }
}

impl Report {
    fn now(&self) -> Vec<String> {
        vec![
            self.bound.to_string(),
            self.pending.to_string(),
            fits(self.fits),
            self.quota.as_ref().map_or(NONE.to_owned(), |quota| quota.pods.to_string()),
            self.ceiling.to_string(),
            word(self.limiting_factor),
        ]
    }

    fn gpus_and_later(&self) -> Vec<String> {
        vec![
            known(self.free_gpus),
            known(self.stranded_gpus),
            known(self.unhealthy_gpus),
            known(self.releasing),
            known(self.arriving),
            known(self.headroom.filter(|count| *count > 0 || !self.headroom_unknown)),
        ]
    }

    fn describe_changes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Before { changes, fits: before, ceiling, limiting_factor, .. }) = &self.before else { return Ok(()) };
        writeln!(f)?;
        for change in changes {
            writeln!(f, "what if: {change}")?;
        }
        writeln!(f, "without: fits {}, ceiling {ceiling}, limited by {}", fits(*before), word(*limiting_factor))
    }

    /// What is to be said in words, and what it is about.
    fn words(&self) -> Vec<(&'static str, String)> {
        let mut words: Vec<_> = self.unmodelled.iter().map(|it| ("unknown", it.message.clone())).collect();
        words.extend(self.remarks.iter().map(|remark| ("gpus", remark.clone())));
        words.extend(self.constraint.iter().map(|constraint| ("constraint", constraint.clone())));
        words.extend(self.quota.iter().map(|QuotaRoom { pods, reason }| {
            let what = if self.pods > 1 { "replica" } else { "pod" };
            ("quota", format!("{} more may be created ({reason})", counted(*pods, what)))
        }));
        words.extend(self.later());
        words.extend(self.booked.iter().map(|booked| ("booked", booked.to_string())));
        words.extend(
            self.fits_beside_booked.map(|count| {
                ("booked", format!("{} beside that; the service grants no more", counted(count, "replica")))
            }),
        );
        words.extend(self.buffers.iter().map(|Kept { buffer, replicas }| {
            (
                "buffer",
                format!("CapacityBuffer {buffer} keeps room for {replicas} of these, which is part of what fits"),
            )
        }));
        words.extend(
            self.lift.iter().map(|Lift { change, gain, .. }| ("to make room", format!("{change} (then {gain} more)"))),
        );
        if self.lift.is_none() && self.limiting_factor.is_of_the_cluster() {
            words.push(("to make room", "no single change that was tried helps".to_owned()));
        }
        words
    }

    /// What is not there yet.
    fn later(&self) -> Vec<(&'static str, String)> {
        let counts = [
            (self.releasing, "in the room of terminating pods"),
            (self.arriving, "on nodes that are being brought, and GPUs that are about to register"),
            (self.headroom, "on nodes that may be added"),
        ];
        let counts = counts.into_iter().filter_map(|(count, on)| Some((count.filter(|count| *count > 0)?, on)));
        let mut later: Vec<_> = counts.map(|(count, on)| ("later", format!("{count} more {on}"))).collect();
        if !self.unregistered.is_empty() {
            let names = self.unregistered.join(", ");
            later.push(("later", format!("GPUs that have not registered yet are those of {names}")));
        }
        if self.headroom_unknown {
            let text = "a group of nodes may grow of which no node is here, so what its nodes take is not known";
            later.push(("later", text.to_owned()));
        }
        later.extend(self.no_headroom.iter().map(|reason| ("no nodes to come", reason.clone())));
        later
    }
}

fn known(count: Option<impl ToString>) -> String {
    count.map_or("?".to_owned(), |count| count.to_string())
}

fn counted(count: u32, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn fits(fits: Fits) -> String {
    let hi = fits.hi.map_or("?".to_owned(), |hi| hi.to_string());
    match fits.class {
        Class::Exact => format!("{} (exact)", fits.lo),
        Class::Interval => format!("{}..{hi} (interval)", fits.lo),
        Class::Unknown => "unknown".to_owned(),
    }
}

/// The word that JSON uses.
fn word(factor: LimitingFactor) -> String {
    serde_json::to_value(factor).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn group_row(group: &NodeGroupReport) -> Vec<String> {
    let hidden = (group.nodes as usize).saturating_sub(group.names.len());
    let more = if hidden > 0 { format!(", … {hidden} more") } else { String::new() };
    vec![
        group.nodes.to_string(),
        group.fits.to_string(),
        group.reason.clone(),
        format!("{}{more}", group.names.join(", ")),
    ]
}

/// Columns as wide as their widest cell, two spaces between them.
fn table(f: &mut fmt::Formatter<'_>, head: &[&str], rows: &[Vec<String>]) -> fmt::Result {
    let head: Vec<_> = head.iter().map(|&cell| cell.to_owned()).collect();
    let lines: Vec<_> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
