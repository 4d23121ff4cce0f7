//! The SDKs of OpenAI and Anthropic, unchanged but for their addresses.
