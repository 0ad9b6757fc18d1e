"""The calls between the control process and its workers, by name."""

from __future__ import annotations

# A worker asks the control process.
APPEND = "append"
SUBJECT_KEY = "subject_key"
HOLD = "hold"
RESUME_KEEP = "resume_keep"  # by what an engine is resumed when the review has ended
PING_LEDGER = "ping_ledger"
REFUSED = "refused"
QUOTA = "quota"
REPEAT_BEGIN = "repeat_begin"  # of requests with an idempotency key
REPEAT_END = "repeat_end"
REPEAT_RELEASE = "repeat_release"
CONVERSATION_READ = "conversation_read"
CONVERSATION_WRITE = "conversation_write"
ARRIVAL = "arrival"  # what the first of an event was answered
LEASE = "lease"  # deliveries that are due
RENEW = "renew"
POSTPONE = "postpone"
DONE = "done"
PENDING = "pending"
FATE = "fate"  # how a request that is delivered ended, for its caller
REVIEWS_CHANGED = "reviews_changed"  # since when it asked last; answered when there is one
REVIEW_VERSIONS = "review_versions"
REVIEW_STANDING = "review_standing"  # for its own caller
REVIEW_ANSWER = "review_answer"  # what its caller says to a reviewer's question
ENVOY_ENDED = "envoy_ended"  # reports of Envoy's access log about decisions of other workers, or nodes
ENVOY_OVER = "envoy_over"  # a worker that ends waits for no more of them; answered when no other that ends does either

# The control process asks a worker.
PREPARE = "prepare"  # build the runtime of a snapshot, beside the one that serves
STEP = "step"  # for whom the candidate of a rollout decides from now on
ROLLOUT_FIGURES = "rollout_figures"  # what was counted since the last time
ACTIVATE = "activate"  # let it serve
METRICS = "metrics"
INDICATORS = "indicators"  # the few counts that objectives are told from
FORGET_KEY = "forget_key"  # by its id, for it was destroyed
KEYS_UNTIL = "keys_until"  # until when the subjects' keys that it has may be used
POLICY = "policy"  # the problem of its policy engine, by code; empty where there is none
SHARED_STATE = "shared_state"  # the problem of the state that nodes share, by code; empty where there is none
POLICY_UNTIL = "policy_until"  # until when the policies that it has may decide
CERTIFICATES = "certificates"  # what the listeners show from now on
ENVOY_TOLD = "envoy_told"  # such reports, which another worker was sent
DRAIN = "drain"  # whether to take up nothing new; answered with what is under way
END = "end"  # finish what is under way, and end, before this by the monotonic clock
PING = "ping"
