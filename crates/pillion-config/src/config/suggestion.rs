//! The field that was meant, in the message of serde, which names about forty.

/// How alike two names must be, by Jaro and Winkler, who favour a common beginning: the least of 1 at which a name is no guess.
const ALIKE: f64 = 0.8;

/// Adds the nearest of the names that serde's message lists, if one is near; the message stays as it is otherwise. Its form is that of
/// `serde::de::Error::unknown_field`.
pub(super) fn with_nearest(message: String) -> String {
    let nearest = message.strip_prefix("unknown field `").and_then(|rest| {
        let (unknown, expected) = rest.split_once("`, expected ")?;
        let fields = expected.split('`').skip(1).step_by(2);
        let alike = fields.map(|field| (strsim::jaro_winkler(unknown, field), field));
        let (_, nearest) =
            alike.filter(|(alike, _)| *alike >= ALIKE).max_by(|(one, _), (other, _)| one.total_cmp(other))?;
        Some(format!("unknown field `{unknown}` (did you mean `{nearest}`?), expected {expected}"))
    });
    nearest.unwrap_or(message)
}
