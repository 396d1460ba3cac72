//! Exports the replaced `getrandom` of `scenes/entropy.rs`: the crate of that name looks it up by
//! `dlsym`, which sees exported symbols only.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-tests=-Wl,--export-dynamic-symbol=getrandom");
}
