//! Proof by simulation: fake upstreams with scripted faults, a stream of calls, messages that come late, twice or never, and
//! several policies on the same luck. The broker in it is the real one, with a stopped clock.
//!
//! Nothing in here looks at a clock, a file or the network, but the one test that writes the table. What is asserted is the
//! ranking, never a digit.
//!
//! - `scenario`, `upstream`: what goes wrong. `call`: one call. `engine`: the events in order of time.
//! - `policy`: what is asked of a policy; `policies`: all of them, the broker's among them.
//! - `watch`: what happened, seen from outside; `figures`, `results`, `table`: in numbers.
//! - `ranking`: what is to be reached. `million`: events without sense or order.

#![expect(
    clippy::disallowed_methods,
    reason = "the harness reads SEED and writes docs/health.md; the balancer does neither"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]
#![allow(clippy::print_stdout, reason = "`make simulate` says what it wrote")]

mod call;
mod engine;
mod figures;
mod million;
mod policies;
mod policy;
mod ranking;
mod results;
mod scenario;
mod table;
mod upstream;
mod watch;
