#!/bin/sh
# Installs the package `said` by one package manager and prints what it holds. Usage: packages.sh MANAGER BASE_URL
# PYTHON, UV, NODE, NPM and CARGO say where they are.
set -eu
case $1 in
pip)
    "$PYTHON" -m pip install --quiet --no-cache-dir --disable-pip-version-check --retries 0 --target here --index-url "$2/simple/" said
    cat here/said.txt
    ;;
uv)
    "$UV" --quiet pip install --no-cache --python "$PYTHON" --target here --index-url "$2/simple/" said
    cat here/said.txt
    ;;
npm)
    "$NODE" "$NPM" install --silent --no-audit --no-fund --no-update-notifier --fetch-retries 0 --cache cache --prefix . --registry "$2/" said
    cat node_modules/said/said.txt
    ;;
cargo)
    mkdir -p src .cargo
    printf '[package]\nname = "user"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nsaid = "1"\n' >Cargo.toml
    printf 'fn main() {}\n' >src/main.rs
    printf '[source.crates-io]\nreplace-with = "here"\n[source.here]\nregistry = "sparse+%s/index/"\n[net]\nretry = 0\n' "$2" >.cargo/config.toml
    CARGO_HOME=home "$CARGO" fetch --quiet
    tar -xzOf home/registry/cache/*/said-1.0.0.crate said-1.0.0/said.txt
    ;;
esac
