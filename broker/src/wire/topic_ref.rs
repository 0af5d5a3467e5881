//! A topic as requests and answers name it: by name or by id, the other one left empty.

use highwater_protocol::{Text, Uuid};
use highwater_storage::TopicId;

use crate::ids::TopicName;
use crate::node::TopicRef;

/// The fields of an answer that name the topic.
pub(super) fn split(topic: &TopicRef) -> (Text, Uuid) {
    match topic {
        TopicRef::Name(name) => (text(name), Uuid::ZERO),
        TopicRef::Id(id) => (Text::default(), uuid(*id)),
    }
}

/// What a request means by these two fields.
pub(super) fn join(name: &Text, id: Uuid, by_id: bool) -> TopicRef {
    if by_id { TopicRef::Id(TopicId::new(id.0)) } else { TopicRef::Name(TopicName::from(name.as_str())) }
}

/// A name as the protocol carries it.
pub(super) fn text(name: &TopicName) -> Text {
    Text::from(name.as_str())
}

/// An id as the protocol carries it.
pub(super) fn uuid(id: TopicId) -> Uuid {
    Uuid(id.get())
}
