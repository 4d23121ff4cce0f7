//! The routing brain beside the gecholog LLM gateway.
