//! The pure planner: what a host should look like, what it looks like, and the steps between.
