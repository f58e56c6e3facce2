//! Fixtures for the tiers under `tests/`.
