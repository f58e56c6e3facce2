//! Knap's decisions, pure: no cluster, no clock, no I/O. Others fetch, translate and store.
