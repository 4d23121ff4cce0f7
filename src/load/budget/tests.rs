//! Budgets on a stopped clock.
