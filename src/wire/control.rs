//! Questions and actions about alerts, and their answers. Alerts and views stay JSON text: their
//! members are the action files' and grow without a new protocol.

use bincode::{Decode, Encode};

/// What a client asks, with a number of its own choice for the answer to bear.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Request {
    /// The number.
    pub id: u64,
    /// The question.
    pub ask: Ask,
}

/// The questions.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Ask {
    /// Do what the text says.
    Act {
        /// When, Unix ms; on the event clock only.
        at_ms: Option<i64>,
        /// One line of an action file, without its `at`.
        json: String,
    },
    /// Report a sighting that its authority may confirm.
    Report {
        /// The alert.
        id: String,
        /// Latitude, degrees.
        lat: f64,
        /// Longitude, degrees.
        lon: f64,
        /// When, Unix ms; now where not given.
        seen_at_ms: Option<i64>,
    },
    /// Confirm a report: it becomes a sighting.
    Confirm {
        /// The report's number.
        report: u64,
        /// When, Unix ms; on the event clock only.
        at_ms: Option<i64>,
    },
    /// Reject a report.
    Reject {
        /// The report's number.
        report: u64,
        /// Why.
        reason: String,
    },
    /// The newest alerts.
    List,
    /// One alert.
    Show {
        /// Its id.
        id: String,
    },
    /// How many devices an alert would reach.
    Preview {
        /// The alert's JSON object.
        json: String,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Response {
    /// The request's number.
    pub id: u64,
    /// The answer.
    pub answer: Answer,
}

/// Whether it was done.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Answer {
    /// Yes.
    Done(AnswerBody),
    /// No, nothing has changed, and a line that says why.
    Refused(String),
}

/// What an answer brings.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum AnswerBody {
    /// Nothing more.
    Nothing,
    /// What became of an action.
    Receipt(Receipt),
    /// A JSON object.
    Json(String),
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    /// The alert.
    pub id: String,
    /// Its version after the action; 0 while the action waits.
    pub version: u32,
    /// The time given to the action, Unix ms; while it waits, its own.
    pub at_ms: i64,
    /// It waits until the event clock passes its time, and is judged then.
    pub queued: bool,
}
