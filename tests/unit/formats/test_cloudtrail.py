"""CloudTrail records, made up after AWS's own documentation of their contents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trailseal.errors import InvalidEvent
from trailseal.formats import DecodeContext, Decoded, detect
from trailseal.formats.cloudtrail import decode
from trailseal.model.event import Actor, Context, Resource
from trailseal.model.projection import project
from trailseal.model.record import Position, Record

CONTEXT = DecodeContext(received_us=1_780_000_000_000_000, derived_id="derived")
RECORD: dict[str, Any] = {
    "eventVersion": "1.09",
    "userIdentity": {
        "type": "IAMUser",
        "principalId": "AIDAEXAMPLE",
        "arn": "arn:aws:iam::111122223333:user/mary",
        "accountId": "111122223333",
        "userName": "mary",
    },
    "eventTime": "2026-03-01T12:00:00Z",
    "eventSource": "cloudtrail.amazonaws.com",
    "eventName": "StopLogging",
    "awsRegion": "eu-central-1",
    "sourceIPAddress": "192.0.2.7",
    "userAgent": "aws-cli/2",
    "requestParameters": {
        "name": "main-trail",
        "filterSet": {"items": [{"valueSet": {"items": [{"value": "deep"}]}}]},
    },
    "responseElements": None,
    "requestID": "req-1",
    "eventID": "3a1acb39-c13b-4e73-a0e3-dcd8ce5c1a3a",
    "readOnly": False,
    "recipientAccountId": "444455556666",
}


def decoded(context: DecodeContext = CONTEXT, **changes: Any) -> Decoded:
    record = {name: value for name, value in {**RECORD, **changes}.items() if value != "left out"}
    return decode(json.dumps(record).encode(), context)


def test_every_field_of_the_table() -> None:
    event = decoded().event
    assert event.id == RECORD["eventID"]
    assert event.timestamp_us == 1_772_366_400_000_000
    assert event.tenant_id == "444455556666"
    assert event.actor == Actor("arn:aws:iam::111122223333:user/mary", "IAMUser", "mary")
    assert event.action == "StopLogging"
    assert event.resource == Resource("main-trail", "AWS::CloudTrail::Trail")
    assert (event.outcome, event.reason) == ("success", None)
    assert event.context == Context(source_ip="192.0.2.7", user_agent="aws-cli/2", request_id="req-1")
    assert event.flags == ()


def test_metadata_has_the_paths_of_the_record() -> None:
    answer = decoded()
    record = Record(Position(1, 0, 0), 0, None, b"")
    terms = project(record, answer.event, answer.format, answer.words).metadata
    for term in (
        "awsRegion\x1fseu-central-1",
        "eventSource\x1fscloudtrail.amazonaws.com",
        "readOnly\x1fbfalse",
        "requestParameters.filterSet.items.valueSet.items.value\x1fsdeep",
        "userIdentity.accountId\x1fs111122223333",
    ):
        assert term in terms
    assert not [term for term in terms if term.startswith(("eventName", "responseElements", "userAgent"))]


def test_words_come_from_the_whole_record() -> None:
    words = decoded().words.split()
    assert {"stoplogging", "deep", "main-trail", "mary", "aidaexample", "444455556666"} <= set(words)
    assert not {"2026-03-01t12", "filterset"} & set(words)


@pytest.mark.parametrize(
    ("identity", "actor"),
    [
        ({"type": "Root", "principalId": "P", "invokedBy": "x"}, Actor("P", "Root")),
        ({"type": "AWSService", "invokedBy": "s3.amazonaws.com"}, Actor("s3.amazonaws.com", "AWSService")),
        ({"userName": "mary", "accountId": "1"}, Actor("mary", None, "mary")),
        ({"accountId": "1"}, Actor("1")),
        ({}, Actor("cloudtrail.amazonaws.com")),
        (None, Actor("cloudtrail.amazonaws.com")),
        ("odd", Actor("cloudtrail.amazonaws.com")),
        (
            {"type": "AssumedRole", "arn": "a", "sessionContext": {"sessionIssuer": {"userName": "admin"}}},
            Actor("a", "AssumedRole", "admin"),
        ),
    ],
)
def test_there_is_always_an_actor(identity: Any, actor: Actor) -> None:
    assert decoded(userIdentity=identity).event.actor == actor


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({"errorCode": "AccessDenied", "errorMessage": "no"}, "denied", "no"),
        ({"errorCode": "AccessDeniedException"}, "denied", "AccessDeniedException"),
        ({"errorCode": "Client.UnauthorizedOperation"}, "denied", "Client.UnauthorizedOperation"),
        ({"errorCode": "ThrottlingException", "errorMessage": "slow"}, "failure", "slow"),
        ({"errorMessage": "Failed authentication"}, "failure", "Failed authentication"),
        ({"responseElements": {"ConsoleLogin": "Failure"}}, "failure", None),
        ({"responseElements": {"ConsoleLogin": "Success"}}, "success", None),
    ],
)
def test_outcomes(changes: dict[str, Any], outcome: str, reason: str | None) -> None:
    event = decoded(**changes).event
    assert (event.outcome, event.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("changes", "resource"),
    [
        ({"resources": [{"ARN": "arn:x", "type": "AWS::S3::Bucket"}]}, Resource("arn:x", "AWS::S3::Bucket")),
        ({"resources": [{"ARNPrefix": "arn:y"}]}, Resource("arn:y")),
        ({"resources": [{"ARN": "arn:x", "type": "a/b"}]}, Resource("arn:x")),
        ({"resources": []}, Resource("main-trail", "AWS::CloudTrail::Trail")),
        ({"resources": "odd"}, Resource("main-trail", "AWS::CloudTrail::Trail")),
        (
            {"eventSource": "s3.amazonaws.com", "requestParameters": {"bucketName": "b"}},
            Resource("b", "AWS::S3::Bucket"),
        ),
        ({"requestParameters": None}, None),
        ({"eventSource": "unknown.amazonaws.com"}, None),
    ],
)
def test_resources(changes: dict[str, Any], resource: Resource | None) -> None:
    assert decoded(**changes).event.resource == resource


def test_a_source_that_is_no_address_is_kept_beside() -> None:
    event = decoded(sourceIPAddress="secretsmanager.amazonaws.com").event
    assert event.context.source_ip is None
    assert event.context.source == "secretsmanager.amazonaws.com"
    assert event.flags == ("source-not-an-address",)


def test_the_header_tenant_and_id_win() -> None:
    event = decoded(DecodeContext(CONTEXT.received_us, "unused", tenant="acme", id="head")).event
    assert (event.tenant_id, event.id) == ("acme", "head")


def test_tenant_and_id_fall_back() -> None:
    assert decoded(recipientAccountId="left out").event.tenant_id == "111122223333"
    assert decoded(recipientAccountId="left out", userIdentity={}).event.tenant_id == "default"
    assert decoded(eventID="left out").event.id == "derived"


@pytest.mark.parametrize("event_id", ["i" * 600, "a\0b"])
def test_an_id_that_does_not_fit_is_hashed_and_flagged(event_id: str) -> None:
    event = decoded(eventID=event_id).event
    assert len(event.id) == 64
    assert event.flags == ("id-hashed",)


def deep(levels: int) -> bytes:
    text = json.dumps(RECORD)
    return text.replace('"main-trail"', '["x",' * levels + '"bottom"' + "]" * levels).encode()


@pytest.mark.parametrize("levels", [6, 40, 70, 400, 5_000, 100_000])
def test_depth_never_refuses_a_record_and_its_words_stay(levels: int) -> None:
    answer = decode(deep(levels), CONTEXT)
    assert "bottom" in answer.words.split()
    assert ("depth-cut" in answer.event.flags) == (levels > 60)
    json.dumps(answer.event.metadata)


@pytest.mark.parametrize(
    ("raw", "flags"),
    [
        ('"\\ud800x"', ("text-repaired",)),
        ("1e999", ("number-as-text",)),
        ("123456789012345678901234567890", ()),
        ('"a\\u0000b"', ()),
        ('{"k":1,"k":2}', ()),
        ("[" + ",".join(map(str, range(3000))) + "]", ("metadata-cut",)),
        ('"' + "x" * 900_000 + '"', ()),
    ],
)
def test_odd_values_never_refuse_a_record(raw: str, flags: tuple[str, ...]) -> None:
    answer = decode(json.dumps(RECORD).replace('"eu-central-1"', raw).encode(), CONTEXT)
    assert answer.event.flags == flags
    for text in (*answer.words.split(), answer.event.actor.id):
        assert text.encode()


@pytest.mark.parametrize(
    ("value", "code", "field"),
    [
        (b"[]", "wrong-type", None),
        (b'{"eventTime":"2026-03-01T12:00:00Z"}', "missing-field", "eventName"),
        (b'{"eventName":"X"}', "missing-field", "eventTime"),
        (b'{"eventName":"X","eventTime":"yesterday"}', "invalid-timestamp", "eventTime"),
        (b'{"eventName":"X","eventTime":"1980-03-01T12:00:00Z"}', "time-out-of-range", "timestamp"),
        (b'{"eventName":"trailseal.x","eventTime":"2026-03-01T12:00:00Z"}', "reserved-action", "action"),
        (b'{"eventName":"X"', "malformed-json", "eventName"),
        (b'{"eventName":"\xff"}', "invalid-utf8", "eventName"),
        (b'{"eventName":"' + b"x" * 1_048_576 + b'"}', "too-large", None),
    ],
)
def test_what_is_no_record_is_refused(value: bytes, code: str, field: str | None) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode(value, CONTEXT)
    assert (caught.value.problem.code, caught.value.problem.field) == (code, field)


def test_a_record_is_recognised() -> None:
    assert detect(json.dumps(RECORD).encode()) == "cloudtrail"
    assert detect(b'{"eventVersion":"1","eventSource":"x"}') == "native"
    assert detect(b'{"specversion":"1.0","type":"t","source":"s"}') == "cloudevents"
    assert detect(b"broken") == detect(b"[]") == detect(b"[" * 100_000) == "native"
