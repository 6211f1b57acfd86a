//! What an API server sends: pages of a list, and lines of a watch. Pure decoding, bounded.
//!
//! An object that does not decode is named and passed on as such: it must not hide the others.

use http_body_util::BodyExt;
use kube::{client::Body, core::Status};
use serde::{Deserialize, de::DeserializeOwned};

use crate::kubernetes::request::{Failure, chain};

/// Largest page that is read: 500 objects of some hundred kilobytes each. etcd refuses objects above 1.5 MiB.
pub(super) const MAX_PAGE: usize = 256 * 1024 * 1024;
/// Largest line of a watch: one object, somewhat larger as JSON than in etcd.
const MAX_LINE: usize = 8 * 1024 * 1024;

/// Name of an object, with what says where in time it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) resource_version: String,
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    /// Version from which a watch may go on; the same on all pages.
    pub(super) version: String,
    /// Token of the next page, if there is one.
    pub(super) next: Option<String>,
    /// Objects in order; the undecodable ones with the reason.
    pub(super) items: Vec<Result<T, Undecodable>>,
}

/// An object that does not decode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undecodable {
    pub(super) identity: Identity,
    pub(super) reason: String,
    /// The object as it came, for what else can be made of it.
    pub(super) object: Box<serde_json::Value>,
}

/// A line of a watch.
#[derive(Debug)]
pub(super) enum Line<T> {
    /// New or changed.
    Applied(Identity, Result<T, Undecodable>),
    /// Gone, or no longer selected.
    Deleted(Identity),
    /// Nothing but a newer version.
    Bookmark(Identity),
    /// The watch cannot go on.
    Error(Failure),
}

/// The lines of a body, as they come.
#[derive(Debug)]
pub(super) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
}

#[derive(Deserialize)]
struct Headed {
    #[serde(default)]
    metadata: Identity,
}

#[derive(Deserialize)]
struct List<T> {
    metadata: ListMeta,
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Event<T> {
    object: T,
}

#[derive(Deserialize)]
struct EventHead {
    #[serde(rename = "type")]
    kind: String,
    object: Headed,
}

// === impl Page ===

impl<T: DeserializeOwned> Page<T> {
    /// Decodes a page in one go; only if that fails, object by object.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Failure> {
        if let Ok(List { metadata, items }) = serde_json::from_slice::<List<T>>(body) {
            return Ok(Self::new(metadata, items.unwrap_or_default().into_iter().map(Ok).collect()));
        }
        let List { metadata, items } =
            serde_json::from_slice::<List<serde_json::Value>>(body).map_err(|error| unreadable(&error))?;
        Ok(Self::new(metadata, items.unwrap_or_default().into_iter().map(decode).collect()))
    }

    fn new(metadata: ListMeta, items: Vec<Result<T, Undecodable>>) -> Self {
        let next = (!metadata.next.is_empty()).then_some(metadata.next);
        Self { version: metadata.resource_version, next, items }
    }
}

fn decode<T: DeserializeOwned>(item: serde_json::Value) -> Result<T, Undecodable> {
    let object = T::deserialize(&item);
    object.map_err(|error| {
        let identity = Headed::deserialize(&item).map(|headed| headed.metadata).unwrap_or_default();
        Undecodable { identity, reason: error.to_string(), object: Box::new(item) }
    })
}

// === impl Line ===

impl<T: DeserializeOwned> Line<T> {
    /// Decodes one line.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Failure> {
        let head: EventHead = serde_json::from_slice(line).map_err(|error| unreadable(&error))?;
        let identity = head.object.metadata;
        match head.kind.as_str() {
            "ADDED" | "MODIFIED" => {
                let object = serde_json::from_slice::<Event<T>>(line).map(|event| event.object);
                let undecodable = |error: serde_json::Error| {
                    let object = serde_json::from_slice::<Event<serde_json::Value>>(line);
                    let object = Box::new(object.map(|event| event.object).unwrap_or_default());
                    Undecodable { identity: identity.clone(), reason: error.to_string(), object }
                };
                let object = object.map_err(undecodable);
                Ok(Self::Applied(identity, object))
            }
            "DELETED" => Ok(Self::Deleted(identity)),
            "BOOKMARK" => Ok(Self::Bookmark(identity)),
            "ERROR" => {
                let event: Event<Status> = serde_json::from_slice(line).map_err(|error| unreadable(&error))?;
                Ok(Self::Error(Failure::from_status(event.object)))
            }
            other => Err(Failure::Unreadable(format!("watch event of unknown type {other:?}"))),
        }
    }
}

// === impl Identity ===

impl Identity {
    /// `namespace/name`, or the name of a cluster-scoped object.
    pub(super) fn path(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }
}

// === impl Lines ===

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), searched: 0 }
    }

    /// The next line without its end; none when the server has ended the body. A last line without an end is cut off
    /// and dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(Failure::Unreadable(format!("a watch event is larger than {MAX_LINE} bytes")));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::Unreachable(chain(&error))),
                Some(Ok(frame)) => self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let unsearched = self.buffer.get(self.searched..)?;
        let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + found + 1);
        self.searched = 0;
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.pop();
        Some(line)
    }
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::Unreadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use plimsoll_core::object::Node;

    use super::*;

    const GOOD: &str = r#"{"metadata":{"name":"n1","resourceVersion":"5"},"status":{"allocatable":{"cpu":"4"}}}"#;
    const BAD: &str = r#"{"metadata":{"name":"n2","resourceVersion":"6"},"status":{"allocatable":{"cpu":"much"}}}"#;

    #[test]
    fn a_page_gives_its_objects_and_names_the_bad_one() {
        let body = format!(r#"{{"metadata":{{"resourceVersion":"9","continue":"t"}},"items":[{GOOD},{BAD}]}}"#);
        let page = Page::<Node>::parse(body.as_bytes()).unwrap();
        assert_eq!((page.version.as_str(), page.next.as_deref()), ("9", Some("t")));
        assert_eq!(page.items[0].as_ref().unwrap().metadata.name, "n1");
        assert_eq!(page.items[1].as_ref().unwrap_err().identity.path(), "n2");
    }

    #[test]
    fn a_page_without_objects_is_a_page() {
        let page = Page::<Node>::parse(br#"{"metadata":{"resourceVersion":"9","continue":""},"items":null}"#).unwrap();
        assert!(page.items.is_empty() && page.next.is_none());
    }

    #[test]
    fn a_line_is_decoded_whatever_the_order_of_its_members() {
        let line = format!(r#"{{"object":{GOOD},"type":"MODIFIED"}}"#);
        let Line::Applied(identity, Ok(node)) = Line::<Node>::parse(line.as_bytes()).unwrap() else { panic!("{line}") };
        assert_eq!((identity.resource_version.as_str(), node.metadata.name.as_str()), ("5", "n1"));
    }

    #[test]
    fn a_bad_object_in_a_watch_keeps_its_name() {
        let line = format!(r#"{{"type":"ADDED","object":{BAD}}}"#);
        let Line::Applied(identity, Err(bad)) = Line::<Node>::parse(line.as_bytes()).unwrap() else { panic!("{line}") };
        assert_eq!((identity.path(), bad.identity), ("n2".to_owned(), identity));
        assert_eq!(bad.object["status"]["allocatable"]["cpu"], "much");
        assert!(bad.reason.contains("much"), "{}", bad.reason);
    }

    #[test]
    fn an_error_event_is_a_failure_with_its_code() {
        let line = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        let Line::Error(failure) = Line::<Node>::parse(line).unwrap() else { panic!("no error") };
        assert!(failure.is(410));
    }

    #[test]
    fn what_is_no_event_is_unreadable() {
        for line in ["", "{", "{}", r#"{"type":"NEW","object":{}}"#, r#"{"type":"ERROR","object":7}"#, "\u{0}"] {
            assert!(matches!(Line::<Node>::parse(line.as_bytes()), Err(Failure::Unreadable(_))), "{line}");
        }
    }

    #[tokio::test]
    async fn lines_are_cut_at_their_ends_only() {
        let mut lines = Lines::new(Body::from(b"one\n\ntwo\ncut off".to_vec()));
        assert_eq!(lines.next().await.unwrap().unwrap(), b"one");
        assert_eq!(lines.next().await.unwrap().unwrap(), b"");
        assert_eq!(lines.next().await.unwrap().unwrap(), b"two");
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_endless_line_is_given_up() {
        let mut lines = Lines::new(Body::from(vec![b'x'; MAX_LINE + 1]));
        assert!(matches!(lines.next().await, Err(Failure::Unreadable(_))));
    }
}
