//! The HTTP/JSON interface: translate, authenticate, call [`Handle`].
//!
//! For: every operation of the engine that a client may ask for, over HTTP/1.1 or inside the process. Not for:
//! deciding anything about runs (the machine does), nor for reading the store.
//! Invariant: every route stands in one table from which both the router and the OpenAPI document are made, and
//! every refusal is an `application/problem+json` with a stable code.
//!
//! # Entries
//! - [`router`]: the interface behind the access rules; [`serve`] puts it on a listener with timeouts and caps.
//! - [`in_process`]: the same for a caller in this process (`tower::ServiceExt::oneshot`), whom nothing is asked.
//! - [`model`]: the documents as a client reads and writes them. [`openapi`]: the document of the interface.
//!
//! # ROUTES
//! Every path but the probes takes `?namespace=` (default `default`).
//!
//! | method and path | what |
//! |---|---|
//! | `POST /v1/workflows` | deploy: YAML, or JSON `{source}` |
//! | `POST /v1/workflows/check` | check, deploy nothing |
//! | `GET /v1/workflows` | list |
//! | `GET /v1/workflows/{name}` | source, hash (`?version=`) |
//! | `GET /v1/workflows/{name}/graph` | nodes and edges (`?version=`, `?format=json\|mermaid\|dot\|tree`) |
//! | `GET /v1/workflow-schema` | JSON Schema of the language |
//! | `POST /v1/runs` | start (`Idempotency-Key`, `traceparent`) |
//! | `GET /v1/runs` | list (`status`, `workflow`, `label.KEY`, `children`, `cursor`, `limit`) |
//! | `POST /v1/runs/bulk` | cancel, pause, resume or delete many |
//! | `GET /v1/runs/{run}` | show (`?wait=30s` waits for the end) |
//! | `DELETE /v1/runs/{run}` | delete |
//! | `GET /v1/runs/{run}/tree`, `/steps`, `/journal`, `/source`, `/replay` | look inside |
//! | `GET /v1/runs/{run}/watch` | server-sent events (`Last-Event-ID` or `?after=`) |
//! | `GET /v1/runs/{run}/input`, `/output`, `/steps/{task}/output` | documents in full |
//! | `GET /v1/runs/{run}/compare/{other}` | two runs side by side |
//! | `POST /v1/runs/{run}/cancel`, `/pause`, `/resume`, `/signals/{name}`, `/retry`, `/fork` | operate |
//! | `GET /v1/inbox`, `GET /v1/inbox/{task}`, `GET /v1/inbox/{task}/details`, `POST /v1/inbox/{task}` | decide |
//! | `GET /v1/agents`, `GET /v1/agents/{name}` | find and show agents (`capability`, `label.KEY`, `text`; `?version=`) |
//! | `GET /v1/agents/watch` | server-sent events: the list at once and at each change |
//! | `POST /v1/agents/{name}/drain`, `/resume`, `/weight`, `DELETE /v1/agents/{name}` | operate agents (`?version=`) |
//! | `GET /v1/queues` | what waits for agents, and why |
//! | `GET /v1/limits`, `PUT /v1/limits/{scope}`, `DELETE /v1/limits/{scope}` | limits on tasks |
//! | `GET /v1/status`, `/v1/bounds`, `/v1/errors`, `/v1/errors/{code}`, `/v1/openapi.json` | know |
//! | `PUT /v1/retention` | how long ended runs are kept |
//! | `GET /healthz`, `GET /readyz` | probes |

mod access;
mod call;
mod document;
pub mod model;
mod openapi;
mod problem;
mod route;
mod router;
mod routes;
mod serve;

pub use access::Peer;
pub use consort_engine::Handle;
pub use consort_listen::ServeConfig;
pub use document::fuzz_body;
pub use openapi::openapi;
pub use router::{ApiConfig, in_process, router};
pub use serve::{HttpDoor, serve};
