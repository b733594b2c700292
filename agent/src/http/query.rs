//! The parameters of a request: `name=value`, between `&`. Nothing in them ever needs percent-encoding, so a `%` is a
//! character like any other, and no parameter allows it.

/// The parameters as they came.
#[derive(Debug)]
pub(super) struct Query<'q>(Vec<(&'q str, &'q str)>);

impl<'q> Query<'q> {
    pub(super) fn parse(query: Option<&'q str>) -> Self {
        let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        Self(parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect())
    }

    /// The value of one parameter.
    ///
    /// # Errors
    /// It stands there twice.
    pub(super) fn get(&self, name: &str) -> Result<Option<&'q str>, String> {
        let mut values = self.0.iter().filter(|(known, _)| *known == name).map(|(_, value)| *value);
        let first = values.next();
        if values.next().is_some() { Err(format!("{name} stands there twice")) } else { Ok(first) }
    }

    /// The same of one that must be there.
    pub(super) fn need(&self, name: &str) -> Result<&'q str, String> {
        self.get(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    /// Nothing but these.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), String> {
        match self.0.iter().find(|(name, _)| !names.contains(name)) {
            Some((name, _)) => {
                Err(format!("there is no parameter {:.40}; known: {}", name.escape_default(), names.join(", ")))
            }
            None => Ok(()),
        }
    }
}

/// A decimal number without leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_as_they_stand() {
        let query = Query::parse(Some("a=1&b=&c&&d=x=y&e=%30"));
        assert_eq!(query.get("a"), Ok(Some("1")));
        assert_eq!(query.get("b"), Ok(Some("")));
        assert_eq!(query.get("c"), Ok(Some("")));
        assert_eq!(query.get("d"), Ok(Some("x=y")));
        assert_eq!(query.get("e"), Ok(Some("%30")));
        assert_eq!(query.get("f"), Ok(None));
        assert_eq!(query.need("f"), Err("f is missing".to_owned()));
        assert_eq!(Query::parse(Some("a=1&a=1")).get("a"), Err("a stands there twice".to_owned()));
        assert_eq!(Query::parse(None).get("a"), Ok(None));
        assert_eq!(Query::parse(None).only(&[]), Ok(()));
        let unknown = query.only(&["a", "b"]).unwrap_err();
        assert_eq!(unknown, "there is no parameter c; known: a, b");
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616", "1e3"] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
    }
}
