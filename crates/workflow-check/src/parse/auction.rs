//! The setting `assign`: a call whose agent is chosen by an auction.
//!
//! For: reading how bids are called for and awarded. Not for: who bids, and who wins (the machine has that).
//! Invariant: an auction that was read without an error has a capability to bid for, and one that is called for bids.

use consort_types::{Name, Span, limits};
use consort_workflow::{Action, Auction};

use super::{Reader, scope::Place};
use crate::yaml::{Entry, NodeKind};

/// The keys of `auction`.
pub(crate) const AUCTION_KEYS: [&str; 6] = ["ask", "wait", "enough", "award", "accept", "max_awards"];

/// What is appended to the capability of a task, where `ask` does not name the one that is called for bids.
const BID: &str = ".bid";

/// Reads how the agent of a call is chosen.
pub(super) struct Auctions<'r, 's>(pub(super) &'r mut Reader<'s>);

impl Auctions<'_, '_> {
    pub(super) fn assign(&mut self, entry: &Entry, action: &Action) -> Option<Auction> {
        let Action::Call { capability, agent } = action else { return None };
        let (Some(capability), None) = (capability, agent) else {
            let message = "an auction chooses among the agents of a capability";
            let found = self.0.report().error("contradiction", entry.key_span.clone(), message);
            found.hint("name the `capability`, and no `agent`");
            return None;
        };
        if !matches!(entry.value.kind, NodeKind::Map(_)) {
            self.0.plain().word(entry, &[("auction", ())])?;
            return Some(plain(self.ask_of(capability, entry)?));
        }
        let fields = self.0.plain().map(&entry.value, "`assign`", &["auction"])?;
        let inner = self.0.plain().required(&fields, "auction", "write `assign: auction`")?;
        let fields = self.0.plain().map(&inner.value, "`auction`", &AUCTION_KEYS)?;
        let ask = match fields.get("ask") {
            Some(entry) => self.0.plain().name("capability", &entry.value),
            None => self.ask_of(capability, inner),
        };
        let bidders = 1..=i64::from(limits::AUCTION_BIDDERS_MAX);
        let mut count = |key: &str| fields.get(key).and_then(|entry| self.0.plain().integer(entry, bidders.clone()));
        let (enough, max_awards) = (count("enough"), count("max_awards"));
        let place = Place { bid: true, ..Place::default() };
        let hint = "the least number wins, such as `${{ bid.cost + 0.01 * bid.seconds }}`";
        let award = fields.get("award").and_then(|entry| self.0.values.number(entry, hint, place));
        let mut span = |key: &str| fields.get(key).and_then(|entry| self.0.plain().span(entry));
        let (wait, accept) = (span("wait"), span("accept"));
        let plain = plain(ask?);
        let (wait, accept) = (wait.unwrap_or(plain.wait), accept.unwrap_or(plain.accept));
        Some(Auction { wait, enough, award, accept, max_awards, ..plain })
    }

    /// The capability that is called for bids where none is named.
    fn ask_of(&mut self, capability: &str, entry: &Entry) -> Option<String> {
        let ask = format!("{capability}{BID}");
        match Name::check("capability", &ask) {
            Ok(()) => Some(ask),
            Err(error) => {
                let found = self.0.report().error("bad-name", entry.key_span.clone(), error.message);
                found.hint("name the capability that is called for bids: `assign: { auction: { ask: NAME } }`");
                None
            }
        }
    }
}

/// An auction of which only the capability for bids is given.
fn plain(ask: String) -> Auction {
    Auction {
        ask,
        wait: Span::from_secs(limits::AUCTION_WAIT_DEFAULT_SECONDS),
        enough: None,
        award: None,
        accept: Span::from_secs(limits::AUCTION_ACCEPT_DEFAULT_SECONDS),
        max_awards: None,
    }
}
