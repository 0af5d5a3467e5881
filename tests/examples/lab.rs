//! Tells of one run of the lab, for who hunts: `cargo run -p highwater-tests --example lab -- SEED`.

fn main() {
    let seed = std::env::args().nth(1).and_then(|given| given.parse().ok());
    let Some(seed) = seed else {
        eprintln!("which seed? cargo run -p highwater-tests --example lab -- SEED");
        std::process::exit(2);
    };
    let (outcome, told) = highwater::lab::trace(seed);
    print!("{told}");
    println!("{outcome:?}");
    std::process::exit(i32::from(outcome.is_err()));
}
