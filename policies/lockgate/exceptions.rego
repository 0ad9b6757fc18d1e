# METADATA
# title: Exceptions
# description: |
#   What is lifted of the denials and reviews of the other rules for this request, by their codes, and the grants that stand in for them.
#   Nothing, as long as no package is adopted (`policy.library`) that lifts something; where one is, another file takes this one's place.
package lockgate.exceptions

lifted := set()

grants := set()
