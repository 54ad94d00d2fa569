//! Acting on alerts.

use serde_json::{Value, json};

use super::{ClientError, Talk, frame, read, unexpected};
use crate::domain::{CancelReason, EventTime};
use crate::wire::{Answer, AnswerBody, Ask, Frame, HelloReply, Kind, Receipt, Request, Response};

/// A session that acts on alerts and asks about them, one request at a time.
pub struct Control {
    talk: Talk,
    hello: HelloReply,
    next: u64,
}

impl Control {
    pub(super) fn new(hello: HelloReply, talk: Talk) -> Self {
        Self { talk, hello, next: 1 }
    }

    /// The server's answer to the hello: its clock and time.
    pub fn hello(&self) -> &HelloReply {
        &self.hello
    }

    /// Publishes an alert given as JSON. `at` is for the event clock only, here and below.
    ///
    /// # Errors
    /// Where the desk declines it ([`ClientError::Declined`]), or the session has ended; here
    /// and below.
    pub async fn publish(&mut self, alert: &str, at: Option<EventTime>) -> Result<Receipt, ClientError> {
        let alert: Value = serde_json::from_str(alert)?;
        self.act(&json!({"action": "publish", "alert": alert}).to_string(), at).await
    }

    /// Updates an alert: what the JSON does not give stays.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn update(&mut self, alert: &str, at: Option<EventTime>) -> Result<Receipt, ClientError> {
        let alert: Value = serde_json::from_str(alert)?;
        self.act(&json!({"action": "update", "alert": alert}).to_string(), at).await
    }

    /// Adds a confirmed sighting (degrees, WGS-84).
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn sighting(
        &mut self,
        id: &str,
        lat: f64,
        lon: f64,
        seen_at: Option<EventTime>,
        at: Option<EventTime>,
    ) -> Result<Receipt, ClientError> {
        let mut line = json!({"action": "sighting", "id": id, "lat": lat, "lon": lon});
        if let Some(seen_at) = seen_at {
            line["seen_at"] = seen_at.0.into();
        }
        self.act(&line.to_string(), at).await
    }

    /// Ends an alert.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn cancel(
        &mut self,
        id: &str,
        reason: CancelReason,
        at: Option<EventTime>,
    ) -> Result<Receipt, ClientError> {
        let line = json!({"action": "cancel", "id": id, "reason": reason.as_str()});
        self.act(&line.to_string(), at).await
    }

    /// Does what one line of an action file says.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn act(&mut self, line: &str, at: Option<EventTime>) -> Result<Receipt, ClientError> {
        self.receipt(Ask::Act { at_ms: at.map(|at| at.0), json: line.into() }).await
    }

    /// Reports a sighting that its authority may confirm; returns JSON with its number.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn report(
        &mut self,
        id: &str,
        lat: f64,
        lon: f64,
        seen_at: Option<EventTime>,
    ) -> Result<String, ClientError> {
        self.json(Ask::Report { id: id.into(), lat, lon, seen_at_ms: seen_at.map(|at| at.0) }).await
    }

    /// Confirms a report: it becomes a sighting.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn confirm(&mut self, report: u64, at: Option<EventTime>) -> Result<Receipt, ClientError> {
        self.receipt(Ask::Confirm { report, at_ms: at.map(|at| at.0) }).await
    }

    /// Rejects a report.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn reject(&mut self, report: u64, reason: &str) -> Result<(), ClientError> {
        self.ask(Ask::Reject { report, reason: reason.into() }).await.map(drop)
    }

    /// The newest alerts, JSON.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn list(&mut self) -> Result<String, ClientError> {
        self.json(Ask::List).await
    }

    /// One alert, JSON.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn show(&mut self, id: &str) -> Result<String, ClientError> {
        self.json(Ask::Show { id: id.into() }).await
    }

    /// How many devices an alert (JSON) would reach now, JSON.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn preview(&mut self, alert: &str) -> Result<String, ClientError> {
        self.json(Ask::Preview { json: alert.into() }).await
    }

    async fn receipt(&mut self, ask: Ask) -> Result<Receipt, ClientError> {
        match self.ask(ask).await? {
            AnswerBody::Receipt(receipt) => Ok(receipt),
            other => Err(unexpected(self.talk.server, &other)),
        }
    }

    async fn json(&mut self, ask: Ask) -> Result<String, ClientError> {
        match self.ask(ask).await? {
            AnswerBody::Json(json) => Ok(json),
            other => Err(unexpected(self.talk.server, &other)),
        }
    }

    async fn ask(&mut self, ask: Ask) -> Result<AnswerBody, ClientError> {
        let (server, id) = (self.talk.server, self.next);
        self.next += 1;
        self.talk.say(&Request { id, ask }).await?;
        let response: Response = match frame(server, self.talk.reader.next().await)? {
            Some(Frame { kind: Kind::Response, content, .. }) => read(server, &content)?,
            Some(Frame { kind, .. }) => return Err(unexpected(server, &kind)),
            None => return Err(ClientError::lost(server, &"it ended the session")),
        };
        match response.answer {
            _ if response.id != id => Err(unexpected(server, &response)),
            Answer::Done(body) => Ok(body),
            Answer::Refused(why) => Err(ClientError::Declined(why)),
        }
    }
}
