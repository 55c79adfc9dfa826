//! The node agent: verifies intents, enforces them, reads the kernel back and reports.
