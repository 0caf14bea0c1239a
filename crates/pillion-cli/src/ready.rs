//! The value of `--ready`, in the words of the declaration's `ready`.

use pillion::{ExecCheck, HttpCheck, LineCheck, ReadyCheck};

use crate::run::path;

/// Reads a check: `health`, `tcp`, `notify`, `started`, `http:PATH`, `line:REGEX` or `exec:COMMAND`.
pub(crate) fn parse(text: &str) -> Result<ReadyCheck, String> {
    match text {
        "health" => return Ok(ReadyCheck::Health),
        "tcp" => return Ok(ReadyCheck::Tcp),
        "notify" => return Ok(ReadyCheck::Notify),
        "started" => return Ok(ReadyCheck::Started),
        _ => {}
    }
    match text.split_once(':') {
        Some(("http", value)) => Ok(ReadyCheck::Http(HttpCheck::new(path(value)?))),
        Some(("line", value)) => {
            LineCheck::new(value).map(ReadyCheck::Line).map_err(|error| error.to_string())
        }
        Some(("exec", value)) => {
            let words = shlex::split(value).ok_or("close the quotation marks of the command")?;
            let mut words = words.into_iter();
            let program = words.next().ok_or("name a command, for example exec:pg_isready")?;
            Ok(ReadyCheck::Exec(ExecCheck::new(program).args(words)))
        }
        _ => Err("use health, http:PATH, tcp, line:REGEX, exec:COMMAND, notify or started".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_of_a_declaration_has_its_word() {
        assert!(matches!(parse("health"), Ok(ReadyCheck::Health)));
        assert!(matches!(parse("tcp"), Ok(ReadyCheck::Tcp)));
        assert!(matches!(parse("notify"), Ok(ReadyCheck::Notify)));
        assert!(matches!(parse("started"), Ok(ReadyCheck::Started)));
        assert!(
            matches!(parse("http:/a?b=c:d"), Ok(ReadyCheck::Http(check)) if check == HttpCheck::new("/a?b=c:d"))
        );
        assert!(matches!(parse("line:port: (?<port>[0-9]+)"), Ok(ReadyCheck::Line(check))
                if check.to_string().contains("port: (?<port>[0-9]+)")));
        let words = ExecCheck::new("redis-cli").args(["-p", "${port}", "a b"]);
        assert!(
            matches!(parse("exec:redis-cli -p '${port}' \"a b\""), Ok(ReadyCheck::Exec(check)) if check == words)
        );
    }

    #[test]
    fn an_invalid_check_says_what_to_write() {
        for (text, says) in [
            ("healthy", "use health, http:PATH, tcp"),
            ("https:/health", "use health, http:PATH, tcp"),
            ("http:health", "a path starts with /"),
            ("line:(", "is not a regular expression"),
            ("exec:", "name a command"),
            ("exec:sh -c 'true", "quotation marks"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
