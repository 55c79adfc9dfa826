//! The chained CNI plugin: a thin client of the agent's socket.
