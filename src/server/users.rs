//! The users that a host starts with.

use crate::command::acl::{Terms, Users, file};
use crate::command::table;
use crate::config::Config;

/// Those that the configuration declares.
pub fn declared(conf: &Config) -> Result<Users, String> {
    file::declared(conf, &Terms::new(&table::CATALOG, conf))
}

/// Those of `aclfile`, if there is one, else the declared ones.
pub fn load(conf: &Config) -> Result<Users, String> {
    let mut users = declared(conf)?;
    let path = &conf.aclfile;
    if !path.is_empty() {
        let text = std::fs::read(path).map_err(|e| {
            let why = e.to_string();
            let why = why.split(" (os error").next().unwrap_or_default();
            aborted(&format!("Error loading ACLs, opening file '{path}': {why}"))
        })?;
        users = file::read(&users, path, &text, &Terms::new(&table::CATALOG, conf))
            .map_err(|errors| aborted(&String::from_utf8_lossy(&errors)))?;
    }
    Ok(users)
}

/// Tells the log who may not log in: it may be meant so, or not.
pub fn tell_of_disabled(users: &Users) {
    for user in users.iter().filter(|user| !user.is_on()) {
        tracing::info!(
            "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure this is not \
             a configuration error.",
            String::from_utf8_lossy(&user.name)
        );
    }
}

fn aborted(why: &str) -> String {
    format!("Aborting Redis startup because of ACL errors: {why}")
}
