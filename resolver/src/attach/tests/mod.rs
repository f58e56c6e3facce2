//! Attachments over the embedded store, with one replica or several.

mod asserted;
mod boots;
mod costs;
mod life;
mod lost;
mod races;
mod refusals;
mod requests;
mod sticky;
