"""The `stepfunctions` kind of destination: executions of AWS Step Functions, and answers to tasks that wait with a token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import Field, model_validator

from adapters.messaging.destination import MessageDestination, failure
from adapters.messaging.message import Message
from adapters.messaging.scoped import scoped
from adapters.messaging.worded import worded
from adapters.workflows.access import Access
from adapters.workflows.aws import AwsKeys, Signed
from adapters.workflows.client import Answer, Call, refused
from adapters.workflows.config import EngineConfig, Url
from adapters.workflows.engine import (
    CANCELLED,
    COMPLETED,
    FAILED,
    TIMED_OUT,
    UNKNOWN,
    Ask,
    Begun,
    EngineFollower,
    EnginePeer,
    Ids,
    fields_of,
    told,
)
from router.ports import Clock, Ended, Random
from router.settings import Text
from router.templates import Line

__all__ = ["Config", "build", "follower"]

ENDS = {"SUCCEEDED": COMPLETED, "FAILED": FAILED, "TIMED_OUT": TIMED_OUT, "ABORTED": CANCELLED}
SAID = frozenset({400})  # AWS says no with this status, and why with a word
DENIED = frozenset(
    {"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"}
    | {"MissingAuthenticationTokenException", "IncompleteSignatureException", "InvalidClientTokenId"}
)
EXPIRED = frozenset({"ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"})
THROTTLED = frozenset({"ThrottlingException", "ExecutionLimitExceeded", "TooManyRequestsException"})
ARN = r"arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:stateMachine:[A-Za-z0-9_.:-]+"


class Config(EngineConfig):
    """Settings of a `stepfunctions` destination."""

    region: Annotated[str, worded(r"[a-z]{2}(-[a-z0-9]+)+", "a region such as eu-west-1")] = Field(
        description="The region, such as `eu-west-1`."
    )
    endpoint: Url | None = Field(default=None, description="Another endpoint than the region's, such as one within a VPC.")
    keys: AwsKeys = Field(description="The access key.")
    action: Literal["start", "task_success", "task_failure"] = Field(default="start", description="What a request does.")
    state_machine: Annotated[str, worded(ARN, "the ARN of a state machine")] | None = Field(
        default=None, description="ARN of the state machine (standard, not express)."
    )
    task_token: Line | None = Field(default=None, description="The token with which a task waits for its answer.")
    error: Text = Field(default="Refused", description="Of `task_failure`: the error's name, which the state machine can catch.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.action == "start") != (self.state_machine is not None):
            raise ValueError("needs 'state_machine' for the action 'start', and for no other")
        if (self.action == "start") != (self.task_token is None):
            raise ValueError("needs 'task_token' for the actions 'task_success' and 'task_failure', and for no other")
        if self.wait is not None and self.action != "start":
            raise ValueError(f"has 'wait', which means nothing for the action '{self.action}'")
        return self


class StepFunctions:
    repeatable = True  # a state machine has one execution of a name, and a token one answer

    def __init__(self, name: str, settings: Config) -> None:
        self._name = name
        self._settings = settings
        suffix = ".cn" if settings.region.startswith("cn-") else ""
        self.place = settings.endpoint or f"https://states.{settings.region}.amazonaws.com{suffix}"
        self._signed = Signed(name, "states", settings.region, settings.keys)
        self.access: Access = self._signed

    async def begin(self, ask: Ask, message: Message) -> Begun:
        if self._settings.task_token is not None:
            return await self._answered(ask, message, message.text(self._settings.task_token))
        machine, name = self._settings.state_machine or "", f"lockgate-{scoped(message)}"
        trace = {"traceparent": message.fields["traceparent"]} if "traceparent" in message.fields else {}
        given = {"lockgate": {"decision_id": message.decision_id, **trace}, **fields_of(message)}
        document = {"stateMachineArn": machine, "name": name, "input": orjson.dumps(given).decode()}
        call = self._call("StartExecution", document, acts=True)
        answer = await ask(call)
        if answer.status == 200:
            return Begun({"execution_arn": str(answer.json(self._name)["executionArn"])})
        if _said(answer) == "ExecutionAlreadyExists":  # this message was acted on before, and its execution has ended or got other input
            return Begun({"execution_arn": f"{re.sub(':stateMachine:', ':execution:', machine, count=1)}:{name}"})
        raise self._refused(call, answer)

    async def ended(self, ask: Ask, ids: Ids) -> Ended | None:
        call = self._call("DescribeExecution", {"executionArn": ids["execution_arn"]})
        answer = await ask(call)
        if answer.status == 200:
            return told(ENDS, answer.json(self._name).get("status"))
        if _said(answer) == "ExecutionDoesNotExist":
            return UNKNOWN
        raise self._refused(call, answer)

    async def ping(self, ask: Ask) -> None:
        machine = self._settings.state_machine
        call = self._call("ListStateMachines", {"maxResults": 1})
        if machine is not None:
            call = self._call("DescribeStateMachine", {"stateMachineArn": machine})
        answer = await ask(call)
        if answer.status != 200:
            raise self._refused(call, answer)

    async def _answered(self, ask: Ask, message: Message, token: str) -> Begun:
        """A token that has been answered, or whose time is over, is `TaskTimedOut` or `TaskDoesNotExist`; which of the two it was, and
        whether the answer was ours, AWS does not say."""
        content = message.content.decode("utf-8", "replace")
        if self._settings.action == "task_success":
            call = self._call("SendTaskSuccess", {"taskToken": token, "output": orjson.dumps(message.json()).decode()}, acts=True)
        else:
            call = self._call("SendTaskFailure", {"taskToken": token, "error": self._settings.error, "cause": content[:32768]}, acts=True)
        answer = await ask(call)
        if answer.status == 200:
            return Begun({"answered": self._settings.action}, followed=False)
        if message.repeated and _said(answer) in ("TaskTimedOut", "TaskDoesNotExist"):
            return Begun({"answered": self._settings.action, "repeated": True}, followed=False)
        raise self._refused(call, answer)

    def _call(self, operation: str, document: Mapping[str, Any], *, acts: bool = False) -> Call:
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AWSStepFunctions.{operation}"}
        return Call("POST", f"{self.place}/", orjson.dumps(dict(document)), headers, SAID, acts)

    def _refused(self, call: Call, answer: Answer) -> Exception:
        said = _said(answer)
        sentence = f"{self._name} answered {said or answer.status}"
        if said in EXPIRED:
            self._signed.expired()
        if said in DENIED:
            return failure("upstream_denied", sentence)
        if said in THROTTLED:
            return failure("upstream_throttled", sentence)
        return refused(self._name, call, answer) if not said else failure("upstream_refused", sentence)


def _said(answer: Answer) -> str:
    """The word of a refusal; empty for one that has none."""
    try:
        found = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return ""
    said = str(found.get("__type", "")).rpartition("#")[2] if isinstance(found, dict) else ""
    return said if re.fullmatch(r"[A-Za-z]{1,64}", said) else ""


def build(settings: Config, *, name: str, clock: Clock, random: Random) -> MessageDestination:
    return MessageDestination(name, settings, EnginePeer(name, settings, StepFunctions(name, settings)), clock, random)


def follower(settings: Config, *, name: str) -> EngineFollower:
    return EngineFollower(name, settings, StepFunctions(name, settings))


def resumes(settings: Config) -> bool:
    """Whether it takes up work that waits; else it starts new work each time."""
    return settings.action != "start"
