//! From HTTP to a transaction, and back: routing, the answers that need no transaction, and reading the body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use hyper::{Request, Response, StatusCode, Version};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::egress::INTERNAL_ERROR;
use crate::headers::Headers;
use crate::long_uri;
use crate::path;
use crate::query::Query;
use crate::route::{self, Route};
use crate::serve::{CloseConnection, HandlerResult};
use crate::transaction::{Ingress, Shared, Transaction};
use crate::upstream::collect;

/// After this the gateway's server closes the connection of a client that still waits; the transaction goes on.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(200);

/// Answers one client.
pub(crate) async fn handle(shared: Arc<Shared>, tasks: TaskTracker, request: Request<Incoming>) -> HandlerResult {
    let (path, query) = long_uri::path_and_query(&request);
    let Some(path) = path::decode(&path).filter(|_| has_host(&request)) else {
        return Ok(close(plain(StatusCode::BAD_REQUEST, "400 Bad Request")));
    };
    match route::find(&shared.config.routers, &path) {
        Route::Nowhere => not_found(),
        Route::WithoutSlash => Ok(plain(StatusCode::BAD_REQUEST, "Unsupported path without '/'\n")),
        Route::Elsewhere(clean) => redirect(&clean, query.as_deref()),
        Route::To { router, subpath } => {
            let now = shared.clock.now();
            let (head, body) = request.into_parts();
            let ingress = Ingress {
                method: head.method,
                router,
                subpath,
                query: query.as_deref().map(Query::parse).unwrap_or_default(),
                headers: Headers::from_wire(&head.headers),
            };
            transact(Transaction::new(shared, ingress, now), tasks, body).await
        }
    }
}

/// The transaction runs in a task of its own, because it goes on when the client leaves.
async fn transact(mut transaction: Transaction, tasks: TaskTracker, body: Incoming) -> HandlerResult {
    let Ok(body) = collect(body).await else {
        tasks.spawn(transaction.client_aborted());
        return Ok(close(plain(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_ERROR)));
    };
    let (hand_over, answered) = oneshot::channel();
    tasks.spawn(async move {
        let served = transaction.serve(body).await;
        let status = served.as_ref().map(|answer| answer.status).ok();
        if hand_over.send(served).is_err() {
            tracing::debug!("the client left");
        }
        // The connection's task first: what follows must not delay the answer.
        tokio::task::yield_now().await;
        if let Some(status) = status {
            transaction.finish(status).await;
        }
    });
    let answer = tokio::time::timeout(CLIENT_TIMEOUT, answered).await;
    answer.map_err(|_| CloseConnection)?.map_err(|_| CloseConnection)??.into_http()
}

/// What Go's server demands of a request before any handler sees it.
fn has_host(request: &Request<Incoming>) -> bool {
    request.version() < Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1
}

fn not_found() -> HandlerResult {
    let mut response = plain(StatusCode::NOT_FOUND, "404 page not found\n");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn close(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn redirect(clean: &str, query: Option<&str>) -> HandlerResult {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}{query}", path::encode(clean));
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&location).map_err(|_| CloseConnection)?);
    Ok(response)
}
