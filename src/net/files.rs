//! Files, for rooms that take texts: what `include` names.

use std::fs;
use std::path::Path;

/// The files that an `include` pattern names, sorted, with their texts.
pub fn include(pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let read = |name: String| match fs::read(&name) {
        Ok(text) => Ok((name, text)),
        Err(e) => Err(format!("Fatal error, can't open config file '{name}': {e}")),
    };
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![read(pattern.to_string())?]);
    }
    let mut found = vec![String::new()];
    for (i, part) in pattern.split('/').enumerate() {
        found = found.into_iter().flat_map(|base| matching(&base, part, i)).collect();
    }
    found.sort();
    found.into_iter().filter(|f| Path::new(f).is_file()).map(read).collect()
}

/// The entries below `base` that match one part of a pattern.
fn matching(base: &str, part: &str, depth: usize) -> Vec<String> {
    let join = |name: &str| if depth == 0 { name.to_string() } else { format!("{base}/{name}") };
    if !part.contains(['*', '?', '[']) {
        return vec![join(part)];
    }
    let folder = match (depth, base) {
        (0, _) => ".",
        (_, "") => "/",
        (_, base) => base,
    };
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.file_name());
    names
        .filter_map(|n| n.into_string().ok())
        .filter(|n| crate::util::glob::matches(part.as_bytes(), n.as_bytes(), false))
        .filter(|n| !n.starts_with('.') || part.starts_with('.'))
        .map(|n| join(&n))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_name_sorted_files() {
        let dir = std::env::temp_dir().join(format!("shoal-include-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        for (name, text) in [("b.conf", "b"), ("a.conf", "a"), ("sub/c.conf", "c"), (".d.conf", "d")] {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let texts = |p: &str| -> String {
            let found = super::include(&format!("{}/{p}", dir.display())).unwrap();
            found.into_iter().map(|(_, text)| String::from_utf8(text).unwrap()).collect()
        };
        assert_eq!([texts("*.conf"), texts("s*/*.conf"), texts("none*")], ["ab", "c", ""]);
        assert!(super::include(&format!("{}/none", dir.display())).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
