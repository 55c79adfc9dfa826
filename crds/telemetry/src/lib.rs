//! Logs, metrics and health endpoints, shared by operator and agent.
