//! What is to be reached.

use crate::results::Results;
use crate::table;

#[test]
#[ignore = "prints"]
fn show() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3);
    println!("{}", table::markdown(&Results::play(seeds)));
}
