"""What holds, in one sentence, with what is not proven by it. `web/verify.js` says the same, word for word; the vectors hold both to it."""

from __future__ import annotations

from lockgate_verify.verify import Holding, moment


def sentence(holding: Holding) -> str:
    count, checkpoint = len(holding.records), holding.checkpoint
    said = [
        f"{_records(count)} of decision {holding.decision} {'stands' if count == 1 else 'stand'} in {checkpoint.origin} as of its first "
        f"{checkpoint.size} records",
        f"signed by {holding.signer}" + (", to which an older key handed over" if holding.handed_over else ""),
        _witnessed(holding),
    ]
    if holding.outside is not None:
        said.append(f"consistent with the outside checkpoint of {holding.outside} records")
    if holding.opened:
        said.append(f"{len(holding.opened)} personal field{'' if len(holding.opened) == 1 else 's'} opened and as recorded")
    if holding.erased:
        said.append(f"{_records(len(holding.erased))} with an erased personal part")
    said += [
        f"record {record} sealed after record {erasure} had said that its key was destroyed"
        for record, erasure in holding.erased
        if erasure is not None and erasure < record
    ]
    return f"{', '.join(said)}; not proven: {', '.join(unproven(holding))}."


def unproven(holding: Holding) -> list[str]:
    said = ["that the records are true", "that they are all there are of this decision"]
    said.append("how long before that they were written" if holding.under_quorum else "when they were written")
    exposed = [index for index, _ in holding.records if holding.outside is None or index >= holding.outside]
    if not holding.under_quorum:
        said.append("that nobody was shown another history")
        if exposed:
            said.append(f"that the holder of the signing key did not exchange record {exposed[0]} or later ones before signing")
    said.extend(f"that the key of record {record} was destroyed" for record, erasure in holding.erased if erasure is None)
    if holding.erased:
        said.append("that no copy of a destroyed key was kept")
    return said


def _witnessed(holding: Holding) -> str:
    if holding.policy is None:
        return "with no policy to say who must have witnessed it"
    seen = " and ".join(f"{name} on {moment(at)}" for name, at in holding.witnessed)
    if not holding.under_quorum:
        return f"witnessed by {seen}, though the policy asks for nobody" if seen else "with a policy that asks for no witness"
    return f"witnessed by {seen}"


def _records(count: int) -> str:
    return f"{count} record{'' if count == 1 else 's'}"
