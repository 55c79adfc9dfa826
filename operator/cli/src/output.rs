//! Tables for people, JSON and YAML for programs.
