# METADATA
# title: Confidence floors
# description: |
#   An intent that was found with less confidence than the floor of the intent, or else of its risk level, is looked at by a person. These are
#   the rules that `lockgate init` puts into a workspace, for policies that have none of the kind.
# custom:
#   settings: confidence
#   why: A calibrated 0.7 is wrong three times in ten; what that costs depends on what is asked for.
#   override: A floor for the intent stands in for its risk level's; routes that take requests without an intent are named in `abstained`.
package lockgate.library.confidence_floors

import data.lockgate.lib.reviewing
import data.lockgate.rules.confidence.floor

# METADATA
# title: confidence.missing
# description: There is no confidence, or no floor; an intent that was not found, on a route that is not for such requests; an unknown status.
# custom:
#   why: What cannot be compared is not above the floor.
#   example: "`risks` has no `high`: intents of high risk are refused."
#   override: Set the floor. The other codes are `confidence.not_classified` and `confidence.unknown_status`.
deny contains violation if some violation in floor.deny

# METADATA
# title: confidence.below_floor
# description: The intent was found with less confidence than its floor.
# custom:
#   effect: review
#   why: A person reads in seconds what the classifier was not sure of.
#   example: "`intents: {pay: 0.95}` holds a `pay` that was found with 0.9."
#   override: A lower floor for the intent. Reviewers are those of the settings `review`.
review contains violation if some violation in floor.review

obligations contains reviewing.obligation(input.risk.level, object.get(input, ["route", "destination"], "")) if count(floor.review) > 0
