"""What is sent for a message: requests of Temporal's API, under the message's id, so that the frontend itself knows one that it had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.workflowservice.v1 import (
    SignalWithStartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.converter import encode_search_attributes

from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from adapters.temporal.config import Config, SearchAttribute
from adapters.temporal.headers import headers

REUSE = {
    "reject": WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
    "allow_failed": WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
    "allow": WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
}
MOST_ID = 1000  # characters; the frontend's own limit unless it was changed
Starting = StartWorkflowExecutionRequest | SignalWithStartWorkflowExecutionRequest


@dataclass(frozen=True, slots=True)
class Asked:
    """`key` is the same for every sending of one request."""

    key: str
    workflow_id: str
    args: list[Any]
    start_args: list[Any]
    memo: dict[str, Any]
    attributes: TypedSearchAttributes
    headers: Mapping[str, Payload]


def asked(settings: Config, message: Message) -> Asked:
    """Raises DestinationError `input_unmapped`, with nothing sent."""
    key = scoped(message)
    workflow_id = f"lockgate-{key}" if settings.workflow_id is None else message.text(settings.workflow_id)
    if len(workflow_id) > MOST_ID:
        raise unmapped(f"the workflow id is longer than {MOST_ID} characters")
    args = [message.json()] if settings.args is None else [message.value(each) for each in settings.args]
    decision = message.document["decision"]
    memo = {"lockgate_decision_id": message.decision_id, "lockgate_intent": decision["intent"]}
    memo.update((name, message.value(value)) for name, value in settings.memo.items())
    pairs = [_attribute(name, each, message) for name, each in settings.search_attributes.items()]
    start_args = [message.value(each) for each in settings.start_args]
    return Asked(key, workflow_id, args, start_args, memo, TypedSearchAttributes(pairs), headers(message))


def _attribute(name: str, attribute: SearchAttribute, message: Message) -> SearchAttributePair[Any]:
    make = getattr(SearchAttributeKey, f"for_{attribute.type}")
    value = message.value(attribute.value)
    try:
        return SearchAttributePair(make(name), _CASTS[attribute.type](value))
    except (TypeError, ValueError):
        raise unmapped(f"the search attribute {name} got no {attribute.type}") from None


def _instant(value: Any) -> datetime:
    made = datetime.fromisoformat(value)
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def _exact(*kinds: type) -> Any:
    def held(value: Any) -> Any:
        if isinstance(value, bool) != (bool in kinds) or not isinstance(value, kinds):
            raise TypeError
        return value

    return held


def _words(value: Any) -> list[str]:
    return [_exact(str)(each) for each in _exact(list)(value)]


_CASTS: Mapping[str, Any] = {
    "keyword": _exact(str),
    "text": _exact(str),
    "int": _exact(int),
    "double": lambda value: float(_exact(int, float)(value)),
    "bool": _exact(bool),
    "datetime": _instant,
    "keyword_list": _words,
}


async def start(client: Client, settings: Config, wanted: Asked) -> StartWorkflowExecutionRequest:
    made = StartWorkflowExecutionRequest(
        workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL,  # so that whose it is gets told
    )
    await _filled(made, client, settings, wanted, wanted.args)
    return made


async def signal_with_start(client: Client, settings: Config, wanted: Asked) -> SignalWithStartWorkflowExecutionRequest:
    made = SignalWithStartWorkflowExecutionRequest(signal_name=settings.signal or "")
    await _filled(made, client, settings, wanted, wanted.start_args)
    made.signal_input.payloads.extend(await client.data_converter.encode(wanted.args))
    return made


async def signal(client: Client, settings: Config, wanted: Asked) -> SignalWorkflowExecutionRequest:
    made = SignalWorkflowExecutionRequest(
        namespace=settings.namespace,
        workflow_execution=WorkflowExecution(workflow_id=wanted.workflow_id),
        signal_name=settings.signal or "",
        identity=client.identity,
        request_id=wanted.key,
    )
    made.input.payloads.extend(await client.data_converter.encode(wanted.args))
    _headed(made.header.fields, wanted.headers)
    return made


async def _filled(made: Starting, client: Client, settings: Config, wanted: Asked, args: list[Any]) -> None:
    made.namespace = settings.namespace
    made.workflow_id = wanted.workflow_id
    made.workflow_type.name = settings.workflow or ""
    made.task_queue.name = settings.task_queue or ""
    made.identity = client.identity
    made.request_id = wanted.key
    made.workflow_id_reuse_policy = REUSE[settings.reuse]
    made.input.payloads.extend(await client.data_converter.encode(args))
    if settings.execution_timeout is not None:
        made.workflow_execution_timeout.FromNanoseconds(int(settings.execution_timeout * 1e9))
    if settings.run_timeout is not None:
        made.workflow_run_timeout.FromNanoseconds(int(settings.run_timeout * 1e9))
    for name, value in wanted.memo.items():
        made.memo.fields[name].CopyFrom((await client.data_converter.encode([value]))[0])
    encode_search_attributes(wanted.attributes, made.search_attributes)
    _headed(made.header.fields, wanted.headers)


def _headed(fields: Any, given: Mapping[str, Payload]) -> None:
    for name, payload in given.items():
        fields[name].CopyFrom(payload)
