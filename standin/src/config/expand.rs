//! Environment variables in the configuration text, replaced as the gateway does it.
//!
//! Purely textual: `$NAME` and `${NAME}` anywhere, braces optional on either side, an unset name is empty, and there is
//! no escape. A value that breaks the JSON makes the file invalid, as in the gateway.

pub(super) fn expand(text: &str, env: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let named = after.strip_prefix('{').unwrap_or(after);
        let length = named.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        if length == 0 {
            expanded.push('$');
            rest = after;
            continue;
        }
        let (name, behind) = named.split_at(length);
        expanded.push_str(&env(name).unwrap_or_default());
        rest = behind.strip_prefix('}').unwrap_or(behind);
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion_is_textual() {
        let env = |name: &str| (name == "G").then(|| "v".to_owned());
        for (text, expanded) in [
            ("${G} $G", "v v"),
            ("${G:-x}", "v:-x}"),
            ("$G} ${G", "v v"),
            ("a ${UNSET}b$5c", "a b"),
            ("costs $ and $-1 ${}", "costs $ and $-1 ${}"),
            ("$$G", "$v"),
            (r#"{"gl_port": $G}"#, r#"{"gl_port": v"#),
        ] {
            assert_eq!(expand(text, env), expanded, "{text}");
        }
    }
}
