//! What the operating system gives this process: descriptors, threads, memory, files. What it does not give is this process's
//! own lack and nobody else's fault, and what it gives late is not waited for.

pub mod descriptors;
pub mod files;
