# METADATA
# title: Reviews
# description: Who looks at a held request, how many of them, and by when.
package lockgate.lib.reviewing

# METADATA
# description: The obligation of a held request; its numbers belong to the risk level, its reviewers to the destination.
obligation(level, destination) := {"name": "require_review", "params": object.union(further, {
	"reviewers": object.get(reviewers.destinations, destination, reviewers.otherwise),
	"quorum": sizes.quorum,
	"expires": sizes.expires,
})} if {
	reviewers := data.lockgate.config.review.reviewers
	levels := data.lockgate.config.review.levels
	sizes := object.get(levels, level, levels.other)
	further := {name: value |
		some name in ["each_of", "claim", "respond", "escalate", "escalate_to", "on_expiry", "modify", "reroute"]
		value := sizes[name]
	}
}
