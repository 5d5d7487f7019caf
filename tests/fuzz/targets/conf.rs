//! Configuration files, command lines and nodes.conf: taken or refused; what is taken is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::cluster::conf;
use shoal::config::{Source, parse, rewrite};

fn no_files(pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    Err(format!("no file {pattern}"))
}

fuzz_target!(|data: &[u8]| {
    if let Ok(loaded) = parse(&[Source::File { name: "some.conf", text: data }], &mut no_files) {
        let text = rewrite(data, &loaded.config, &[]);
        let again = parse(&[Source::File { name: "some.conf", text: &text }], &mut no_files);
        assert!(again.is_ok(), "{}", String::from_utf8_lossy(&text));
    }
    let line = String::from_utf8_lossy(data);
    let _ = parse(&[Source::CommandLine(&line)], &mut no_files);
    if let Ok(Some(nodes)) = conf::parse(data) {
        let text = conf::render(&nodes);
        assert_eq!(conf::parse(text.as_bytes()).as_ref(), Ok(&Some(nodes)), "{text}");
    }
});
