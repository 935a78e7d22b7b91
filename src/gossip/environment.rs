//! The configuration of a node from environment variables. Errors name the variable, including those found later by
//! `validate` and the start.

use std::ffi::OsString;

use super::{
    config::GossipConfig,
    config_text::{KEYS, wrong},
};
use crate::{Error, text::did_you_mean};

/// The variables that begin with a prefix.
pub(crate) struct Variables {
    prefix: String,
    /// The names without the prefix, and the values; sorted, so that the first error is always the same.
    found: Vec<(String, String)>,
}

impl GossipConfig {
    /// A configuration from environment variables whose names begin with `prefix`, followed by a key of [`set`](Self::set)
    /// in upper case: with the prefix `SWIM_` the variable `SWIM_BIND` sets `bind`, and `SWIM_PROBE_INTERVAL_MS` the probe
    /// interval. `TAG_ROLE` sets the tag `role`: keys of tags become lower case.
    ///
    /// `NAME` is required: the name of the node. `PRESET` is `lan`, which is the default, `wan` or `local`. `JOIN`, `ALLOW`
    /// and `KEY` may hold several values with commas between them; a seed `exec:…` reaches to the end of the value, since
    /// commands may contain commas.
    ///
    /// A variable with the prefix whose key is not known is an error, as it is most often misspelt: choose a prefix that no
    /// other program uses. [`GossipDiscovery::from_env`](crate::GossipDiscovery::from_env) accepts a few more keys.
    ///
    /// ```no_run
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// // SWIM_NAME=node-a SWIM_JOIN=10.0.0.5,10.0.0.6 program
    /// let node = Gossip::start(GossipConfig::from_env("SWIM_")?)?;
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] that names the variable, what is wrong and what is accepted; also if there is no name or no such
    /// preset, or a value is not UTF-8. Errors of the configuration as a whole are found by [`validate`](Self::validate) and
    /// at the start, and name the variables as well.
    pub fn from_env(prefix: &str) -> Result<Self, Error> {
        Variables::read(prefix, std::env::vars_os())?.into_config(&[], |_, _| Ok(()))
    }

    /// Names the variables in an error about a configuration that was made from the environment, so that its reader finds
    /// what to change.
    pub(super) fn by_variables(&self, error: Error) -> Error {
        let (Some(prefix), Error::Config { field, problem }) = (&self.env_prefix, &error) else {
            return error;
        };
        let keys = KEYS.iter().map(|entry| (entry.key.trim_end_matches("_ms"), entry.key));
        let names: Vec<_> = [("name", "name"), ("seeds", "join")]
            .into_iter()
            .chain(keys)
            .map(|(field, key)| (field, variable(prefix, key)))
            .collect();
        let named = names.iter().find(|(known, _)| known == field).map_or(&**field, |(_, variable)| variable);
        let problem = names.iter().fold(problem.clone(), |text, (field, variable)| {
            text.replace(&format!("`{field}`"), &format!("`{variable}`"))
        });
        Error::config(named.to_owned(), problem)
    }
}

impl Variables {
    pub(crate) fn read(
        prefix: &str,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Error> {
        let mut found = Vec::new();
        for (variable, value) in variables {
            let Some(key) = variable.to_str().and_then(|variable| variable.strip_prefix(prefix)) else {
                continue;
            };
            let value = value
                .into_string()
                .map_err(|_| Error::config(format!("{prefix}{key}"), "is not UTF-8; write it as UTF-8"))?;
            found.push((key.to_owned(), value));
        }
        found.sort_unstable();
        Ok(Self { prefix: prefix.into(), found })
    }

    /// The configuration from these variables. `set_more` receives the keys `more`.
    pub(crate) fn into_config(
        mut self,
        more: &[&str],
        mut set_more: impl FnMut(&str, &str) -> Result<(), Error>,
    ) -> Result<GossipConfig, Error> {
        let name = self.take("NAME").ok_or_else(|| {
            Error::config(
                format!("{}NAME", self.prefix),
                "is not set: give the node a name, unique in the cluster",
            )
        })?;
        let preset = self.take("PRESET").unwrap_or_else(|| "lan".into());
        let mut config = GossipConfig::preset(&preset, name)
            .ok_or_else(|| wrong(format!("{}PRESET", self.prefix), &preset, "lan, wan or local"))?;
        config.env_prefix = Some(self.prefix.clone());
        for (variable, value) in &self.found {
            // The environment's keys are in upper case: `probe_interval_ms` is not one of them.
            let key = if variable.contains(|c: char| c.is_ascii_lowercase()) {
                ""
            } else {
                &*variable.to_ascii_lowercase()
            };
            let set = match (key, key.strip_prefix("tag_")) {
                (_, Some(tag)) => config.set(&format!("tag.{tag}"), value),
                _ if more.contains(&key) => set_more(key, value),
                ("join" | "allow" | "key", _) if !value.is_empty() => {
                    list(value).into_iter().try_for_each(|value| config.set(key, value))
                }
                _ if KEYS.iter().any(|entry| entry.key == key) => config.set(key, value),
                _ => Err(Error::config(key.to_owned(), self.unknown(variable, more))),
            };
            set.map_err(|error| {
                let problem = match error {
                    Error::Config { problem, .. } => problem,
                    Error::Key { problem } => format!("is not a key: {problem}"),
                    error => format!("cannot be used: {error}"),
                };
                Error::config(format!("{}{variable}", self.prefix), problem)
            })?;
        }
        Ok(config)
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.found.iter().position(|(known, _)| known == key)?;
        Some(self.found.remove(at).1)
    }

    fn unknown(&self, wrong: &str, more: &[&str]) -> String {
        let keys = ["name", "preset", "tag_KEY"].into_iter().chain(more.iter().copied());
        let keys = keys.chain(KEYS.iter().map(|entry| entry.key)).map(|key| variable("", key));
        let keys = keys.collect::<Vec<_>>();
        let meant = did_you_mean(wrong, keys.iter().map(String::as_str));
        format!("is not known{meant}; behind `{}` comes one of {}", self.prefix, keys.join(", "))
    }
}

fn variable(prefix: &str, key: &str) -> String {
    format!("{prefix}{}", key.to_ascii_uppercase())
}

/// Values with commas between them. A value that begins with `exec:` reaches to the end.
fn list(text: &str) -> Vec<&str> {
    let (mut values, mut rest) = (Vec::new(), text);
    while !rest.trim_start().starts_with("exec:") {
        let Some((value, others)) = rest.split_once(',') else { break };
        values.push(value.trim());
        rest = others;
    }
    values.push(rest.trim());
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<GossipConfig, Error> {
        let variables = variables.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        Variables::read("SWIM_", variables)?.into_config(&["more"], |key, value| {
            assert_eq!((key, value), ("more", "all"));
            Ok(())
        })
    }

    /// If the secret with the key was not mounted, the node must not run without encryption.
    #[cfg(feature = "encryption")]
    #[test]
    fn encryption_without_a_key_is_refused() {
        for (encryption, works) in [("require", false), ("send", false), ("accept", true)] {
            let config = from(&[("SWIM_NAME", "n"), ("SWIM_ENCRYPTION", encryption)]);
            let checked = config.and_then(|config| config.validate());
            assert_eq!(checked.is_ok(), works, "{encryption}");
            if let Err(error) = checked {
                assert!(error.to_string().contains("set `SWIM_KEY` too"), "{error}");
            }
        }
    }

    #[test]
    fn errors_that_show_later_name_the_variables_too() {
        let problem = |variables: &[(&str, &str)]| {
            let config = from(&[&[("SWIM_BIND", "127.0.0.1:0")], variables].concat()).unwrap();
            let found = config.validate().unwrap_err().to_string();
            assert_eq!(crate::Gossip::start(config).unwrap_err().to_string(), found);
            found
        };
        let with = |key, value| problem(&[("SWIM_NAME", "a"), (key, value)]);
        assert!(problem(&[("SWIM_NAME", "")]).contains("`SWIM_NAME` must have 1 to 128 bytes"));
        assert!(with("SWIM_CLUSTER", "").contains("`SWIM_CLUSTER` must have 1 to 128 bytes"));
        let late = "`SWIM_PROBE_TIMEOUT_MS` must be less than `SWIM_PROBE_INTERVAL_MS`";
        assert!(with("SWIM_PROBE_INTERVAL_MS", "100").contains(late));
        assert!(with("SWIM_JOIN", "[::1]:1").contains("`SWIM_BIND` is 127.0.0.1, of IPv4 alone"));
        assert!(
            with("SWIM_ADVERTISE", "224.0.0.1")
                .contains("`SWIM_ADVERTISE` has 224.0.0.1, which is a multicast")
        );
    }

    #[test]
    fn the_environment_has_the_same_keys_in_upper_case() {
        let config = from(&[
            ("SWIM_NAME", "a"),
            ("SWIM_PRESET", "wan"),
            ("SWIM_PROBE_INTERVAL_MS", "7000"),
            ("SWIM_TAG_ROLE", "db"),
            ("SWIM_JOIN", "a, b:1,exec:list a, b"),
            ("SWIM_ALLOW", ""),
            ("SWIM_MORE", "all"),
            ("SWIM", "x"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!((&*config.swim.name, config.swim.probe_interval.as_secs()), ("a", 7));
        assert_eq!(config.swim.suspicion_mult, GossipConfig::wan("a").swim.suspicion_mult);
        assert_eq!((config.tags.get("role"), config.swim.allow), (Some("db"), Some(vec![])));
        assert_eq!(config.seeds, ["a", "b:1", "exec:list a, b"]);
    }

    #[test]
    fn a_variable_that_cannot_be_meant_is_an_error_that_names_it() {
        let problem = |variables: &[(&str, &str)]| from(variables).unwrap_err().to_string();
        assert!(problem(&[]).contains("`SWIM_NAME` is not set: give"));
        let with = |key: &str, value: &str| problem(&[("SWIM_NAME", "a"), (key, value)]);
        assert!(
            with("SWIM_PRESET", "mars").contains("`SWIM_PRESET` is \"mars\"; it must be lan, wan or local")
        );
        assert!(with("SWIM_ALOW", "10.0.0.0/8").contains(
            "`SWIM_ALOW` is not known (did you mean `ALLOW`?); behind `SWIM_` comes one of NAME, PRESET, TAG_KEY, MORE, CLUSTER"
        ));
        assert!(with("SWIM_NACKS", "yes").contains("`SWIM_NACKS` is \"yes\"; it must be true or false"));
        assert!(with("SWIM_nacks", "true").contains("`SWIM_nacks` is not known"));
        assert!(with("SWIM_JOIN", "a,,b").contains("`SWIM_JOIN` has \"\", which has no host"));
        assert!(
            with("SWIM_TAG_A", "\n").contains("`SWIM_TAG_A` have a control character"),
            "{}",
            with("SWIM_TAG_A", "\n")
        );
        let long = "x".repeat(600);
        assert!(
            with("SWIM_TAG_A", &long).contains("`SWIM_TAG_A` is too large: 605 bytes of tags, 512 at most")
        );
        #[cfg(feature = "encryption")]
        assert!(with("SWIM_KEY", "0102").contains("`SWIM_KEY` is not a key: a key is 64"));
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt;

            let value = OsString::from_vec(vec![0xff]);
            let error = Variables::read("SWIM_", [("SWIM_BIND".into(), value)].into_iter()).map(drop);
            assert!(error.unwrap_err().to_string().contains("`SWIM_BIND` is not UTF-8"));
        }
    }
}
