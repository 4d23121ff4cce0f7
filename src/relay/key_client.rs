//! Fetches the keys of ours that expire, over the relay's connections.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use tokio::time::timeout;

use super::client::Client;
use crate::provider_auth::{Fetch, FetchError, MAX_BODY_BYTES};

/// From the request to the end of the answer. A call waits for it only where there is no key at all.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The client of those who hand out keys.
#[derive(Debug, Clone)]
pub(super) struct KeyClient(pub(super) Client);

impl Fetch for KeyClient {
    async fn fetch(&self, request: Request<Bytes>) -> Result<Bytes, FetchError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let problem = |problem: String| FetchError::Connection { host: host.clone(), problem };
        let answer = async {
            let answer = self.0.request(request.map(Full::new)).await.map_err(|error| problem(error.to_string()))?;
            let status = answer.status();
            if !status.is_success() {
                return Err(FetchError::Status { host: host.clone(), status: status.as_u16() });
            }
            let body = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|error| problem(error.to_string()))
        };
        timeout(FETCH_TIMEOUT, answer).await.unwrap_or_else(|_| Err(problem("not within five seconds".to_owned())))
    }
}
