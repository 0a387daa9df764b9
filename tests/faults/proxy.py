"""A bad network between node and broker: slow, lossy, or silent. It also sees what was acknowledged."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.wire import Witness

CHUNK_BYTES = 1024
SENT_BYTES = 4096  # of a connection that are kept


@dataclass(frozen=True)
class Weather:
    """How the network is.

    Attributes:
        delay_s, spread_s: each chunk comes `delay_s` later, give or take `spread_s`; their order remains.
        reset_share: of the chunks, how many end the connection with a reset after their first half.
        single_bytes: every byte is written by itself.
        silent: nothing passes, and no connection is closed.
    """

    delay_s: float = 0.0
    spread_s: float = 0.0
    reset_share: float = 0.0
    single_bytes: bool = False
    silent: bool = False


class Proxy:
    """Passes connections to a port of loopback on; `weather` may be changed at any time."""

    def __init__(self, target_port: int, weather: Weather | None = None) -> None:
        self.weather = weather or Weather()
        self.connections = self.resets = 0
        self.sent: list[bytearray] = []
        """The first bytes that the node has sent, by connection."""
        self.acknowledged: set[str] = set()
        """Each `msg_id` of which a PUBACK has passed to the node."""
        self._target_port = target_port
        self._chance = random.Random(5)
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="proxy", daemon=True)
        self._thread.start()
        ready.wait()

    def close(self) -> None:
        """Stop; the connections end with it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        async def listen() -> int:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            port: int = server.sockets[0].getsockname()[1]
            return port

        self.port = self._loop.run_until_complete(listen())
        ready.set()
        self._loop.run_forever()

    async def _serve(self, node_reader: asyncio.StreamReader, node_writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            node_writer.close()
            return
        witness = Witness(self.acknowledged)
        sent = bytearray()
        self.sent.append(sent)

        def seen(data: bytes) -> None:
            sent.extend(data[: SENT_BYTES - len(sent)])
            witness.sent(data)

        pumps = [
            asyncio.create_task(self._pump(node_reader, broker_writer, seen)),
            asyncio.create_task(self._pump(broker_reader, node_writer, witness.received)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for writer in (node_writer, broker_writer):
            writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: Callable[[bytes], None]
    ) -> None:
        """Read at once, write when it is due, until either side ends or a reset comes."""
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due_s, data = await under_way.get()
                await asyncio.sleep(due_s - self._loop.time())
                if not data:
                    return
                if self._chance.random() < self.weather.reset_share:
                    self.resets += 1
                    await self._write(writer, data[: len(data) // 2])
                    return
                await self._write(writer, data)
                passed(data)

        writing = asyncio.create_task(write())
        try:
            due_s = 0.0
            while not writing.done():
                data = await reader.read(CHUNK_BYTES)
                weather = self.weather
                late_s = weather.delay_s + self._chance.uniform(-weather.spread_s, weather.spread_s)
                due_s = max(due_s, self._loop.time() + late_s)
                if not weather.silent:
                    under_way.put_nowait((due_s, data))
                elif not data:
                    await asyncio.Event().wait()  # a network that is silent does not tell of ends either
                if not data:
                    await writing
        except OSError:
            pass  # one side has reset its connection: so do we
        finally:
            writing.cancel()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        pieces = [data[at : at + 1] for at in range(len(data))] if self.weather.single_bytes else [data]
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
