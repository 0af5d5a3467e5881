//! Tells of one run of the lab, for who hunts: `cargo run -p highwater-tests --example lab -- SEED [wide]`.

fn main() {
    let seed = std::env::args().nth(1).and_then(|given| given.parse().ok());
    let Some(seed) = seed else {
        eprintln!("which seed? cargo run -p highwater-tests --example lab -- SEED [wide]");
        std::process::exit(2);
    };
    let is_wide = std::env::args().nth(2).is_some_and(|given| given == "wide");
    let (outcome, told) =
        if is_wide { highwater::lab::trace_wide(seed) } else { highwater::lab::trace(seed) };
    print!("{told}");
    println!("{outcome:?}");
    std::process::exit(i32::from(outcome.is_err()));
}
