"""Holds a conversation with Python's `websockets`: websockets.py STAFF_URL CUSTOMER_URL.

tests/src/peer.rs says what all the clients here do.
"""
import asyncio
import json
import sys

sys.path.pop(0)  # this file has the library's name
import websockets  # noqa: E402


class Peer:
    @classmethod
    async def connect(cls, url):
        peer = cls()
        peer.socket = await websockets.connect(url)
        assert peer.socket.subprotocol is None
        await peer.expect("welcome", "welcome")
        return peer

    async def text(self):
        text = await self.socket.recv()
        assert isinstance(text, str), "frames are text"
        print("<", text[:200], flush=True)
        return text

    async def expect(self, action, code):
        frame = json.loads(await self.text())
        found = (frame["action"], frame["payload"].get("code"))
        assert found == (action, code), (found, action, code)
        return frame["payload"]

    async def send(self, action, **payload):
        await self.socket.send(json.dumps({"action": action, "payload": payload}))

    async def closes_with(self, code, reason):
        try:
            await self.text()
            raise AssertionError("not closed")
        except websockets.ConnectionClosed:
            found = (self.socket.close_code, self.socket.close_reason)
            assert found == (code, reason), found


async def main(staff_url, customer_url):
    staff = await Peer.connect(staff_url)
    await staff.send("staffOnline", name="websockets")
    await staff.expect("message", "on_duty")
    customer = await Peer.connect(customer_url)
    await customer.send("customerConnect")
    await customer.expect("message", "connected")
    await staff.expect("message", "new_customer")

    await customer.send("message", message="你好 😀", id="m1")
    ack = await customer.expect("ack", None)
    assert ack["ref"] == "m1", ack
    heard = await staff.expect("message", None)
    assert (heard["from"], heard["message"]) == ("customer", "你好 😀"), heard
    long = "长" * 5461
    # Each character becomes six bytes of JSON unless told otherwise; 96 KiB would be too much.
    frame = {"action": "message", "payload": {"message": long}}
    await staff.socket.send(json.dumps(frame, ensure_ascii=False))
    heard = await customer.expect("message", None)
    assert heard["message"] == long

    await customer.socket.send("PING")
    assert await customer.text() == "PONG"
    await customer.socket.send(["PI", "NG"])
    assert await customer.text() == "PONG"
    await (await customer.socket.ping(b"hello"))

    await customer.socket.close(1000, "bye")
    assert (customer.socket.close_code, customer.socket.close_reason) == (1000, "bye")
    await staff.expect("chat_close", "customer_left")
    await staff.socket.send("x" * (64 * 1024 + 1))
    await staff.closes_with(1009, "too_big")
    other = await Peer.connect(customer_url)
    await other.socket.send(b"\1\2\3")
    await other.closes_with(1003, "binary_frame")


asyncio.run(main(*sys.argv[1:]))
