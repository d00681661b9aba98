//! Which run or inbox item a few characters mean.
//!
//! For: ids, unique parts of their beginning or end, and `last`. Not for: asking what to do with it.
//! Invariant: a part that fits several is refused with all of them; nothing is guessed.

use consort_api::{
    inbox::InboxItem,
    runs::{ListRuns, ListRunsParams},
};
use consort_types::{Code, Error, Result, RunId, limits};

use crate::client::Client;

/// How many runs are searched.
const LOOKED_AT_MAX: usize = 10_000;
/// Candidates that an error names.
const SHOWN_MAX: usize = 5;

/// The run of that name.
pub(crate) async fn run(client: &Client, text: &str) -> Result<RunId> {
    if let Ok(id) = text.parse::<RunId>() {
        return Ok(id);
    }
    let wanted = text.to_ascii_uppercase();
    let part = !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !part {
        return Err(Error::new(Code::BadRequest, format!("`{text}` is no run"))
            .hint("give its id, a unique part of its beginning or end, or `last`"));
    }
    let (mut found, mut cursor, mut seen) = (Vec::new(), None, 0);
    loop {
        let limit = if text == "last" { 1 } else { limits::PAGE_ITEMS_MAX };
        let params =
            ListRunsParams { children: text != "last", cursor, limit: Some(limit), ..ListRunsParams::default() };
        let page = client.call::<ListRuns>(&params, &()).await?;
        for run in page.items {
            if text == "last" {
                return Ok(run.run);
            }
            seen += 1;
            let id = run.run.to_string();
            if id.starts_with(&wanted) || id.ends_with(&wanted) {
                found.push(run.run);
            }
        }
        cursor = page.next;
        if cursor.is_none() || seen >= LOOKED_AT_MAX {
            break;
        }
    }
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    one(text, "run", &names, Code::RunNotFound).map(|at| found[at])
}

/// The inbox item of that name.
pub(crate) fn item<'a>(items: &'a [InboxItem], text: &str) -> Result<&'a InboxItem> {
    let wanted = text.to_ascii_uppercase();
    let fits = |item: &&InboxItem| {
        let task = item.task.to_string();
        text == "last" || task.ends_with(&wanted) || task.starts_with(&wanted)
    };
    let fits: Vec<&InboxItem> = items.iter().filter(fits).collect();
    let exact = fits.iter().find(|item| item.task.to_string() == wanted);
    if let Some(item) = exact {
        return Ok(item);
    }
    let names: Vec<String> = fits.iter().map(|item| item.task.to_string()).collect();
    let at = one(text, "inbox item", &names, Code::TaskNotFound)?;
    Ok(fits[at])
}

/// The place of the only candidate.
fn one(text: &str, what: &str, candidates: &[String], missing: Code) -> Result<usize> {
    match candidates {
        [_] => Ok(0),
        [] => {
            let list = if what == "run" { "consort runs list --children" } else { "consort inbox" };
            Err(Error::new(missing, format!("there is no {what} `{text}`")).hint(format!("`{list}` shows them")))
        }
        many => {
            let shown: Vec<String> = many.iter().take(SHOWN_MAX).map(|id| format!("`{id}`")).collect();
            let more = if many.len() > SHOWN_MAX { ", …" } else { "" };
            Err(Error::new(Code::BadRequest, format!("`{text}` fits {} {what}s", many.len()))
                .hint(format!("give more of it: {}{more}", shown.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_candidate_is_taken_and_none_or_many_are_refused() {
        let ids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(one("x", "run", &ids(&["AX"]), Code::RunNotFound).unwrap(), 0);
        assert_eq!(one("x", "run", &[], Code::RunNotFound).unwrap_err().code, Code::RunNotFound);
        let error = one("x", "run", &ids(&["AX", "BX"]), Code::RunNotFound).unwrap_err();
        assert!(error.hint.unwrap().contains("`BX`"));
    }
}
