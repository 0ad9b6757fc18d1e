package lockgate.admission

default result := {"effect": "deny", "reasons": [{"code": "admission.who"}]}

result := {"effect": "allow"} if input.subject.authenticated_by in {"api_key", "jwt"}
