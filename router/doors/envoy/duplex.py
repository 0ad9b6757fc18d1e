"""A body in Envoy's mode FULL_DUPLEX_STREAMED: it passes through us part by part, so that what is larger than Envoy's buffer can be judged
by its beginning, as our own gateway does. The head is answered only when all of it, or as much as is judged, is here."""

from __future__ import annotations

import asyncio
import hashlib

from router.doors.body import BodyLimits, too_large, too_slow
from router.doors.envoy.cases import Pass
from router.doors.envoy.messages.envoy_pb2 import (
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HttpBody,
    ProcessingRequest,
    ProcessingResponse,
    StreamedBodyResponse,
    TrailersResponse,
)
from router.doors.envoy.streams import Reading, Stream


class Duplex:
    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._parts: list[bytes] = []
        self._size = 0
        self._digest = hashlib.sha256()
        self._ended = False
        self._trailers = False

    async def read(self, stream: Reading) -> bytes | ProcessingRequest | None:
        """All of the body, or more of it than is judged; None where nobody sends any more, the answer's head where Envoy has given one by
        itself. Raises RefusedError (408, 413)."""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                while not self._ended and self._size <= self._limits.view:
                    message = await stream.read()
                    if not isinstance(message, ProcessingRequest):
                        return None
                    if message.HasField("response_headers"):
                        return message
                    self._parts.append(self._took(message))
        except TimeoutError:
            raise too_slow() from None
        return b"".join(self._parts)

    async def let_go(self, stream: Stream, answer: Pass) -> None:
        """What waited here, after the head was answered."""
        parts, self._parts = self._parts, []
        if answer.changes.body is not None:
            parts = [answer.changes.body]
        for place, part in enumerate(parts, 1):
            await stream.write(_part(part, end=self._ended and not self._trailers and place == len(parts)))
        if self._trailers:
            await stream.write(ProcessingResponse(request_trailers=TrailersResponse()))
        self._note(answer)

    async def pass_on(self, stream: Stream, body: HttpBody, answer: Pass) -> None:
        """Raises RefusedError (413), when its beginning has been sent already."""
        await stream.write(_part(self._counted(body), end=body.end_of_stream))
        self._note(answer)

    def trailers(self, answer: Pass) -> None:
        """They end a body whose last part did not say so."""
        self._ended = True
        self._note(answer)

    def _took(self, message: ProcessingRequest) -> bytes:
        if message.HasField("request_trailers"):
            self._ended = self._trailers = True
            return b""
        return self._counted(message.request_body)

    def _counted(self, body: HttpBody) -> bytes:
        self._size += len(body.body)
        if self._size > self._limits.body:
            raise too_large(self._limits.body)
        self._digest.update(body.body)
        self._ended = body.end_of_stream
        return body.body

    def _note(self, answer: Pass) -> None:
        """The digest belongs to the whole body, and comes with the outcome."""
        answer.awaited.request_digest = self._digest.hexdigest() if self._ended else None


def _part(body: bytes, *, end: bool) -> ProcessingResponse:
    mutation = BodyMutation(streamed_response=StreamedBodyResponse(body=body, end_of_stream=end))
    return ProcessingResponse(request_body=BodyResponse(response=CommonResponse(body_mutation=mutation)))
