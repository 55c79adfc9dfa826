//! From a [`Compilation`](crate::Compilation) and what is published to the writes of one run, as data in their order.
//! Two stores carry them out: the API server's in the operator, and a folder's in posternctl.
//!
//! | module | for |
//! |---|---|
//! | [`credentials`] | credentials of external exits, from Secrets to the nodes that they are encrypted to |
//! | [`document`] | both kinds of documents: how they are signed, and which published envelope counts |
//! | [`state`] | what is published of a document, and what has to be published again |
//! | [`writes`] | the writes of one run and their order |

mod credentials;
mod document;
mod state;
mod writes;

pub use credentials::CredentialStore;
pub use document::{SignedDocument, cluster_intent};
pub use state::{
    DocumentLoss, PublishedDocument, PublishedDocuments, PublishedState, published_state,
};
pub use writes::{
    DocumentChange, DocumentSignError, DocumentSigner, DocumentWrite, PlannedDocuments,
    PublishStage, plan_documents,
};
