package lockgate.decision

default result := {"effect": "allow"}
