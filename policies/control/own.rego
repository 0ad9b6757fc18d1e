# METADATA
# title: Own rules for control
# description: |
#   What a workspace adds to, by `control.policy`, in files of the same package. `deny` refuses whatever else is granted, `grant` grants. Each
#   is a set of reasons, `{"code": …, "message": …}`, and empty as long as nobody adds to it.
package lockgate.control.own

deny contains reason if some reason in []

grant contains reason if some reason in []
