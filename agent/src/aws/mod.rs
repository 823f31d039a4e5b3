//! What every service of AWS needs: credentials out of the whole chain, a pool of
//! connections, and names for what goes wrong on the way.
//!
//! The SDK tries nothing again here: whoever asks decides that.

mod chain;
mod options;
mod transport;
pub(crate) mod trouble;

pub(crate) use chain::{
    ANY_REGION, Access, CONNECT_TIMEOUT, assumed, endpoint_of_environment, environment,
};
pub use options::{AssumeRole, CredentialSource, Endpoint, EndpointError, FixedCredentials};
pub(crate) use options::{is_amazon, is_exposed};
pub use transport::Transport;
