//! A simulated gecholog gateway, and fake LLMs, to show and test a processor on one machine.
//!
//! It implements the gateway's contract toward processors, log listeners and clients, as `docs/gateway-protocol.md`
//! describes it. It has no TLS on either side, no persistence and no tuning, and depends on no particular processor.
//!
//! The modules, in the order in which a request passes them:
//!
//! - [`config`]: the gateway's own configuration file, read as the gateway reads it.
//! - [`gateway`]: start and stop; `serve` accepts connections, `ingress` turns HTTP into transactions.
//! - `route`, `path`: which router serves a path, and how paths are cleaned and joined.
//! - `transaction`: one request from ingress to egress, in the documented order; `outbound` and `egress` are its two
//!   merges, `log` publishes its log.
//! - `processors`, `bus`: rows of processors, called over NATS.
//! - `upstream`, `long_uri`: the call to the LLM and what each failure looks like; URIs over 64 kB.
//! - `object`, `side`, `payload`, `headers`, `query`, `session`, `clock`: the types that these use.
//! - [`nats_server`]: a real bus, as a child process.
//! - [`llm`]: a fake LLM whose behaviour can be changed while it runs; [`script`]: its faults by time.
//! - [`vendors`]: fake vendors of models, each in its own protocol, which refuse what the vendors refuse.
//!
//! # Known differences from the real gateway
//!
//! The bus and the process:
//!
//! - When the bus is lost, the real process ends after about nine seconds; this one goes on until the bus returns.
//! - There is no checksum file, no `--validate` and no `--version`, and clients are served on loopback only.
//! - The version 0.92.1 is found only in a file that is JSON before its variables are expanded, in any case of the key.
//! - A router with the path `//` makes the real gateway answer 400 instead of 404 to every path without a router.
//!
//! Clients:
//!
//! - Unclean paths are redirected with 307 and no body; by Go version the real gateway uses 301, with a page for GET.
//! - A status 1xx set by a processor is not sent as an informational answer first: the client gets 200 only, with 101 too.
//! - `OPTIONS *` is 404 here and 200 there.
//! - More than 4,000 headers are refused, and so is a URI over 64 kB in a pipelined request.
//! - Sending a request's body may take longer than 200 s.
//! - Control characters other than line ends in a header value of a processor: the header is left out, there it is sent.
//! - A `Transfer-Encoding` header set by a processor is not obeyed.
//! - Bytes of a header's value that are not UTF-8 are replaced by U+FFFD, in masked headers too; there a masked header goes on byte
//!   for byte.
//!
//! Upstreams:
//!
//! - An https upstream is answered as the real one does when it trusts no certificate: 502 (503 if the name is unknown).
//! - Idle connections are not limited to two per host, and end after 90 s; there they are kept as long as upstream does.
//! - A GET, or a call with an `Idempotency-Key`, on a kept connection that upstream closes without an answer is a failure;
//!   Go sends it again on a new connection.
//! - 101 has an empty body; header lines folded over two lines are a failure.
//! - Whether another port is another host, for credentials on a redirect, depends on the Go version; here it is not.
//!
//! Messages:
//!
//! - Texts of JSON errors are our own.
//! - JSON nested deeper than 10,000 levels is JSON here and text there.
//! - Where the real gateway goes through a Go map (the first missing ingress header, the values of one header in two
//!   spellings, lists of processors and errors), its order is random; here it is sorted.

mod bus;
mod clock;
pub mod config;
mod egress;
pub mod gateway;
mod headers;
mod ingress;
pub mod llm;
mod log;
mod long_uri;
pub mod nats_server;
mod object;
mod outbound;
mod path;
mod payload;
mod processors;
mod query;
mod route;
pub mod script;
mod serve;
mod session;
mod side;
mod target;
mod transaction;
mod upstream;
pub mod vendors;
