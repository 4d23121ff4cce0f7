//! What the operating system gives this process: descriptors, threads, memory, files. What it does not give is this process's
//! own lack and no target's fault, and what it delivers late is not awaited.

pub mod descriptors;
pub mod files;
pub mod queue;
