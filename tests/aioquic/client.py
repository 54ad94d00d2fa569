"""A hexcast client that shares no code with the server: written from docs/protocol.md alone.

Usage: client.py HOST PORT PKI_DIRECTORY. Publishes an alert, sends pings, receives the match,
and is refused once. Prints one JSON object with what it saw.
"""

import asyncio
import json
import struct
import sys
import time

from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration

HELLO, HELLO_REPLY, ERROR = 0x01, 0x02, 0x03
PING_BATCH, ACK = 0x10, 0x12
ALERT_CONTENT, MATCH_BATCH, CURSOR_ACK = 0x20, 0x21, 0x22
REQUEST, RESPONSE = 0x30, 0x31
FIELDS, ROWS = 0, 1


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def frame(kind, encoding, content):
    return struct.pack("<IBBH", len(content), kind, encoding, 0) + content


async def read_frame(reader):
    length, kind, encoding, zero = struct.unpack("<IBBH", await reader.readexactly(8))
    assert zero == 0
    assert encoding == (ROWS if kind in (PING_BATCH, MATCH_BATCH) else FIELDS)
    return kind, await reader.readexactly(length)


def take_text(content, at):
    (length,) = struct.unpack_from("<Q", content, at)
    at += 8
    return content[at : at + length].decode(), at + length


def configuration(pki, name):
    config = QuicConfiguration(is_client=True, alpn_protocols=["hexcast/1"], server_name="localhost")
    config.load_verify_locations(f"{pki}/ca.pem")
    config.load_cert_chain(f"{pki}/{name}.pem", f"{pki}/{name}.key")
    return config


async def open_session(connection, session):
    reader, writer = await connection.create_stream()
    writer.write(frame(HELLO, FIELDS, struct.pack("<H", 1) + session))
    return reader, writer


async def welcomed(reader):
    kind, content = await read_frame(reader)
    assert kind == HELLO_REPLY, (kind, content)
    version, clock, now = struct.unpack_from("<HIq", content, 0)
    assert version == 1
    return clock, now, content[14:]


async def publish(connection, alert):
    reader, writer = await open_session(connection, struct.pack("<I", 2))
    await welcomed(reader)
    line = json.dumps({"action": "publish", "alert": alert})
    # Request 7: Act (0), no time, the line.
    writer.write(frame(REQUEST, FIELDS, struct.pack("<QIB", 7, 0, 0) + text(line)))
    kind, content = await read_frame(reader)
    assert kind == RESPONSE
    number, refused, body = struct.unpack_from("<QII", content, 0)
    assert (number, refused, body) == (7, 0, 1), content
    alert_id, at = take_text(content, 16)
    version, at_ms, queued = struct.unpack_from("<IqB", content, at)
    writer.write_eof()
    return {"id": alert_id, "version": version, "at_ms": at_ms, "queued": queued}


async def ingest(connection, batches):
    session = struct.pack("<I", 0) + text("default") + text("aioquic") + struct.pack("<QI", 1, 0)
    reader, writer = await open_session(connection, session)
    clock, now, terms = await welcomed(reader)
    variant, partitions, hash_id, basis, last_safe = struct.unpack_from("<IIIIQ", terms, 0)
    assert variant == 0
    for number, (base, pings) in enumerate(batches, 1):
        rows = b"".join(
            struct.pack("<QiiI", device, lat, lon, (at - base) | accuracy << 15)
            for device, at, lat, lon, accuracy in pings
        )
        head = struct.pack("<QqII", number, base, len(pings), 0)
        writer.write(frame(PING_BATCH, ROWS, head + rows))
    writer.write_eof()
    ack = None
    while not reader.at_eof():
        try:
            kind, content = await read_frame(reader)
        except asyncio.IncompleteReadError as end:
            assert not end.partial
            break
        assert kind == ACK, (kind, content)
        applied, safe, accepted, stale, reasons = struct.unpack_from("<QQQQQ", content, 0)
        rejected = list(struct.unpack_from(f"<{reasons}Q", content, 40))
        ack = {"applied": applied, "safe": safe, "accepted": accepted, "stale": stale, "rejected": rejected}
    return {"clock": clock, "hash": hash_id, "basis": basis, "last_safe": last_safe, "ack": ack}


async def subscribe(connection, wanted):
    session = struct.pack("<I", 1) + text("default") + struct.pack("<IBB", 0, 0, 1 << ROWS)
    reader, writer = await open_session(connection, session)
    _, _, terms = await welcomed(reader)
    variant, start, earliest, _ = struct.unpack_from("<IQQQ", terms, 0)
    assert (variant, start, earliest) == (1, 0, 0)
    contents, matches = [], []
    while len(matches) < wanted:
        kind, content = await read_frame(reader)
        if kind == ALERT_CONTENT:
            number, version = struct.unpack_from("<II", content, 0)
            alert_id, at = take_text(content, 8)
            status, at = take_text(content, at)
            body, at = take_text(content, at)
            assert at == len(content)
            contents.append({"no": number, "version": version, "id": alert_id, "status": status,
                             "headline": json.loads(body)["headline"], "before_match": len(matches)})
            continue
        assert kind == MATCH_BATCH, (kind, content)
        following, count, zero = struct.unpack_from("<QII", content, 0)
        assert zero == 0 and len(content) == 16 + 48 * count
        for index in range(count):
            row = struct.unpack_from("<QQqdIIBBB5s", content, 16 + 48 * index)
            matches.append(dict(zip(
                ["offset", "device", "at_ms", "radius_km", "alert", "version", "cause", "part", "stage"], row)))
            assert row[9] == bytes(5)
        writer.write(frame(CURSOR_ACK, FIELDS, struct.pack("<Q", following)))
    writer.write_eof()
    return {"contents": contents, "matches": matches}


async def refused(connection):
    session = struct.pack("<I", 1) + text("default") + struct.pack("<IBB", 1, 0, 1 << ROWS)
    reader, _ = await open_session(connection, session)
    kind, content = await read_frame(reader)
    assert kind == ERROR, (kind, content)
    (code,) = struct.unpack_from("<H", content, 0)
    message, at = take_text(content, 2)
    assert at == len(content)
    return {"code": code, "message": message}


async def main(host, port, pki):
    alert = {
        "id": "from-python", "expires": "2999-01-01T00:00:00Z", "headline": "寻找走失儿童",
        "area": {"circle": {"lat": 31.2304, "lon": 121.4737}},
        "policy": {"stages": [{"after": "0s", "radius_km": 100}]},
    }
    saw = {}
    async with connect(host, port, configuration=configuration(pki, "authority")) as connection:
        saw["receipt"] = await publish(connection, alert)
    now = int(time.time() * 1000)
    far, near = (10, now, 0, 0, 0), (2**64 - 1, now, 312_304_000, 1_214_737_000, 99_999)
    impossible = (11, now, 900_000_001, 0, 0)
    older = (10, now - 32_767, 0, 0, 0)
    async with connect(host, port, configuration=configuration(pki, "operator")) as connection:
        saw["ingest"] = await ingest(connection, [(now, [far, near, impossible]), (now - 32_767, [older])])
        saw["refused"] = await refused(connection)
    async with connect(host, port, configuration=configuration(pki, "partner")) as connection:
        saw["subscribe"] = await subscribe(connection, 1)
    saw["now"] = now
    print(json.dumps(saw))


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]), 60))
