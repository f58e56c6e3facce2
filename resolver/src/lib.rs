//! Knap's operator and HTTP service: decides what each attachment gets, and remembers it.

pub mod store;
