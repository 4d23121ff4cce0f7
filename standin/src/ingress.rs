//! From HTTP to a transaction, and back: routing, the answers that need no transaction, and reading the body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use hyper::{Request, Response, StatusCode};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::headers::Headers;
use crate::path;
use crate::query::Query;
use crate::route::{self, Route};
use crate::serve::{HangUp, Served};
use crate::transaction::{Ingress, Shared, Transaction};
use crate::upstream::collect;

/// After this the gateway's server cuts a client that still waits; the transaction goes on.
const CLIENT_PATIENCE: Duration = Duration::from_secs(200);

/// Answers one client.
pub(crate) async fn handle(shared: Arc<Shared>, tasks: TaskTracker, request: Request<Incoming>) -> Served {
    let path = path::decode(request.uri().path()).into_owned();
    match route::find(&shared.config.routers, &path) {
        Route::Nowhere => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
        Route::WithoutSlash => plain(StatusCode::BAD_REQUEST, "Unsupported path without '/'\n"),
        Route::Elsewhere(clean) => redirect(&clean, request.uri().query()),
        Route::To { router, subpath } => {
            let now = shared.clock.now();
            let (head, body) = request.into_parts();
            let ingress = Ingress {
                method: head.method,
                router,
                subpath,
                query: head.uri.query().filter(|query| !query.is_empty()).map(Query::parse),
                headers: Headers::from_wire(&head.headers),
            };
            transact(Transaction::new(shared, ingress, now), tasks, body).await
        }
    }
}

/// The transaction runs in a task of its own, because it goes on when the client leaves.
async fn transact(mut transaction: Transaction, tasks: TaskTracker, body: Incoming) -> Served {
    let Ok(body) = collect(body).await else {
        tasks.spawn(transaction.broken_off());
        return Err(HangUp);
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
    let answer = tokio::time::timeout(CLIENT_PATIENCE, answered).await;
    answer.map_err(|_| HangUp)?.map_err(|_| HangUp)??.into_http()
}

fn plain(status: StatusCode, text: &'static str) -> Served {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

fn redirect(clean: &str, query: Option<&str>) -> Served {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}{query}", path::encode(clean));
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&location).map_err(|_| HangUp)?);
    Ok(response)
}
