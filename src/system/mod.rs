//! Resources of the operating system: descriptors, threads, memory, files. A lack of them is this process's problem and not a
//! target's fault, and operations of the system have timeouts.

pub mod descriptors;
pub mod files;
pub mod queue;
