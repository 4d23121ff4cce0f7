//! The thread that sends calls as spans, in batches, with OpenTelemetry's exporter and the HTTP client of the relay.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter;
use tokio::runtime;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{Instant, sleep, timeout};

use super::{TraceSettings, TracedCall, TracedCalls, spans};
use crate::fault::with_causes;
use crate::relay::Proxy;
use crate::relay::client::{self, Client, ConnectTimeout};
use crate::system::queue::Queued;
use crate::telemetry::ExportResult;

/// Calls that are sent in one request.
const MAX_BATCH_CALLS: usize = 128;
/// Prompts and answers of the calls in one request, in bytes; the last call may exceed it, and each is sent in two forms.
/// Langfuse takes requests of some megabytes.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// The first call of a request waits this long for others.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// Interval at which the queue is read meanwhile. To wake this thread for each call would cost the thread of the call as much as
/// everything else that it does for a trace.
const GATHER_INTERVAL: Duration = Duration::from_millis(20);
/// The least interval between two log lines about a collector that rejects calls.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// The longest answer of a collector that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Exporter {
    settings: TraceSettings,
    otlp: OtlpExporter,
    /// Error of the last failed request.
    fault: Arc<Mutex<String>>,
    counts: Arc<TracedCalls>,
    said: Option<Instant>,
    /// The count of lost calls at the last log line.
    lost: u64,
}

impl Exporter {
    pub(super) fn new(settings: TraceSettings, proxy: Proxy, counts: Arc<TracedCalls>) -> io::Result<Self> {
        let authorities = settings.authorities.as_deref();
        let connect = ConnectTimeout::new(CONNECT_TIMEOUT);
        let clients = client::build(authorities, proxy, connect).map_err(io::Error::other)?;
        let fault = Arc::new(Mutex::new(String::new()));
        let transport = Transport { client: clients.pooled, timeout: settings.timeout, fault: Arc::clone(&fault) };
        let headers = settings.headers.iter().map(|(name, value)| (name.clone(), value.0.clone()));
        let mut otlp = OtlpExporter::builder()
            .with_http()
            .with_http_client(transport)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.to_string())
            .with_timeout(settings.timeout)
            .with_headers(headers.collect::<HashMap<_, _>>())
            .build()
            .map_err(io::Error::other)?;
        let attributes = settings.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        otlp.set_resource(&Resource::builder_empty().with_attributes(attributes).build());
        Ok(Self { settings, otlp, fault, counts, said: None, lost: 0 })
    }

    /// Sends until the queue is closed and empty.
    pub(super) fn run(mut self, records: Receiver<Queued<TracedCall>>) {
        match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.serve(records)),
            Err(error) => tracing::warn!(%error, "no traces: cannot start a runtime"),
        }
    }

    async fn serve(&mut self, mut records: Receiver<Queued<TracedCall>>) {
        while let Some(first) = records.recv().await {
            let until = Instant::now() + MAX_DELAY;
            let (mut bytes, mut batch) = (first.bytes(), vec![first]);
            while batch.len() < MAX_BATCH_CALLS && bytes < MAX_BATCH_BYTES {
                match records.try_recv() {
                    Ok(more) => {
                        bytes += more.bytes();
                        batch.push(more);
                    }
                    Err(TryRecvError::Empty) if Instant::now() < until => sleep(GATHER_INTERVAL).await,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.send(batch).await;
        }
    }

    async fn send(&mut self, mut batch: Vec<Queued<TracedCall>>) {
        batch.retain(|call| {
            let record = &call.record;
            let parent = record.context.parent.filter(|_| self.settings.trusts_clients);
            let taken = self.settings.sampling.takes(spans::trace_of(record), parent);
            if !taken {
                self.counts.count(ExportResult::NotSampled, record.at);
            }
            taken
        });
        if batch.is_empty() {
            return;
        }
        let spans = batch.iter().flat_map(|call| spans::spans(&call.record, &call.content)).collect();
        // The exporter retries within its timeout, and waits in between; all of it together must not take longer.
        let sent = timeout(self.settings.timeout, self.otlp.export(spans)).await;
        let result = if matches!(sent, Ok(Ok(()))) { ExportResult::Exported } else { ExportResult::Failed };
        for call in &batch {
            self.counts.count(result, call.record.at);
        }
        self.log_losses(match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(self.take_fault().unwrap_or_else(|| error.to_string())),
            Err(_) => Some("no answer in time".to_owned()),
        });
    }

    fn take_fault(&self) -> Option<String> {
        let fault = std::mem::take(&mut *self.fault.lock().unwrap_or_else(PoisonError::into_inner));
        (!fault.is_empty()).then_some(fault)
    }

    /// Logs the number of lost calls since the last line, if it is time.
    fn log_losses(&mut self, fault: Option<String>) {
        let lost = self.counts.total(ExportResult::Failed) + self.counts.total(ExportResult::QueueFull);
        let is_due = self.said.is_none_or(|said| said.elapsed() >= LOG_INTERVAL);
        if lost > self.lost && is_due {
            let why = fault.unwrap_or_else(|| "calls arrive faster than the collector accepts them".to_owned());
            let (endpoint, lost) = (self.settings.shown_endpoint(), lost - self.lost);
            tracing::warn!(endpoint, lost, why, "calls could not be sent as traces (logged at most once a minute)");
            self.said = Some(Instant::now());
            self.lost += lost;
        }
    }
}

/// The relay's HTTP client, as a client of OpenTelemetry's exporter.
struct Transport {
    client: Client,
    timeout: Duration,
    fault: Arc<Mutex<String>>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Transport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let answer = self.client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        let answer = timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err("no answer in time".into()));
        let fault = match &answer {
            Ok(answer) if answer.status().is_success() => String::new(),
            Ok(answer) => format!("the collector answers {}", answer.status()),
            Err(error) => with_causes(error.as_ref()),
        };
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        answer
    }
}

impl HttpClient for Transport {
    // The expansion of `async_trait`, without that crate.
    fn send_bytes<'a, 'f>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(self.send(request))
    }
}
