# METADATA
# title: Violations
# description: The one way in which rules say what is wrong, so that every reason has a code and a sentence.
package lockgate.lib.violation

# METADATA
# description: A reason. `code` is stable and looked for by machines, `message` is read by people.
reason(code, message) := {"code": code, "message": message}
