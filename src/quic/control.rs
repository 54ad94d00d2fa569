//! A control session: one question after the other, each answered before the next is read.

use std::sync::Arc;

use super::end::End;
use super::session::{Talk, next_frame, wrong_kind};
use crate::access::Grant;
use crate::desk::{Desk, DeskError, ReportNo};
use crate::domain::{AlertId, EventTime, TimeError};
use crate::files::{AlertJsonError, parse_action_json, parse_alert_json};
use crate::telemetry::SessionKind;
use crate::wire::{
    Answer, AnswerBody, Ask, Body, ErrorCode, Frame, Kind, Receipt, Request, Response, SessionTerms, frame_of,
};

/// Why a question has no other answer.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Desk(#[from] DeskError),
    #[error(transparent)]
    Json(#[from] AlertJsonError),
    #[error(transparent)]
    Time(#[from] TimeError),
    #[error("the answer cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
}

pub(super) async fn serve(talk: &mut Talk) -> Result<End, End> {
    if !talk.grant.may_read_alerts() && !talk.grant.may_report() {
        let why = format!(
            "\"{}\" ({}) may neither act on alerts nor report sightings",
            talk.grant.name(),
            talk.grant.role()
        );
        return Err(End::error(ErrorCode::NoGrant, why));
    }
    talk.seat.is(SessionKind::Control, 0);
    talk.welcome(SessionTerms::Control).await?;
    let mut stopping = talk.stopping.clone();
    loop {
        let frame = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return Err(End::stopping()),
            frame = next_frame(&mut talk.reader) => frame?,
        };
        let request = match frame {
            None => return Ok(End::Done),
            Some(Frame { kind: Kind::Request, content, .. }) => {
                Request::read(&content).map_err(|why| End::error(why.code(), why))?
            }
            Some(Frame { kind, .. }) => return Err(wrong_kind(kind, "a control session")),
        };
        let (desk, grant) = (Arc::clone(&talk.services.desk), Arc::clone(&talk.grant));
        let id = request.id;
        // The desk may wait for room in the partitions' queues.
        let answered = tokio::task::spawn_blocking(move || answer(&desk, &grant, request.ask)).await;
        let answer = match answered {
            Ok(Ok(body)) => Answer::Done(body),
            Ok(Err(why)) => Answer::Refused(why.to_string()),
            Err(_) => return Err(End::error(ErrorCode::Internal, "the desk failed on this request")),
        };
        let mut frame = frame_of(&Response { id, answer });
        if let Err(why) = &frame {
            frame = frame_of(&Response { id, answer: Answer::Refused(why.to_string()) });
        }
        let frame = frame.map_err(|why| End::error(ErrorCode::Internal, why))?;
        talk.send.write_all(&frame).await?;
    }
}

fn answer(desk: &Desk, grant: &Grant, ask: Ask) -> Result<AnswerBody, Refused> {
    let receipt = |receipt: crate::desk::Receipt| {
        AnswerBody::Receipt(Receipt {
            id: receipt.id,
            version: receipt.version,
            at_ms: receipt.at.0,
            queued: receipt.queued,
        })
    };
    Ok(match ask {
        Ask::Act { at_ms, json } => {
            let parsed = parse_action_json(&json)?;
            let at = time(at_ms)?.or(parsed.at);
            receipt(desk.act(grant, at, parsed.action)?)
        }
        Ask::Report { id, lat, lon, seen_at_ms } => {
            let id = AlertId::from(id.as_str());
            json(&desk.report_sighting(grant, &id, lat, lon, time(seen_at_ms)?)?)?
        }
        Ask::Confirm { report, at_ms } => receipt(desk.confirm(grant, ReportNo(report), time(at_ms)?)?),
        Ask::Reject { report, reason } => {
            desk.reject(grant, ReportNo(report), &reason)?;
            AnswerBody::Nothing
        }
        Ask::List => json(&desk.list(grant)?)?,
        Ask::Show { id } => json(&desk.show(grant, &AlertId::from(id.as_str()))?)?,
        Ask::Preview { json: text } => json(&desk.preview(grant, parse_alert_json(&text)?.draft)?)?,
    })
}

fn time(ms: Option<i64>) -> Result<Option<EventTime>, TimeError> {
    ms.map(EventTime::from_unix_ms).transpose()
}

fn json(value: &impl serde::Serialize) -> Result<AnswerBody, Refused> {
    Ok(AnswerBody::Json(serde_json::to_string(value)?))
}
