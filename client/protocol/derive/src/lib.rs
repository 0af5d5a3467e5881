//! Derives the codec of a Kafka message from its declared fields.
//!
//! A message is a plain struct whose fields stand in wire order, each marked with the versions that carry it.
//! From that declaration come its defaults, its decoder, its encoder and a description of itself, so that the
//! declaration can be compared with Kafka's own. The generated code is a list of calls into
//! `highwater_protocol::wire`; everything with a loop or a bound in it lives there, written once.
//!
//! `#[derive(Message)]` goes on a request or a response, `#[derive(Fields)]` on a structure nested in one. Both also
//! implement `Default` (with Kafka's defaults), so `Default` must not be derived beside them.
//!
//! On a message: `#[message(versions = 3..=13, flexible = 9)]`; leave `flexible` out if no version is flexible.
//!
//! On a field, all optional, as `#[field(...)]`:
//!
//! | attribute | meaning |
//! |---|---|
//! | `versions = 3..`, `3..=12`, `4` | versions that carry the field; all of the message's if left out |
//! | `nullable = 1..` | versions at which an `Option` field may be null; all that carry it if left out |
//! | `default = -1` | the value when the field is absent; zero, empty or `None` if left out |
//! | `tag = 0` | the field is a tagged field with this number |
//! | `absent_is_empty` | an absent tagged field is empty, not null; null is written out |
//! | `ignorable` | a value that the version cannot carry is dropped in silence instead of refused |
//! | `records` | a `Bytes` field that holds record batches |

mod attributes;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `Message` (and all that [`macro@Fields`] implements) for a request or a response.
#[proc_macro_derive(Message, attributes(message, field))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::message(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `Wire`, `Nullable` and `Default` for a structure nested in a message.
#[proc_macro_derive(Fields, attributes(field))]
pub fn derive_fields(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::fields(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
