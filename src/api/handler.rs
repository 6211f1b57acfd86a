//! One request: parse, identify, authorise, answer. Nothing in here waits for a source of metrics.

use std::{sync::Arc, time::Duration};

use axum::extract::{Request, State as Extract};
use http::Method;
use plimsoll_core::answer::{Answers, CustomRequest, Objects};
use tokio::time::Instant;

use super::{
    Guard, State,
    authentication::User,
    discovery,
    failure::{Details, Failure},
    openapi, percent,
    query::Query,
    reply::{self, Accept, Reply},
    route::{CUSTOM, CustomRoute, CustomVersion, Described, EXTERNAL, ExternalRoute, MAX_URI, Route},
    upstream::Question,
    version,
};
use crate::server::Peer;

/// Text exposition, as Prometheus negotiates it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Who answers.
enum Answer {
    Ours(Reply),
    Kedas(Box<Question>),
}

/// Answers one request within the deadline, whatever it is.
pub(super) async fn handle<A: Answers>(Extract(state): Extract<Arc<State<A>>>, request: Request) -> Reply {
    let began = Instant::now();
    let route = Route::parse(request.uri().path());
    let label = route.as_ref().map_or("none", Route::label);
    let answer = tokio::time::timeout(state.deadline, answer(&state, route, request)).await;
    let (label, reply) = match answer.unwrap_or_else(|_| Err(late(state.deadline))) {
        Ok(Answer::Ours(reply)) => (label, Ok(reply)),
        // KEDA asks a source while the HPA waits, so this has a deadline of its own.
        Ok(Answer::Kedas(question)) => ("keda", state.keda.ask(*question).await),
        Err(failure) => (label, Err(failure)),
    };
    let reply = reply.unwrap_or_else(Failure::reply);
    state.metrics.request(label, reply.status().as_u16(), began.elapsed().as_secs_f64());
    reply
}

fn late(deadline: Duration) -> Failure {
    let message = format!("kube-apiserver did not say within {} ms who asks and what it may do", deadline.as_millis());
    Failure::unavailable("Deadline", message)
}

async fn answer<A: Answers>(state: &State<A>, route: Option<Route>, mut request: Request) -> Result<Answer, Failure> {
    let uri = request.uri().clone();
    let length = uri.path().len() + uri.query().map_or(0, str::len);
    let peer = request.extensions().get::<Peer>().cloned();
    let user = identify(&state.guard, peer.as_ref(), &uri, request.headers_mut()).await?;
    // From here on the sender is known, or the path is open: no unidentified sender learns what exists.
    if length > MAX_URI {
        return Err(Failure::bad_request(&format!("path and query have {length} bytes; at most {MAX_URI} are read")));
    }
    if request.method() != Method::GET {
        return Err(Failure::method_not_allowed("metrics are only read: use GET"));
    }
    let route = route.ok_or_else(Failure::path_not_found)?;
    let query = Query::parse(&uri)?;
    if let (Guard::Delegated(delegated), Some(user)) = (&state.guard, user) {
        delegated.authorizer.authorize(&user, &route.access(uri.path(), &query)).await?;
    }
    if let Route::External(external) = &route
        && let Some(question) = Question::of(external, &query.label_selector, request.headers())?
    {
        return Ok(Answer::Kedas(Box::new(question)));
    }
    dispatch(state, route, query, &request).map(Answer::Ours)
}

/// The sender; `None` where anybody may ask.
async fn identify(
    guard: &Guard,
    peer: Option<&Peer>,
    uri: &http::Uri,
    headers: &mut http::HeaderMap,
) -> Result<Option<User>, Failure> {
    let Guard::Delegated(delegated) = guard else { return Ok(None) };
    if percent::decode(uri.path()).is_some_and(|path| delegated.authorizer.options().is_open(&path)) {
        return Ok(None);
    }
    delegated.authenticator.authenticate(peer, headers).await?.ok_or_else(Failure::unauthorized).map(Some)
}

fn dispatch<A: Answers>(state: &State<A>, route: Route, query: Query, request: &Request) -> Result<Reply, Failure> {
    let headers = request.headers();
    let answers = &*state.answers;
    match route {
        Route::Health(health) => state.health.reply(&health, query.verbose),
        Route::Metrics => metrics(&state.registry),
        Route::Version => Ok(reply::json(&version::info())),
        Route::Groups => discovery::groups(answers, headers),
        Route::Group(name) => discovery::group(name, headers),
        Route::Resources(of) => discovery::resources(of, answers, headers),
        Route::OpenApiV2 => openapi::v2(headers),
        Route::OpenApiV3 => openapi::v3_root(headers),
        Route::OpenApiV3Of(of) => openapi::v3(of, headers),
        Route::External(route) => {
            Accept::new(headers).json()?;
            external(answers, &route, &query)
        }
        Route::Custom(route) => {
            Accept::new(headers).json()?;
            custom(answers, route, query)
        }
    }
}

fn metrics(registry: &prometheus_client::registry::Registry) -> Result<Reply, Failure> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .map_err(|error| Failure::internal(error.to_string()))?;
    Ok(reply::text(OPENMETRICS, text))
}

fn external<A: Answers>(answers: &A, route: &ExternalRoute, query: &Query) -> Result<Reply, Failure> {
    let details = || Details {
        name: route.metric.clone(),
        group: EXTERNAL.to_owned(),
        kind: route.metric.clone(),
        ..Details::default()
    };
    let values = answers
        .external(&route.namespace, &route.metric, &query.label_selector)
        .map_err(|refusal| Failure::refused(refusal, details()))?;
    if values.is_empty() {
        let message =
            format!("the server could not find the metric {} for namespace {}", route.metric, route.namespace);
        return Err(Failure::not_found(message, details()));
    }
    Ok(reply::json(&super::wire::external(&route.metric, values)))
}

fn custom<A: Answers>(answers: &A, route: CustomRoute, query: Query) -> Result<Reply, Failure> {
    let (version, details) = (route.version, details(&route));
    let request = request(route, query)?;
    let values = answers.custom(&request).map_err(|refusal| Failure::refused(refusal, details.clone()))?;
    match (&request.objects, values.len()) {
        (Objects::Named(name), 0) => {
            let CustomRequest { metric, resource, .. } = &request;
            let message = format!("the server could not find the metric {metric} for {resource} {name}");
            Err(Failure::not_found(message, details))
        }
        (Objects::Matching(selector), 0) => {
            let CustomRequest { metric, resource, .. } = &request;
            let which = if selector.is_empty() { String::new() } else { format!(" that match {selector}") };
            let message = format!("the server could not find the metric {metric} for {resource}{which}");
            Err(Failure::not_found(message, details))
        }
        // A client that asks for one object fails on any other number (k8s.io/metrics versioned_client.go).
        (Objects::Named(name), count @ 2..) => {
            Err(Failure::internal(format!("{count} values were found where {name} alone was asked for")))
        }
        (Objects::Named(_) | Objects::Matching(_), _) => Ok(match version {
            CustomVersion::V1beta1 => reply::json(&super::wire::custom_v1beta1(&request, values)),
            CustomVersion::V1beta2 => reply::json(&super::wire::custom_v1beta2(&request, values)),
        }),
    }
}

fn details(route: &CustomRoute) -> Details {
    let (kind, name) = match &route.of {
        Described::Namespace => ("namespaces".to_owned(), route.namespace.clone()),
        Described::Objects { resource, name } => (resource.clone(), name.clone()),
    };
    Details { name, group: CUSTOM.to_owned(), kind, ..Details::default() }
}

/// What the core is asked. A namespace is an object without a namespace.
fn request(route: CustomRoute, query: Query) -> Result<CustomRequest, Failure> {
    let (namespace, resource, objects) = match route.of {
        Described::Namespace => (String::new(), "namespaces".to_owned(), Objects::Named(route.namespace)),
        Described::Objects { resource, name } if name == "*" => {
            (route.namespace, resource, Objects::Matching(query.label_selector))
        }
        Described::Objects { resource, name } => {
            if !query.label_selector.is_empty() {
                return Err(Failure::bad_request("labelSelector selects among many objects: use the name * with it"));
            }
            (route.namespace, resource, Objects::Named(name))
        }
    };
    let metric_selector = query.metric_label_selector;
    Ok(CustomRequest { namespace, resource, objects, metric: route.metric, metric_selector })
}
