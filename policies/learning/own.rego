# METADATA
# title: Own rules for learning
# description: |
#   What a workspace adds to, by `learning.policy`, in files of the same package. `deny` refuses (reasons, `{"code": …, "message": …}`),
#   `approvals` are numbers of which the largest counts, `each_of` are roles of which each must approve, by different people. All are empty
#   as long as nobody adds to them, and can only ask for more.
package lockgate.learning.own

deny contains reason if some reason in []

approvals contains number if some number in []

each_of contains role if some role in []
