# cargo: fetches a dependency from crates.io and publishes a crate.
PATH=$(dirname "$CARGO"):$PATH
export CARGO_HOME="$PWD/home" CARGO_NET_RETRY=0 CARGO_TERM_QUIET=true
mkdir -p crate/src
cd crate
printf '[package]\nname = "acme-published"\nversion = "1.0.0"\nedition = "2021"\ndescription = "d"\nlicense = "MIT"\n[dependencies]\nacme-fetched = "1"\n' >Cargo.toml
: >src/lib.rs
"$CARGO" fetch
"$CARGO" publish --no-verify --allow-dirty
