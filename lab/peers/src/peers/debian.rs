//! Debian's packages of peers, if they are installed.

use std::process::Command;

/// The version of a package, if it is installed.
pub(super) fn version(package: &str) -> Result<String, String> {
    let missing = || format!("Debian's {package} is not installed");
    let query = ["--show", "--showformat=${db:Status-Abbrev}${Version}", package];
    let output = Command::new("dpkg-query").args(query).output().map_err(|_| missing())?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Of a package that was removed, the version of its configuration is still known.
    let version = text.strip_prefix("ii ").ok_or_else(missing)?;
    Ok(format!("{version} of Debian"))
}
