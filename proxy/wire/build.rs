//! Lists the presets: a file in `presets/` is one, so that a new one needs no code.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo looks at every file of the folder.
    println!("cargo::rerun-if-changed=presets");
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("presets");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            names.push(name_of(&file)?);
        }
    }
    // The order of a folder is not the same everywhere.
    names.sort_unstable();
    let lines = names.iter().map(|name| {
        format!("    (\"{name}\", include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/presets/{name}.toml\"))),\n")
    });
    let text = format!(
        "/// Name and text.\nconst PRESETS: [(&str, &str); {}] = [\n{}];\n",
        names.len(),
        lines.collect::<String>()
    );
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("presets.rs"), text)?;
    Ok(())
}

/// What a service writes as `preset`.
fn name_of(file: &Path) -> Result<String, String> {
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(format!("`{}`: a preset is named by lower-case letters, digits and `-`", file.display()));
    }
    Ok(name.to_owned())
}
