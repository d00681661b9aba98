//! The state that all requests share.
//!
//! For: the engine, the token, and the memory for bodies. Not for: how a request is read or answered.
//! Invariant: nothing of it changes while the server runs, except how much memory bodies take.

use std::sync::Arc;

use consort_engine::Handle;
use consort_types::{Secret, limits};

use crate::document::Budget;

/// What an operator may choose.
#[derive(Clone, Debug, Default)]
pub struct ApiConfig {
    /// The token that every request must carry as `Authorization: Bearer`. Without one, only requests from this machine
    /// are answered.
    pub token: Option<Secret>,
}

/// What every request needs. Clones share one state.
#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

struct Inner {
    engine: Handle,
    token: Option<Secret>,
    bodies: Budget,
}

impl Api {
    pub(crate) fn new(engine: Handle, config: ApiConfig) -> Self {
        let bodies = Budget::new(limits::HTTP_BODIES_BYTES_MAX);
        Self(Arc::new(Inner { engine, token: config.token, bodies }))
    }

    pub(crate) fn engine(&self) -> &Handle {
        &self.0.engine
    }

    pub(crate) fn bodies(&self) -> &Budget {
        &self.0.bodies
    }

    pub(crate) fn token(&self) -> Option<&Secret> {
        self.0.token.as_ref()
    }
}
