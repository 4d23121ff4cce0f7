//! A stand-in for the gecholog gateway.
