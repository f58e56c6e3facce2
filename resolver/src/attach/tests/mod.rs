//! Attachments over the embedded store, with one replica or several.

mod boots;
mod costs;
mod life;
mod lost;
mod races;
mod refusals;
mod requests;
mod sticky;
