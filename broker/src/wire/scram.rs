//! DescribeUserScramCredentials, as a broker answers that keeps nobody's password (`ScramImage.describe`).

use std::collections::BTreeMap;

use highwater_protocol::messages::describe_user_scram_credentials::DescribeUserScramCredentialsResult;
use highwater_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use highwater_protocol::{ErrorCode, Text};

const NOBODY: &str = "Attempt to describe a user credential that does not exist";
const TWICE: &str = "Cannot describe SCRAM credentials for the same user twice in a single request";

pub(super) fn describe(request: DescribeUserScramCredentialsRequest) -> DescribeUserScramCredentialsResponse {
    let mut times_named = BTreeMap::<Text, usize>::new();
    for user in request.users.unwrap_or_default() {
        *times_named.entry(user.name).or_default() += 1;
    }
    let one = |(user, times)| {
        let (error_code, words) = match times {
            1 => (ErrorCode::ResourceNotFound, NOBODY),
            _ => (ErrorCode::DuplicateResource, TWICE),
        };
        let error_message = Some(Text::from_static(words));
        DescribeUserScramCredentialsResult { user, error_code, error_message, credential_infos: Vec::new() }
    };
    let results = times_named.into_iter().map(one).collect();
    // No words, where Kafka has an empty text.
    DescribeUserScramCredentialsResponse {
        error_message: Some(Text::default()),
        results,
        ..Default::default()
    }
}
