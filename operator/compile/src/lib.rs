//! The pure compiler: a snapshot of the cluster in, intents and verdicts out.
